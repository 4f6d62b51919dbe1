"""A matrix product: what every layer comes down to, and what folds over an array."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, dataclass, field, fields
from itertools import islice
from typing import Any, Self

from hwcost.arrays import (
    Size,
    Value,
    as_size,
    floor_divide,
    has_library,
    if_concrete,
    is_float,
    is_number,
    namespace,
    product,
    remainder,
    true_divide,
)
from hwcost.errors import MISSING, InvalidValueError, check_one_of
from hwcost.machine.dataflow import REUSE_LETTER, Operand

__all__ = ["Gemm", "check_multiple", "check_sharing", "check_sizes", "has_array", "holds", "share", "shown"]


def _stacked_as(sizes: Callable[[Gemm], tuple[Size, ...]]) -> Any:
    """A field that holds several sizes, and the sizes that take their place when products are stacked."""
    return field(default=(), repr=False, metadata={"stacked": sizes})


def _as_image(gemm: Gemm) -> tuple[Size, ...]:
    """The image of a product; for one without, an image of one column."""
    return gemm.image or (1, gemm.m, 1, gemm.m, 1, 1, 1, 1, 1, 1, 1)


@dataclass(frozen=True, eq=False)
class Gemm(Value):
    """``count`` matrix products (m x k)(k x n).

    Args:
        m, n, k: the sizes: rows of the input (output positions), columns of the weights (filters), and the length of
            each sum.
        count: number of products.
        window: sizes of a kernel, whose product divides k: the positions of a convolution's kernel.
        inputs: sizes of the input tensor of all products together, if the m x k of each product repeats its elements
            (the windows of a convolution overlap); else empty.
        image: how the m positions lie in the images of a convolution, of which strips can be cut: images, height and
            width of the output, height and width of the input, kernel, stride and dilation as pairs; else empty.
        weights_shared_by: number of consecutive products that use the same k x n operand, as the query heads of a
            group use the same keys. Divides ``count``.
        inputs_shared_by: number of consecutive products that use the same m x k operand. Divides ``count``; 1 if
            ``weights_shared_by`` is above 1, since products that share both operands are the same product.
        of_activations: 1 if the k x n operand is no weight but a result, as the keys or values of attention; else 0.
        on_chip: the operands ("weights", "inputs", "outputs") that are in the buffer before, or stay there: they do not
            cross DRAM.

    Raises:
        InvalidValueError: a size that is not a positive integer (or an array of them), a ``k`` or ``count`` that is not
            a multiple of what must divide it.

    >>> Gemm(m=1, n=16, k=150)
    Gemm(m=1, n=16, k=150, count=1)
    """

    m: Size
    n: Size
    k: Size
    count: Size = 1
    window: tuple[Size, ...] = _stacked_as(lambda gemm: (gemm.positions,))
    inputs: tuple[Size, ...] = _stacked_as(lambda gemm: (gemm.elements("inputs"),))
    image: tuple[Size, ...] = _stacked_as(_as_image)
    weights_shared_by: Size = 1
    inputs_shared_by: Size = 1
    of_activations: Size = field(default=0, repr=False)
    on_chip: tuple[str, ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        return shown(self)

    def __post_init__(self) -> None:
        check_sizes(self, "m", "n", "k", "count", "weights_shared_by", "inputs_shared_by")
        for name in ("window", "inputs", "image"):
            sizes = tuple(as_size(size, f"Gemm.{name}") for size in getattr(self, name))
            object.__setattr__(self, name, sizes)
        for operand in self.on_chip:
            check_one_of("Gemm.on_chip", operand, REUSE_LETTER)
        if self.window:
            check_multiple(self.k, self.positions, "Gemm.k", "the window's positions")
        check_sharing(self, "count")

    @classmethod
    def of_checked(cls, **sizes: Any) -> Self:
        """A product of sizes that are known to be valid: a second check is slow in a sweep of millions."""
        gemm = object.__new__(cls)
        gemm.__dict__.update(sizes)
        return gemm

    @classmethod
    def stack(
        cls,
        gemms: Sequence[Gemm],
        combine: Callable[[list[list[Size]]], Sequence[Size]],
        without: Collection[str] = (),
    ) -> Gemm:
        """Several products as one; each of its sizes combines theirs.

        ``window`` becomes the number of its positions and ``inputs`` the number of its elements; any other tuple is
        combined entry by entry. A field beyond m, n, k and count that holds the same value in all products keeps it.

        Args:
            gemms: the products; a field that the class of one of them lacks takes its default there.
            combine: from columns, each the values of one field in the order of the products, to one size per column.
            without: fields that are left at their default.

        Raises:
            InvalidValueError: a field of a subclass that cannot be stacked, or two subclasses with fields of their own.

        >>> stacked = Gemm.stack([Gemm(1, 2, 3), Gemm(4, 5, 6)], lambda columns: [tuple(each) for each in columns])
        >>> stacked.n, stacked.weights_shared_by
        ((2, 5), 1)
        """
        widest = gemms[0]
        for gemm in gemms:  # a loop, since torch.compile cannot trace max() over types
            widest = gemm if isinstance(gemm, type(widest)) else widest
        for gemm in gemms:
            if not isinstance(widest, type(gemm)):
                kinds = f"products of class {type(widest).__name__} and its bases in one call"
                raise InvalidValueError("layers", gemm, kinds)
        columns = {f.name: [_value(gemm, f) for gemm in gemms] for f in fields(widest) if f.name not in without}
        same = {name: column[0] for name, column in columns.items() if name not in _EXTENTS and _is_one(column)}
        parts = {
            name: _columns_of(column, f"{type(widest).__name__}.{name}")
            for name, column in columns.items()
            if name not in same
        }
        sizes = iter(combine([column for several in parts.values() for column in several]))
        several = {name: tuple(islice(sizes, len(part))) for name, part in parts.items()}
        return widest.of_checked(
            **same, **{name: s if isinstance(columns[name][0], tuple) else s[0] for name, s in several.items()}
        )

    def map(self, function: Callable[[Size], Size]) -> Self:
        """The product with a function applied to each of its sizes; what is not a size stays.

        >>> Gemm(m=1, n=2, k=12, window=(2, 3)).map(float)
        Gemm(m=1.0, n=2.0, k=12.0, count=1.0)
        """
        return self.of_checked(**{f.name: _mapped(getattr(self, f.name), function) for f in fields(self)})

    def with_sizes(self, **sizes: Any) -> Self:
        """The product with other sizes, which are known to be valid."""
        return self.of_checked(**(self.__dict__ | sizes))

    def gemms(self) -> tuple[Gemm, ...]:
        """The product itself."""
        return (self,)

    @property
    def macs(self) -> Size:
        """Multiply-accumulates: count * m * n * k."""
        return product(self.count, self.m, self.n, self.k, what="the MACs")

    @property
    def positions(self) -> Size:
        """Positions of the kernel that k goes over; 1 for a plain product."""
        return product(*self.window, what="the positions of the kernel")

    def by_position(self) -> Self:
        """The same work with a product for each position of the kernel.

        >>> Gemm(m=100, n=16, k=150, window=(5, 5)).by_position()
        Gemm(m=100, n=16, k=6, count=25)
        """
        positions = self.positions
        return self.with_sizes(k=share(self.k, positions), count=product(self.count, positions), window=())

    def merged(self) -> Self:
        """The same work with each group of products that share an operand as one larger product.

        >>> Gemm(m=1, n=16, k=8, count=6, weights_shared_by=3).merged()
        Gemm(m=3, n=16, k=8, count=2)
        """
        taller, wider = self.weights_shared_by, self.inputs_shared_by
        image = self.image  # a stacked product has one of m rows; images of a convolution are never shared
        if image:
            heights = (product(image[1], taller), image[2], product(image[3], taller))
            image = (image[0], *heights, *image[4:])
        return self.with_sizes(
            image=image,
            m=product(self.m, taller),
            n=product(self.n, wider),
            count=share(share(self.count, taller), wider),
            weights_shared_by=1,
            inputs_shared_by=1,
        )

    @property
    def shares_operands(self) -> bool:
        """Whether any of the products may share an operand."""
        weights, inputs = self.weights_shared_by, self.inputs_shared_by
        return not (type(weights) is int and type(inputs) is int and weights == inputs == 1)

    def elements(self, operand: Operand) -> Size:
        """Elements of the weights, inputs or outputs of all products; an operand that products share counts once.

        >>> [Gemm(m=2, n=3, k=5, count=7).elements(operand) for operand in ("weights", "inputs", "outputs")]
        [105, 70, 42]
        >>> Gemm(m=1, n=4096, k=128, count=32, weights_shared_by=4).elements("weights") == 8 * 4096 * 128
        True
        """
        if operand == "inputs" and self.inputs:
            return product(*self.inputs, what="the inputs")
        if operand == "weights":
            sizes = share(self.count, self.weights_shared_by), self.n, self.k
        elif operand == "inputs":
            sizes = share(self.count, self.inputs_shared_by), self.m, self.k
        else:
            sizes = self.count, self.m, self.n
        return product(*sizes, what=f"the {operand}")


def shown(layer: Any) -> str:
    """A layer as its fields; the numbers of products that share an operand only if they are not 1.

    >>> Gemm(m=1, n=16, k=8, count=6, window=(2, 2), weights_shared_by=3)
    Gemm(m=1, n=16, k=8, count=6, weights_shared_by=3)
    """
    values = {f.name: getattr(layer, f.name) for f in fields(layer) if f.repr}
    texts = (f"{name}={value!r}" for name, value in values.items() if name[-3:] != "_by" or not _is_one([value, 1]))
    return f"{type(layer).__qualname__}({', '.join(texts)})"


_EXTENTS = ("m", "n", "k", "count")


def has_array(value: object) -> bool:
    """Whether a value of a field is an array, or a tuple that holds one."""
    if is_number(value):
        return False
    return any(map(has_array, value)) if isinstance(value, tuple) else has_library(value)


def _is_size(value: object) -> bool:
    return (is_number(value) and not isinstance(value, bool)) or has_library(value)


def _mapped(value: Any, function: Callable[[Size], Size]) -> Any:
    if isinstance(value, tuple):
        return tuple(_mapped(each, function) for each in value)
    return function(value) if _is_size(value) else value


def _value(gemm: Gemm, f: Field[Any]) -> Any:
    """The value of a field before it is stacked; the default if the product is of a class without that field."""
    if "stacked" in f.metadata:
        return f.metadata["stacked"](gemm)
    if hasattr(gemm, f.name):
        return getattr(gemm, f.name)
    return MISSING if f.default is NO_DEFAULT else f.default


def _columns_of(column: list[Any], field: str) -> list[list[Size]]:
    """The values of a field as columns of sizes: one, or one for each entry if the values are tuples."""
    rows = [value if isinstance(value, tuple) else (value,) for value in column]
    shapes = [(isinstance(value, tuple), len(row)) for value, row in zip(column, rows, strict=True)]
    for value, row, shape in zip(column, rows, shapes, strict=True):
        if shape != shapes[0] or not all(map(_is_size, row)):
            raise InvalidValueError(field, value, "one value in all products, or sizes and as many of them in each")
    return [list(each) for each in zip(*rows, strict=True)]


def _is_one(column: list[Any]) -> bool:
    """Whether a column holds one value throughout."""
    return not any(map(has_array, column)) and all(value == column[0] for value in column)


# ---------------------------------------------------------------- checks


def check_sizes(layer: object, *names: str) -> None:
    """Replaces the named fields of a layer by checked sizes.

    Raises:
        InvalidValueError: a size that is not a positive integer (or an array of them).
    """
    for name in names:
        size = getattr(layer, name)
        if type(size) is not int or size < 1:  # nearly all are
            object.__setattr__(layer, name, as_size(size, f"{type(layer).__name__}.{name}"))


def check_multiple(size: Size, divisor: Size, field: str, what: str) -> None:
    """Raises unless ``divisor``, which is ``what`` in words, divides ``size``; soft sizes are not checked."""
    if type(divisor) is int and divisor == 1:
        return
    if is_float(size) or is_float(divisor):
        return
    if not holds(remainder(size, divisor) == 0):
        raise InvalidValueError(field, size, f"a multiple of {what} ({divisor})")


def check_sharing(layer: Any, count: str) -> None:
    """Raises unless the products of a layer, whose number is in field ``count``, can share operands as it states."""
    weights, inputs, kind = layer.weights_shared_by, layer.inputs_shared_by, type(layer).__name__
    for name, users in (("weights_shared_by", weights), ("inputs_shared_by", inputs)):
        check_multiple(getattr(layer, count), users, f"{kind}.{count}", name)
    if not holds((weights == 1) | (inputs == 1)):
        raise InvalidValueError(f"{kind}.inputs_shared_by", inputs, "1 if weights_shared_by is above 1")


def holds(condition: Any) -> bool:
    """Whether a condition is true everywhere; assumed if values cannot be looked at."""
    xp = namespace(condition)
    return bool(condition) if xp is None else if_concrete(condition, lambda: bool(xp.all(condition))) is not False


def share(size: Size, parts: Size) -> Size:
    """One part of a size; the division is known to be exact for integers."""
    if type(parts) is int and parts == 1:
        return size
    is_soft = isinstance(size, float) or is_float(size) or is_float(parts)
    return true_divide(size, parts) if is_soft else floor_divide(size, parts)
