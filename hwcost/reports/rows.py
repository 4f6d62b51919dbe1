"""A network on an array as one value: rows, totals and figures, and how they print."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hwcost.arrays import Size, Value, true_divide
from hwcost.devices.measured import Range, legend, withheld
from hwcost.errors import look_up
from hwcost.machine.array import SystolicArray
from hwcost.machine.fields import is_finite
from hwcost.model.breakdown import CycleBreakdown
from hwcost.model.cost import BYTES, ENERGY, JOULES, PARTS, Cost
from hwcost.model.words import uncharged
from hwcost.network.peak import Peak
from hwcost.network.residency import Plan
from hwcost.reports.measured import share_beyond, without_total
from hwcost.reports.shown import document_of
from hwcost.reports.tree import Module, Row, module_tree
from hwcost.tables import Document, Records
from hwcost.units import TIMES, in_unit, number, percent, plural

__all__ = ["Summary", "flattened"]

_WORDS = ("name", "path", "kind", "state", "shape")


@dataclass(frozen=True, eq=False, repr=False)
class Summary(Value, Records):
    """A network on an array: prints as the table of ``hwcost model``, and iterates over its rows.

    ``summary["layers.0.conv"]`` is a row, and ``summary["layers.0"]`` the module with its subtotals.

    Attributes:
        name: of the network.
        array: the accelerator.
        rows: every operation, in the order in which they run.
        cost: the total, as :func:`hwcost.network_cost` gives it.
        breakdown: the PE-cycles of all that is priced.
        notes: remarks of the importer.
        seconds_90: the ends between which the latency lies with 90 %, if the array is a calibrated device as it was
            fitted.
        measured: the name of the calibrated device; empty for an array that was not fitted to measurements.
        ranges: the sizes of the layers that it was measured with, by m, n, k and macs.
        extrapolate: whether totals of which more than half is beyond what was measured are among the figures.
        plan: the activations that stay in the buffer; None unless they were asked to.
        peak: the memory that the network needs at once, on a machine with a buffer or on a chip that states its memory,
            if it is known which layer reads what.
        at_hand: bytes that skip connections read, which a machine without buffers is taken to keep: they do not count.
        label: the machine in words.
        device: the name of the device; empty for an array that is none.
        source: where the network is from, in words or as a path; empty if that is not known.
    """

    name: str
    array: SystolicArray
    rows: tuple[Row, ...]
    cost: Cost
    breakdown: CycleBreakdown
    notes: tuple[str, ...] = ()
    seconds_90: tuple[float, float] | None = None
    measured: str = ""
    ranges: Mapping[str, Range] = field(default_factory=dict)
    extrapolate: bool = False
    plan: Plan | None = None
    peak: Peak | None = None
    at_hand: Size = 0
    label: str = ""
    device: str = ""
    source: str = ""

    def document(self) -> Document:
        """The table of ``hwcost model``."""
        return document_of(self)

    @property
    def in_words(self) -> str:
        """Network, machine and totals on one line."""
        cost = self.cost
        if self.is_withheld():
            return f"{self.name} on {self.label}, no total: {self.withheld}"
        return (
            f"{self.name} on {self.label}: {plural(len(self.of('priced')), 'layer')}, {number(cost.cycles)} cycles, "
            f"{in_unit(cost.seconds, TIMES)}, {percent(cost.utilization)} % utilization"
        )

    def records(self) -> list[dict[str, Any]]:
        """A row for each operation, as ``hwcost model --csv`` has them."""
        array = self.array
        head = {"network": self.name, "device": self.device or None}
        head |= {name: getattr(array, name) for name in ("rows", "cols", "dataflow", "fold_timing", "clock_hz")}
        names = (*head, *_WORDS, "reason", *flattened(self.figures()), "extrapolated")
        found = (head | flattened(self.row_dict(row)) for row in self.rows)
        return [{name: each.get(name) for name in names} for each in found]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._parts

    def __getitem__(self, name: str) -> Row | Module:
        return look_up(self._parts, name, "the report", "operation or module", "report.rows")

    @functools.cached_property
    def _parts(self) -> dict[str, Row | Module]:
        """The rows and modules by name; a row before a module of its name."""
        return {each.path: each for each in self.tree.below()} | {row.name: row for row in self.rows}

    @property
    def total(self) -> Cost:
        """The cost, under the name that a :class:`hwcost.Report` has it."""
        return self.cost

    def of(self, state: str) -> tuple[Row, ...]:
        """The rows of one state."""
        return tuple(row for row in self.rows if row.state == state)

    @functools.cached_property
    def tree(self) -> Module:
        """The rows as a tree of modules."""
        return module_tree(self.rows)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of operations that are missing in the totals."""
        return tuple(row.name for row in self.of("unsupported"))

    def share(self, part: Row | Module) -> float:
        """The share of all cycles that a row or module takes."""
        share: float = true_divide(part.cost.cycles, self.cost.cycles) if self.cost.cycles else 0.0
        return share

    @functools.cached_property
    def seconds_by_bound(self) -> dict[str, float]:
        """Seconds of all that is bound by compute, by memory and by overhead."""
        found = dict.fromkeys(PARTS, 0.0)
        for row in self.rows:
            if row.cost.cycles:
                found[row.cost.bound] += row.cost.seconds
        return found

    @property
    def mostly_bound(self) -> str:
        """The part that bounds the layers that take most of the time."""
        return max(self.seconds_by_bound, key=lambda name: self.seconds_by_bound[name])

    @property
    def extrapolated_share(self) -> float | None:
        """The share of the time that is beyond what the device was measured with; None if it was not measured."""
        return self.share_beyond(self.tree)

    def share_beyond(self, part: Row | Module) -> float | None:
        """The same of a row or module."""
        if not self.measured:
            return None
        return share_beyond(part.rows) if isinstance(part, Module) else float(bool(part.beyond))

    def is_withheld(self, part: Module | Row | None = None) -> bool:
        """Whether the total, or a subtotal, is no figure to go by: more than half of it is beyond what was measured."""
        if self.extrapolate or isinstance(part, Row):
            return False
        if part is not None and part.path and sum(bool(row.cost.cycles) for row in part.rows) == 1:
            return False  # no sum, but the figure of that row, which is shown
        return bool(withheld(self.share_beyond(self.tree if part is None else part)))

    @property
    def withheld(self) -> str:
        """Why there is no total; empty if there is one."""
        return "" if self.extrapolate else withheld(self.extrapolated_share)

    @property
    def legend(self) -> str:
        """What is beyond what the device was measured with, in words; empty if nothing is."""
        return self.legend_of(self.measured)

    def legend_of(self, device: str) -> str:
        """The legend with another name of the device, or with none."""
        judged = [row for row in self.rows if row.state == "priced" or row.beyond]
        return legend(device, len(judged), {row.name: row.beyond for row in judged if row.beyond})

    @property
    def uncharged(self) -> tuple[str, ...]:
        """What times leave out, so that they are lower bounds; nothing on a machine that was fitted to measurements.

        >>> from hwcost import Linear
        >>> from hwcost.reports import summarise
        >>> summarise({"fc": Linear(8, 8)}, SystolicArray(8, 8)).uncharged
        ('memory', 'fill and drain')
        """
        return () if self.measured else uncharged(self.array)

    def fused_bytes(self, part: Row | Module | None = None) -> Size:
        """Bytes that operations without products would move if each were a pass of its own; they are none of DRAM's.

        On a machine with a ``vector_bytes_per_s`` each is one, and its bytes are among those of its cost.
        """
        rows = self.rows if part is None else part.rows if isinstance(part, Module) else (part,)
        return sum(row.traffic.bytes() for row in rows if row.state == "memory-only" and not row.cost.cycles)

    def figures(self, part: Row | Module | None = None) -> dict[str, Any]:
        """The figures of a row or module, or of the whole network, by name."""
        whole = self.tree if part is None else part
        cost, breakdown = (self.cost, self.breakdown) if part is None else (whole.cost, whole.breakdown)
        found = {
            "macs": cost.macs,
            "cycles": cost.cycles,
            "seconds": cost.seconds,
            "share": 1.0 if part is None else None if self.is_withheld() else self.share(part),
            "utilization": cost.utilization,
            "bound": cost.bound if cost.cycles else "",
            "folds": cost.folds,
            **{f"{name}_cycles": getattr(cost, f"{name}_cycles") for name in (*PARTS, "waiting")},
            "pe_cycles": dict(breakdown.figures()),
            "bytes": {kind: getattr(cost, f"dram_{kind}_bytes") for kind in BYTES},
            "activation_weight_bytes": cost.dram_activation_weight_bytes,
            "dram_bytes": cost.dram_bytes,
            "sram_bytes": cost.sram_bytes,
            **{f"sram_{kind}_bytes": getattr(cost, f"sram_{kind}_bytes") for kind in BYTES},
            "reread_bytes": whole.traffic.bytes(level="reread"),
            "fused_bytes": self.fused_bytes(part),
            **{name: getattr(cost, name) for name in (*ENERGY, *(f"{each}_joules" for each in JOULES))},
            "extrapolated_share": self.share_beyond(whole),
        }
        return without_total(found) if self.is_withheld(part) else found

    def of_total(self) -> dict[str, Any]:
        """Figures that only the whole network has."""
        if self.is_withheld():
            return {"seconds_by_bound": None, "seconds_90": None}
        return {"seconds_by_bound": dict(self.seconds_by_bound), "seconds_90": self.seconds_90}

    def as_dict(self) -> dict[str, Any]:
        """Everything, as plain data: totals, missing operations, all rows, all modules with their subtotals.

        >>> from hwcost import Linear
        >>> from hwcost.reports import summarise
        >>> summarise({"fc": Linear(8, 8)}, SystolicArray(8, 8)).as_dict()["total"]["pe_cycles"]["useful"]
        64
        """
        modules = [entry for _, _, entry in self.tree.walk() if isinstance(entry, Module)]
        return {
            "network": self.name,
            "notes": list(self.notes),
            "uncharged": list(self.uncharged),
            "total": None if self.is_withheld() else self.figures() | self.of_total(),
            "total_withheld": self.withheld or None,
            "extrapolated_share": self.extrapolated_share,
            "missing": [self.row_dict(row) for row in self.of("unsupported")],
            "rows": [self.row_dict(row) for row in self.rows],
            "memory": self.memory,
            "modules": [{"path": each.path, "rows": len(each.rows)} | self.figures(each) for each in modules],
        }

    @property
    def memory(self) -> dict[str, Any] | None:
        """What stays in the buffer, and what the network needs at once, as plain data; None if it is not known."""
        if self.peak is None:
            return None
        found: dict[str, Any] = {
            "peak_bytes": self.peak.bytes, "peak_layer": self.peak.layer, "weight_bytes": self.peak.weights,
            "buffer_bytes": self.peak.buffer if is_finite(self.peak.buffer) else None,
            "of_the_chip": self.peak.is_stated,
            "fits": self.peak.fits,
        }  # fmt: skip
        if self.plan is not None:
            found["kept"] = [dataclasses.asdict(each) for each in self.plan.kept]
            found["saved"] = self.plan.saved
        return found

    def row_dict(self, row: Row) -> dict[str, Any]:
        """One row, as plain data."""
        words = {name: getattr(row, name) for name in _WORDS}
        if row.state == "unsupported":
            return words | {"reason": row.reason}
        return words | self.figures(row) | {"extrapolated": bool(row.beyond) if self.measured else None}


def flattened(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures with those of their parts next to them, as the columns of a table."""
    flat: dict[str, Any] = {}
    for name, value in figures.items():
        if name == "pe_cycles":
            flat |= {f"pe_cycles_{kind}": each for kind, each in value.items()}
        elif name == "bytes":
            flat |= {f"{kind}_bytes": each for kind, each in value.items()}
        else:
            flat[name] = value
    return flat
