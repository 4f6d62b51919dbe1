"""Layers as the matrix products that they are on an array.

A layer is a frozen value with one method, ``gemms()``, which returns the products that it comes down to. A new kind of
layer is a dataclass with that method. Sizes may be integers, integer arrays (a sweep; they broadcast) or float arrays
and tensors with a gradient (soft widths).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeGuard

from hwcost.arrays import Size, Value, as_size, floor_divide, is_float, is_number, product, total
from hwcost.errors import InvalidValueError
from hwcost.model.gemm import Gemm, check_multiple, check_sharing, check_sizes, holds, share, shown

__all__ = ["Conv2d", "Layer", "Linear", "MatMul"]


class Layer(Protocol):
    """Anything that can be priced: it comes down to matrix products."""

    def gemms(self) -> tuple[Gemm, ...]:
        """The products, which run one after the other."""
        ...


def is_layer(value: object) -> TypeGuard[Layer]:
    """Whether ``value`` can be priced."""
    return callable(getattr(value, "gemms", None)) and not isinstance(value, type)


@dataclass(frozen=True, eq=False)
class Conv2d(Value):
    """A 2-d convolution, named as in PyTorch, on an input of batch x in_channels x height x width.

    Args:
        in_channels, out_channels: c and f of the author's formula.
        kernel_size: k1 x k2; one size or a pair.
        height, width: of the input.
        batch: images at once.
        stride, dilation: one size or a pair.
        padding: pixels added on each side, one number or a pair; "same" gives ceil(size / stride) outputs, "valid" is
            0.
        groups: independent products, one for each group of channels; ``groups == in_channels`` is depthwise.

    Lowered by im2col: m = batch * output positions, k = k1 * k2 * in_channels / groups, n = out_channels / groups,
    ``groups`` times.

    Raises:
        InvalidValueError: a size that is not a positive integer, channels that groups do not divide, a kernel larger
            than the padded input.

    >>> Conv2d(6, 16, 5, height=14, width=14).gemms()
    (Gemm(m=100, n=16, k=150, count=1),)
    >>> Conv2d(32, 32, 3, height=8, width=8, padding="same", groups=32).gemms()
    (Gemm(m=64, n=1, k=9, count=32),)
    """

    in_channels: Size
    out_channels: Size
    kernel_size: Size | tuple[Size, Size]
    height: Size
    width: Size
    batch: Size = 1
    stride: Size | tuple[Size, Size] = 1
    padding: Size | tuple[Size, Size] | str = 0
    dilation: Size | tuple[Size, Size] = 1
    groups: Size = 1

    WIDTHS: ClassVar[tuple[str, str]] = ("in_channels", "out_channels")

    def __post_init__(self) -> None:
        check_sizes(self, "in_channels", "out_channels", "height", "width", "batch", "groups")
        for name in ("kernel_size", "stride", "dilation"):
            _set_pair(self, name, 1)
        if isinstance(self.padding, str):
            if self.padding not in ("same", "valid"):
                raise InvalidValueError(
                    "Conv2d.padding", self.padding, 'an integer of at least 0, a pair, "same" or "valid"'
                )
        else:
            _set_pair(self, "padding", 0)
        for name in ("in_channels", "out_channels"):
            check_multiple(getattr(self, name), self.groups, f"Conv2d.{name}", "groups")
        for axis, name in enumerate(("height", "width")):
            if self.padding != "same":
                _check_fits(self._spare(axis), self.kernel_size[axis], self.dilation[axis], name)

    def _spare(self, axis: int) -> Size:
        """Pixels that the kernel can move by: padded input - dilated kernel."""
        pad = 0 if isinstance(self.padding, str) else self.padding[axis]
        reach = product(self.dilation[axis], self.kernel_size[axis] - 1, what="the dilated kernel")
        return total((self.height, self.width)[axis], pad, pad, -reach, -1, what="the padded input")

    @property
    def is_depthwise(self) -> bool:
        """Whether every channel is a separate group."""
        return is_number(self.groups) and is_number(self.in_channels) and 1 < self.groups == self.in_channels

    @property
    def out_size(self) -> tuple[Size, Size]:
        """Height and width of the output.

        >>> Conv2d(3, 64, 7, height=224, width=224, stride=2, padding=3).out_size
        (112, 112)
        """
        return self._out(0), self._out(1)

    def _out(self, axis: int) -> Size:
        size, stride = (self.height, self.width)[axis], self.stride[axis]
        if is_number(stride) and stride == 1:
            return size if self.padding == "same" else self._spare(axis) + 1
        return floor_divide(size - 1 if self.padding == "same" else self._spare(axis), stride) + 1

    def gemms(self) -> tuple[Gemm, ...]:
        """One product for each group."""
        height, width = self.out_size
        return (
            Gemm.of_checked(
                m=product(self.batch, height, width, what="the output positions"),
                n=share(self.out_channels, self.groups),
                k=product(*self.kernel_size, share(self.in_channels, self.groups), what="kernel_size * in_channels"),
                count=self.groups,
                window=self.kernel_size,
                inputs=(self.batch, self.in_channels, self.height, self.width),
                image=(
                    *(self.batch, height, width, self.height, self.width),
                    *(*self.kernel_size, *self.stride, *self.dilation),
                ),
            ),
        )


@dataclass(frozen=True, eq=False)
class Linear(Value):
    """A fully connected layer on batch x in_features; ``batch`` counts every row (token, position).

    >>> Linear(400, 120).gemms()
    (Gemm(m=1, n=120, k=400, count=1),)
    """

    in_features: Size
    out_features: Size
    batch: Size = 1

    WIDTHS: ClassVar[tuple[str, str]] = ("in_features", "out_features")

    def __post_init__(self) -> None:
        check_sizes(self, "in_features", "out_features", "batch")

    def gemms(self) -> tuple[Gemm, ...]:
        """One product."""
        return (Gemm.of_checked(m=self.batch, n=self.out_features, k=self.in_features, count=1),)


@dataclass(frozen=True, eq=False)
class MatMul(Value):
    """``batch`` products (m x k)(k x n) of two activations: attention scores, for example.

    Args:
        m, n, k: the sizes of each product.
        batch: number of products.
        weights_shared_by: number of consecutive products that use the same second operand (k x n): the query heads of
            a group share their keys and values.
        inputs_shared_by: the same for the first operand (m x k).

    Raises:
        InvalidValueError: a size that is not a positive integer, a batch that ``weights_shared_by`` or
            ``inputs_shared_by`` does not divide, both of them above 1.

    The scores of 4 heads of width 16 over 10 tokens, and of one token's 32 query heads on 8 key heads of width 128:

    >>> MatMul(m=10, n=10, k=16, batch=4).gemms()
    (Gemm(m=10, n=10, k=16, count=4),)
    >>> MatMul(m=1, n=4096, k=128, batch=32, weights_shared_by=4).gemms()[0].elements("weights") == 8 * 4096 * 128
    True
    """

    m: Size
    n: Size
    k: Size
    batch: Size = 1
    weights_shared_by: Size = 1
    inputs_shared_by: Size = 1

    WIDTHS: ClassVar[tuple[str, str]] = ("k", "n")

    def __repr__(self) -> str:
        return shown(self)

    def __post_init__(self) -> None:
        check_sizes(self, "m", "n", "k", "batch", "weights_shared_by", "inputs_shared_by")
        check_sharing(self, "batch")

    def gemms(self) -> tuple[Gemm, ...]:
        """``batch`` products."""
        shared = {"weights_shared_by": self.weights_shared_by, "inputs_shared_by": self.inputs_shared_by}
        return (Gemm.of_checked(m=self.m, n=self.n, k=self.k, count=self.batch, of_activations=1, **shared),)


# ---------------------------------------------------------------- checks


def _set_pair(layer: Conv2d, name: str, minimum: int) -> None:
    """Replaces a field by a pair of checked sizes."""
    value = getattr(layer, name)
    if type(value) is int and value >= minimum:
        object.__setattr__(layer, name, (value, value))
    elif type(value) is not tuple or len(value) != 2 or {*map(type, value)} != {int} or min(value) < minimum:
        object.__setattr__(layer, name, _size_pair(value, f"Conv2d.{name}", minimum))


def _size_pair(value: Size, field: str, minimum: int) -> tuple[Size, Size]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise InvalidValueError(field, value, "one size or a pair of sizes")
    first = as_size(pair[0], field, minimum=minimum)
    return (first, first) if pair[1] is pair[0] else (first, as_size(pair[1], field, minimum=minimum))


def _check_fits(spare: Size, kernel: Size, dilation: Size, name: str) -> None:
    if (spare >= 0) if type(spare) is int else is_float(spare) or holds(spare >= 0):
        return
    are_numbers = all(map(is_number, (spare, kernel, dilation)))
    room = f", which has room for {kernel + spare // dilation}" if are_numbers else ""
    allowed = f"at most the padded input{room}; use a larger input, padding or a smaller kernel"
    raise InvalidValueError(f"Conv2d.kernel_size along the {name}", kernel, allowed)
