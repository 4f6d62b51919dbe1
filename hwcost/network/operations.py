"""Operations, and the widths that their sizes follow.

An operation is one of three things: a layer that is priced (it has products), one that is known to need no product
(:class:`MemoryOnly`: an activation, a pooling, a reshape), or one that is not understood (:class:`Unsupported`).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

from hwcost.arrays import (
    Size,
    Table,
    as_size,
    brief,
    floor_divide,
    is_float,
    is_number,
    product,
    remainder,
    total,
    true_divide,
)
from hwcost.errors import InvalidValueError, unknown
from hwcost.model.gemm import Gemm
from hwcost.model.layers import is_layer
from hwcost.model.moves import Move

__all__ = ["AN_INPUT", "AN_OUTPUT", "MemoryOnly", "Operation", "SizeExpression", "Unsupported", "Width", "terms_of"]

AN_INPUT, AN_OUTPUT = "an input", "an output of the network"
"""Why widths at the ends of a network cannot change."""

SizeExpression: TypeAlias = tuple[tuple[str, Fraction], ...]
"""A size as a sum of widths, each times a factor: a flattened 5 x 5 map has the factor 25, the channels of one of g
groups 1/g."""


_NO_SIZES: Mapping[str, Any] = Table({})


@dataclass(frozen=True)
class MemoryOnly:
    """An operation without products: it moves data, which takes time on a machine with a ``vector_bytes_per_s``.

    Args:
        kind: the operator, as the importer calls it.
        reads, writes: elements of all inputs and of all outputs; both 0 if nothing moves (a view).

    >>> MemoryOnly("relu", reads=784, writes=784).moves()
    (Move(elements=784, rate='vector_bytes_per_s', cycles='', dram='input'),
     Move(elements=784, rate='vector_bytes_per_s', cycles='', dram='output'))
    """

    kind: str
    reads: Size = 0
    writes: Size = 0

    def __post_init__(self) -> None:
        check_text(self, "kind")
        for name in ("reads", "writes"):
            as_size(getattr(self, name), f"MemoryOnly.{name}", minimum=0)

    def gemms(self) -> tuple[Gemm, ...]:
        """None."""
        return ()

    def moves(self) -> tuple[Move, ...]:
        """What it reads and writes, one after the other."""
        return tuple(
            Move(elements, "vector_bytes_per_s", dram=side)
            for elements, side in ((self.reads, "input"), (self.writes, "output"))
        )


@dataclass(frozen=True)
class Unsupported:
    """An operation that cannot be priced, and is not known to be free.

    Args:
        kind: the operator, as the importer calls it.
        reason: one line for people.
    """

    kind: str
    reason: str

    def __post_init__(self) -> None:
        check_text(self, "kind", "reason")

    def __str__(self) -> str:
        return f"{self.kind} ({self.reason})"


@dataclass(frozen=True, repr=False)
class Width:
    """A number of channels or features that one or several operations share, or the side of a kernel.

    Args:
        size: today.
        multiple: every size is ``above`` plus a multiple of this number (of the groups, for example).
        fixed: why it cannot change; empty if it can.
        is_kernel: whether it is the side of a square kernel.
        above: every size is larger than this: -1 and a multiple of 2 for odd kernels.
    """

    size: int
    multiple: int = 1
    fixed: str = ""
    is_kernel: bool = False
    above: int = 0

    def __repr__(self) -> str:
        return brief(self)

    def __post_init__(self) -> None:
        check_text(self, "fixed")
        for name in ("size", "multiple"):
            object.__setattr__(self, name, whole(getattr(self, name), f"Width.{name}"))

    def check(self, size: Size, field: str) -> None:
        """Raises if a size is not allowed, or any of an array of them; soft sizes are not rounded and pass."""
        steps = as_size(size, field) - self.above
        if not is_float(steps) and (is_nonzero(remainder(steps, self.multiple)) or is_nonzero(steps <= 0)):
            first = self.above + self.multiple
            allowed = f"{first}, {first + self.multiple}, {first + 2 * self.multiple}, ..."
            raise InvalidValueError(field, size, allowed if self.above else f"a multiple of {self.multiple}")


@dataclass(frozen=True)
class Operation:
    """One call of an operator.

    Args:
        layer: a layer with products, a :class:`MemoryOnly`, or an :class:`Unsupported`.
        sizes: the fields of the layer that follow widths, ``groups`` of a depthwise convolution too: a width by name; a
            pair of a name and a factor, as ``("conv2", 25)`` behind a flattened 5 x 5 map; or a :data:`SizeExpression`.
        kind: the operator, in people's words; the type of the layer by default.
        path: the module that called it, with points between its parts; empty for the model itself. A network gives
            an operation without a path its name.
        weights: the name of the parameter that all of its weights are, if the importer knows it. Operations of one name
            share them, and they are stored once.
        inputs: the operations whose results it reads, each once, "" for an input of the network; None if unknown.
            Parameters and constants are not among them.

    Raises:
        InvalidValueError: something that is not a layer, a field that the layer does not have, an expression that is
            none of the three, inputs that are no names or not each once.

    >>> from hwcost import Linear
    >>> Operation(Linear(400, 10), {"in_features": ("conv2", 25)}).at({"conv2": 6})
    Linear(in_features=150, out_features=10, batch=1)
    """

    layer: Any
    sizes: Mapping[str, Any] = field(default_factory=dict)
    kind: str = ""
    path: str = None  # type: ignore[assignment]
    weights: str = field(default="", compare=False, repr=False)
    inputs: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_layer(self.layer, "Operation.layer")
        check_text(self, "weights", *(("kind",) if self.path is None else ("kind", "path")))
        if not isinstance(self.sizes, Mapping):
            raise InvalidValueError("Operation.sizes", self.sizes, 'widths by field, as {"out_channels": "conv"}')
        kind = type(self.layer).__name__
        has_fields = bool(self.sizes) and dataclasses.is_dataclass(self.layer)
        known = [f.name for f in dataclasses.fields(self.layer)] if has_fields else []
        for name in self.sizes:
            if not known:
                allowed = "make the layer a dataclass, or leave out its sizes"
                raise InvalidValueError("Operation.sizes", name, allowed, reason=f"{kind} is not a dataclass")
            if name not in known:
                raise InvalidValueError(kind, name, known, form=unknown("size"))
        long = {name: _expression(each, name) for name, each in self.sizes.items()}
        object.__setattr__(self, "sizes", Table(long) if long else _NO_SIZES)
        object.__setattr__(self, "kind", self.kind or kind)
        if self.inputs is not None:
            object.__setattr__(self, "inputs", names_of("Operation.inputs", self.inputs))

    @property
    def is_priced(self) -> bool:
        """Whether it has products."""
        return is_layer(self.layer) and not isinstance(self.layer, MemoryOnly)

    @property
    def widths(self) -> tuple[str, ...]:
        """The names of the widths that its sizes follow, each once."""
        return tuple(dict.fromkeys(name for each in self.sizes.values() for name, _ in each))

    def at(self, sizes: Mapping[str, Size]) -> Any:
        """The layer at other sizes of all widths that it follows: numbers, arrays of options, or soft widths."""
        if not self.sizes:
            return self.layer
        return dataclasses.replace(self.layer, **{name: size_at(each, sizes) for name, each in self.sizes.items()})


def check_layer(layer: object, field: str) -> None:
    """Raises unless ``layer`` has products, is known to need none, or is known to be unsupported."""
    if not is_layer(layer) and not isinstance(layer, Unsupported):
        allowed = "a layer, which is something with gemms(), a MemoryOnly or an Unsupported"
        raise InvalidValueError(field, layer, allowed)


def whole(size: Any, field: str) -> int:
    """A size that is one integer; an InvalidValueError if it is not."""
    if type(size) is int and size > 0:
        return size
    with contextlib.suppress(InvalidValueError):
        found = as_size(size, field)
        if is_number(found):
            return int(found)
    raise InvalidValueError(field, size, "an integer of at least 1")


def check_text(owner: object, *names: str) -> None:
    """Raises unless these fields hold texts."""
    for name in names:
        if not isinstance(value := getattr(owner, name), str):
            raise InvalidValueError(f"{type(owner).__name__}.{name}", value, "a text")


def names_of(field: str, names: Any) -> tuple[str, ...]:
    """Names of operations, each once; an InvalidValueError if they are something else."""
    is_fit = isinstance(names, (tuple, list)) and set(map(type, names)) <= {str}
    if not is_fit or len(set(names)) < len(names):
        raise InvalidValueError(field, names, "a tuple of names of operations, each once")
    return tuple(names)


def _expression(given: Any, name: str) -> SizeExpression:
    terms = ((given, 1),) if isinstance(given, str) else given
    if isinstance(terms, tuple) and terms and isinstance(terms[0], str):
        terms = (terms,)
    allowed = "the name of a width, a pair of a name and a factor above 0, or a tuple of such pairs"
    if not isinstance(terms, tuple) or not terms:
        raise InvalidValueError(f"the size {name!r}", given, allowed)
    for term in terms:
        good = isinstance(term, tuple) and len(term) == 2 and isinstance(term[0], str) and term[0]
        if not good or not isinstance(term[1], (int, Fraction)) or isinstance(term[1], bool) or term[1].numerator <= 0:
            raise InvalidValueError(f"the size {name!r}", given, allowed)
    return tuple((width, factor if type(factor) is Fraction else Fraction(factor)) for width, factor in terms)


def size_at(expression: SizeExpression, sizes: Mapping[str, Size]) -> Size:
    """The value of a size expression.

    >>> size_at((("a", Fraction(1)), ("b", Fraction(9))), {"a": 4, "b": 2})
    22

    Raises:
        InvalidValueError: a width that the denominator of its factor does not divide.
    """
    return total(*(_times(sizes[name], factor, name) for name, factor in expression), what="the size")


def terms_of(expression: SizeExpression) -> dict[str, Fraction]:
    """The factor of each width of a size expression; those of one that is in several terms add up.

    >>> terms_of((("a", Fraction(1)), ("b", Fraction(9)), ("a", Fraction(1))))
    {'a': Fraction(2, 1), 'b': Fraction(9, 1)}
    """
    found: dict[str, Fraction] = {}
    for name, factor in expression:
        found[name] = found.get(name, Fraction(0)) + factor
    return found


def _times(size: Size, factor: Fraction, name: str) -> Size:
    times = product(as_size(size, f"width {name!r}"), factor.numerator)
    if factor.denominator == 1:
        return times
    if is_float(times):
        return true_divide(times, factor.denominator)
    Width(1, factor.denominator).check(size, f"width {name!r}")
    return floor_divide(times, factor.denominator)


def is_nonzero(value: Size) -> bool:
    """Whether a number, or any element of an array, is not 0."""
    return bool((value != 0).any() if hasattr(value, "any") else value)
