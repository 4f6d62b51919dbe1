"""One row of a SCALE-Sim topology, as a layer that hwcost prices like any other."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from hwcost.arrays import Size, as_size, ceil_divide, maximum, product, total
from hwcost.errors import InvalidValueError
from hwcost.model.gemm import Gemm, holds

__all__ = ["TopologyLayer"]


@dataclass(frozen=True)
class TopologyLayer:
    """A convolution as SCALE-Sim understands it: one image, whose size includes any padding.

    Args:
        name: of the layer; free text.
        height, width: of the input, the IFMAP.
        kernel_height, kernel_width: of a filter.
        channels: of the input.
        filters: of the output.
        stride_height, stride_width: of the kernel.
        count: the number of such layers: one per channel for a depthwise row, else 1.

    Sizes are integers, or integer arrays for a sweep in one layer.

    Departs from :class:`hwcost.Conv2d` in the output size, which SCALE-Sim rounds up: a last window may hang over the
    edge of the input and is counted in full.

    Raises:
        InvalidValueError: a size that is not a positive integer, a kernel larger than the input.

    >>> layer = TopologyLayer("conv1", 224, 224, 7, 7, 3, 64, 2, 2)
    >>> layer.out_size, layer.gemms()[0].k
    ((110, 110), 147)
    """

    WIDTHS: ClassVar[tuple[str, str]] = ("channels", "filters")

    name: str
    height: Size
    width: Size
    kernel_height: Size
    kernel_width: Size
    channels: Size
    filters: Size
    stride_height: Size = 1
    stride_width: Size = 1
    count: Size = 1

    def __post_init__(self) -> None:
        for field in fields(self)[1:]:
            size = as_size(getattr(self, field.name), f"TopologyLayer.{field.name}")
            object.__setattr__(self, field.name, size)
        for axis in ("height", "width"):
            kernel = getattr(self, f"kernel_{axis}")
            spare = total(getattr(self, axis), -kernel)
            if not holds(spare >= 0):
                raise InvalidValueError(f"TopologyLayer.kernel_{axis}", kernel, f"at most the {axis} of the input")

    @classmethod
    def product(cls, name: str, *, m: Size, n: Size, k: Size) -> TopologyLayer:
        """A matrix product (m x k)(k x n) as SCALE-Sim writes one: m rows of k pixels, each under a kernel of 1 x k.

        >>> TopologyLayer.product("fc", m=10, n=20, k=30).gemms()[0].m
        10
        """
        return cls(name, m, k, 1, k, 1, n)

    @property
    def out_size(self) -> tuple[Size, Size]:
        """Height and width of the output, rounded up."""
        return self._out("height"), self._out("width")

    def _out(self, axis: str) -> Size:
        stride = getattr(self, f"stride_{axis}")
        spare = total(getattr(self, axis), -getattr(self, f"kernel_{axis}"), stride)
        return ceil_divide(spare, stride)

    @property
    def touched_inputs(self) -> Size:
        """How many different elements of the input any window covers, in one of the layers of the row.

        >>> TopologyLayer("sparse", 7, 7, 1, 1, 2, 1, 3, 3).touched_inputs
        18
        """
        return product(self.channels, self._touched("height"), self._touched("width"), what="the inputs touched")

    def _touched(self, axis: str) -> Size:
        """All but the last window add a stride, or a kernel if strides leave gaps; the last is cut at the edge."""
        kernel, stride = getattr(self, f"kernel_{axis}"), getattr(self, f"stride_{axis}")
        before = total(self._out(axis), -1)
        left = total(getattr(self, axis), -product(before, stride))
        return total(product(before, _minimum(kernel, stride)), _minimum(maximum(left, 0), kernel))

    def gemms(self) -> tuple[Gemm, ...]:
        """One product, or as many equal ones as there are layers."""
        height, width = self.out_size
        return (
            Gemm(
                m=product(height, width, what="the output positions"),
                n=self.filters,
                k=product(self.kernel_height, self.kernel_width, self.channels, what="the window"),
                count=self.count,
                window=(self.kernel_height, self.kernel_width),
                inputs=(self.count, self.channels, self.height, self.width),
            ),
        )


def _minimum(a: Size, b: Size) -> Size:
    return total(a, b, -maximum(a, b))
