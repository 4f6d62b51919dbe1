"""A network as an importer found it: its operations in order, what each is, and which widths they share.

An operation is in one of three bins: a layer that is priced (it has products), one that is known to need no product
(:class:`MemoryOnly`: an activation, a pooling, a reshape), or one that is not understood (:class:`Unsupported`).
:class:`Network` maps names to all of them, so that :func:`hwcost.network_cost` takes it as it takes any layers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Any, TypeAlias

from hwcost.arrays import Size, as_size, floor_divide, is_float, is_number, product, remainder, total, true_divide
from hwcost.errors import InvalidValueError
from hwcost.model.layers import Conv2d, Gemm, Linear, is_layer

__all__ = ["MemoryOnly", "Network", "Operation", "SizeExpression", "Unsupported", "Width"]

SizeExpression: TypeAlias = tuple[tuple[str, Fraction], ...]
"""What a size is made of: the sum of widths, each times a factor (a flattened map has its positions as one, a group of
channels one over the groups)."""


@dataclass(frozen=True)
class MemoryOnly:
    """An operation without products: what it moves is counted, and it takes no cycles of the array.

    Args:
        kind: the operator, as the importer calls it.
        reads, writes: elements of all inputs and of all outputs; both 0 where nothing moves (a view).

    >>> MemoryOnly("relu", reads=784, writes=784).gemms()
    ()
    """

    kind: str
    reads: int = 0
    writes: int = 0

    def gemms(self) -> tuple[Gemm, ...]:
        """None."""
        return ()


@dataclass(frozen=True)
class Unsupported:
    """An operation that cannot be priced, and is not known to be free.

    Args:
        kind: the operator, as the importer calls it.
        reason: one line for people.
    """

    kind: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind} ({self.reason})"


@dataclass(frozen=True)
class Width:
    """A number of channels or features that one or several operations share.

    Args:
        size: today.
        multiple: what every size has to be a multiple of: groups, for example.
        fixed: why it cannot change, in words; empty where it can.
    """

    size: int
    multiple: int = 1
    fixed: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size(self.size, "Width.size"))
        object.__setattr__(self, "multiple", as_size(self.multiple, "Width.multiple"))


@dataclass(frozen=True)
class Operation:
    """One call of an operator.

    Args:
        layer: a layer with products, a :class:`MemoryOnly`, or an :class:`Unsupported`.
        kind: the operator, as people call it.
        path: the module that called it, with points between its parts; empty for the model itself.
        sizes: the fields of the layer that follow widths.
    """

    layer: Any
    kind: str
    path: str = ""
    sizes: Mapping[str, SizeExpression] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", MappingProxyType(dict(self.sizes)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Operation, (self.layer, self.kind, self.path, dict(self.sizes))

    @property
    def is_priced(self) -> bool:
        """Whether it has products."""
        return is_layer(self.layer) and not isinstance(self.layer, MemoryOnly)

    @property
    def is_supported(self) -> bool:
        """Whether it is priced or known to be free."""
        return is_layer(self.layer)

    @property
    def widths(self) -> tuple[str, ...]:
        """The names of the widths that its sizes follow, each once."""
        return tuple(dict.fromkeys(name for rule in self.sizes.values() for name, _ in rule))

    def at(self, sizes: Mapping[str, Size]) -> Any:
        """The layer with other widths: numbers, or arrays of them; all that it follows have to be given."""
        if not self.sizes:
            return self.layer
        return dataclasses.replace(self.layer, **{name: sized(rule, sizes) for name, rule in self.sizes.items()})


def sized(rule: SizeExpression, sizes: Mapping[str, Size]) -> Size:
    """The size that a rule says.

    >>> sized((("a", Fraction(1)), ("b", Fraction(9))), {"a": 4, "b": 2})
    22

    Raises:
        InvalidValueError: a width that a factor does not divide.
    """
    return total(*(_times(sizes[name], factor, name) for name, factor in rule), what="the size")


def _times(size: Size, factor: Fraction, name: str) -> Size:
    times = product(size, factor.numerator)
    if factor.denominator == 1:
        return times
    if is_float(times):
        return true_divide(times, factor.denominator)
    left = remainder(times, factor.denominator)
    if bool((left != 0).any() if hasattr(left, "any") else left):
        raise InvalidValueError(f"width {name!r}", size, f"a multiple of {factor.denominator}")
    return floor_divide(times, factor.denominator)


UNCONNECTED = "nothing says how the layers connect: each has its widths to itself"


def _own_widths(name: str, layer: Any) -> tuple[dict[str, Width], dict[str, SizeExpression]]:
    """AxisTracker that one layer alone follows, and its rules; none where a size is no number."""
    fields = [each for each in getattr(layer, "WIDTHS", ()) if isinstance(layer, (Conv2d, Linear))]
    if not all(is_number(getattr(layer, each)) for each in (*fields, *(["groups"] if "groups" in fields else []))):
        return {}, {}
    if isinstance(layer, Conv2d) and layer.is_depthwise:
        rule = ((f"{name}.channels", Fraction(1)),)
        more = ((f"{name}.channels", Fraction(layer.out_channels, layer.in_channels)),)
        return {f"{name}.channels": Width(layer.in_channels)}, {
            "in_channels": rule,
            "out_channels": more,
            "groups": rule,
        }
    multiple = layer.groups if isinstance(layer, Conv2d) else 1
    widths = {f"{name}.{each}": Width(getattr(layer, each), multiple) for each in fields}
    return widths, {each: ((f"{name}.{each}", Fraction(1)),) for each in fields}


@dataclass(frozen=True)
class Network(Mapping[str, Any]):
    """The operations of a network in the order in which they run, by names that differ from each other.

    A mapping from names to layers, with more to ask for.

    Args:
        name: of the network.
        operations: all of them.
        widths: what the rules in the operations refer to.
        parameters: the rules of every axis of each parameter, where the importer knows them.
        notes: what was read in a way that one would want to know.
        source: what was imported, in words.

    >>> from hwcost import Linear
    >>> rule = (("hidden", Fraction(1)),)
    >>> network = Network(
    ...     "two",
    ...     {
    ...         "a": Operation(Linear(4, 8), "linear", "a", {"out_features": rule}),
    ...         "b": Operation(Linear(8, 2), "linear", "b", {"in_features": rule}),
    ...     },
    ...     {"hidden": Width(8)},
    ... )
    >>> network.at({"hidden": 6})["b"]
    Linear(in_features=6, out_features=2, batch=1)
    """

    name: str
    operations: Mapping[str, Operation]
    widths: Mapping[str, Width] = field(default_factory=dict)
    parameters: Mapping[str, tuple[SizeExpression, ...]] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("operations", "widths", "parameters"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        for name, operation in self.operations.items():
            for width in operation.widths:
                if width not in self.widths:
                    raise InvalidValueError(f"a width of {name!r}", width, f"one of: {', '.join(self.widths)}")

    def __reduce__(self) -> tuple[Any, ...]:
        tables = (dict(table) for table in (self.operations, self.widths, self.parameters))
        return Network, (self.name, *tables, self.notes, self.source)

    @classmethod
    def of_layers(cls, name: str, layers: Mapping[str, Any], *, notes: tuple[str, ...] = ()) -> Network:
        """A network of layers of which nobody says how they connect: each has its widths to itself.

        Args:
            name: of the network.
            layers: by name; points in a name make modules of it.
            notes: what is to be said of it, besides that.

        >>> from hwcost import Conv2d
        >>> network = Network.of_layers("one", {"conv": Conv2d(3, 8, 3, height=8, width=8)})
        >>> network.widths["conv.out_channels"]
        Width(size=8, multiple=1, fixed='')
        """
        widths: dict[str, Width] = {}
        operations: dict[str, Operation] = {}
        for layer_name, layer in layers.items():
            own, rules = _own_widths(layer_name, layer)
            widths |= own
            operations[layer_name] = Operation(layer, type(layer).__name__, layer_name, rules)
        return cls(name, operations, widths, notes=(*notes, UNCONNECTED) if widths else notes)

    def __getitem__(self, name: str) -> Any:
        return self.operations[name].layer

    def __iter__(self) -> Iterator[str]:
        return iter(self.operations)

    def __len__(self) -> int:
        return len(self.operations)

    __hash__ = None  # type: ignore[assignment]

    @property
    def priced(self) -> dict[str, Operation]:
        """The operations that have products."""
        return {name: each for name, each in self.operations.items() if each.is_priced}

    @property
    def memory_only(self) -> dict[str, Operation]:
        """Those that are known to have none."""
        return {name: each for name, each in self.operations.items() if isinstance(each.layer, MemoryOnly)}

    @property
    def unsupported(self) -> dict[str, Operation]:
        """Those that are missing in every total."""
        return {name: each for name, each in self.operations.items() if not each.is_supported}

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all that is priced."""
        macs: int = sum(gemm.macs for each in self.priced.values() for gemm in each.layer.gemms())
        return macs

    def at(self, sizes: Mapping[str, Size]) -> dict[str, Any]:
        """The layers with other widths; those that are not given stay as they are.

        Raises:
            InvalidValueError: an unknown width, one that cannot change, a size that is not allowed.
        """
        for name, size in sizes.items():
            width = self.widths.get(name)
            if width is None or width.fixed:
                allowed = ", ".join(name for name, each in self.widths.items() if not each.fixed)
                raise InvalidValueError("width", name, f"one that can change: {allowed or 'there is none'}")
            left = remainder(as_size(size, f"width {name!r}"), width.multiple)
            if not is_float(left) and bool((left != 0).any() if hasattr(left, "any") else left):
                raise InvalidValueError(f"width {name!r}", size, f"a multiple of {width.multiple}")
        today = {name: width.size for name, width in self.widths.items()} | dict(sizes)
        return {name: each.at(today) for name, each in self.operations.items()}
