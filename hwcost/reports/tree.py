"""The rows of a network as a tree over the paths of its modules, with subtotals."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from hwcost.arrays import Size, Value
from hwcost.model.breakdown import CycleBreakdown
from hwcost.model.cost import Cost
from hwcost.model.traffic import Traffic
from hwcost.tables import Facts
from hwcost.units import plural

__all__ = ["Module", "Row", "module_tree"]

_DEEPEST = 64


@dataclass(frozen=True, eq=False, repr=False)
class Row(Value, Facts):
    """One operation.

    Attributes:
        name: of the operation.
        path: of the module that called it; empty for the network itself.
        kind: the operator.
        state: "priced", "memory-only" (an operation without products, which moves bytes, and takes time on a machine
            with a bandwidth for it), "run" (what a run takes on top of all operations) or "unsupported" (missing in
            all totals).
        shape: one line of text.
        cost, breakdown: of the operation; zero unless it is priced.
        traffic: the elements that it moves.
        moved: the same by the name of the transfer; empty on a machine without a memory limit.
        reason: why it is not supported; else empty.
        beyond: a sentence for each of its sizes beyond those that the device was measured with.
    """

    name: str
    path: str
    kind: str
    state: str
    shape: str
    cost: Cost
    breakdown: CycleBreakdown
    traffic: Traffic
    moved: Mapping[str, Size] = field(default_factory=dict)
    reason: str = ""
    beyond: tuple[str, ...] = ()

    @property
    def in_words(self) -> str:
        """The operation, its shape, and what it costs, on one line."""
        if self.state == "unsupported":
            return f"{self.name}: not supported: {self.reason}"
        return f"{self.name}: {self.shape or self.kind}; {self.cost.in_words}"

    def facts(self) -> dict[str, str]:
        """What it is, and the figures of its cost."""
        what = {"operation": self.kind, "shape": self.shape, "module": self.path, "not supported": self.reason}
        beyond = {"beyond": "; ".join(self.beyond)}
        return {name: text for name, text in (what | self.cost.facts() | beyond).items() if text}


@dataclass(frozen=True, repr=False)
class Module(Facts):
    """A module with its rows and its modules, in the order in which they run first.

    Attributes:
        path: with points between its parts; empty for the network.
        entries: its rows and modules.

    ``cost``, ``breakdown`` and ``traffic`` are sums over all its rows.
    """

    path: str
    entries: tuple[Row | Module, ...]

    @property
    def in_words(self) -> str:
        """Its name, the number of operations in it, and what they cost, on one line."""
        return f"{self.path or 'the network'}: {plural(len(self.rows), 'operation')}; {self.cost.in_words}"

    def facts(self) -> dict[str, str]:
        """The figures of the cost of all operations in it."""
        return self.cost.facts()

    @property
    def label(self) -> str:
        """The last part of its path."""
        return parts_of(self.path)[-1] if self.path else ""

    @property
    def modules(self) -> tuple[Module, ...]:
        """The modules in it."""
        return tuple(entry for entry in self.entries if isinstance(entry, Module))

    @functools.cached_property
    def rows(self) -> tuple[Row, ...]:
        """All rows in it and below."""
        return tuple(row for entry in self.entries for row in (entry.rows if isinstance(entry, Module) else (entry,)))

    @functools.cached_property
    def cost(self) -> Cost:
        """The sum of the costs."""
        return sum((row.cost for row in self.rows), start=Cost())

    @functools.cached_property
    def breakdown(self) -> CycleBreakdown:
        """The sum of the PE-cycles, by where they go."""
        return sum((row.breakdown for row in self.rows), start=CycleBreakdown())

    @functools.cached_property
    def traffic(self) -> Traffic:
        """The sum of the traffic."""
        return sum((row.traffic for row in self.rows), start=Traffic())

    def below(self) -> Iterator[Module]:
        """All modules in it, at any depth, each before those in it."""
        for module in self.modules:
            yield module
            yield from module.below()

    def walk(self, depth: int = 0) -> Iterator[tuple[int, str, Row | Module]]:
        """Everything in it, each module before its entries; a module with a single row is shown as that row.

        Yields:
            The depth of a part, its name within its module, and the part.
        """
        for entry in self.entries:
            if isinstance(entry, Module) and len(entry.rows) > 1:
                yield depth, entry.label, entry
                yield from entry.walk(depth + 1)
            else:
                row = entry.rows[0] if isinstance(entry, Module) else entry
                yield depth, _within(row.name, self.path), row

    def only(self, rows: Iterable[Row]) -> Module:
        """The same tree with these rows only, without the modules that are then empty."""
        kept = set(rows)
        return module_tree(row for row in self.rows if row in kept)


def _within(name: str, path: str) -> str:
    """What a row is called inside of a module.

    >>> _within("layer1.0.conv", "layer1.0"), _within("attention:bmm", "attention"), _within("fc", "")
    ('conv', 'bmm', 'fc')
    >>> _within("layer1.0.drop (2)", "layer1.0.drop")
    'drop (2)'
    """
    if not path or not name.startswith(path):
        return name
    rest = name.removeprefix(path)
    return rest[1:] if len(rest) > 1 and rest[0] in ".:" else parts_of(path)[-1] + rest


def module_tree(rows: Iterable[Row], path: str = "", depth: int = 0) -> Module:
    """The tree of the rows of one module, whose path has ``depth`` parts."""
    entries: dict[str | int, list[Row]] = {}
    for index, row in enumerate(rows):
        parts = parts_of(row.path)
        entries.setdefault(parts[depth] if depth < len(parts) else index, []).append(row)
    modules = {part: f"{path}.{part}" if path else part for part in entries if isinstance(part, str)}
    grown = (module_tree(own, modules[key], depth + 1) if key in modules else own[0] for key, own in entries.items())
    return Module(path, tuple(grown))


def parts_of(path: str) -> list[str]:
    """The parts of a path; a path with empty parts counts as one part, and parts beyond the 64th stay together.

    >>> parts_of("layer1.0.conv"), parts_of("a..b"), parts_of("")
    (['layer1', '0', 'conv'], ['a..b'], [])
    """
    parts = path.split(".", _DEEPEST) if path else []
    return parts if all(parts) else [path]
