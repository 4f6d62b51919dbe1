"""How the output rows of a product share rows of its inputs.

A convolution is cut into strips of output rows. With windows of ``reach`` input rows that move by ``step``,

    r output rows need (r - 1) * step + reach input rows,
    an image of H input rows in strips is read as H + (strips - 1) * (reach - step) rows,

since neighbours overlap. A tile has whole images, or a strip of one. Rows and columns between the windows of a stride
larger than the kernel are not read. A plain product, and a convolution with a kernel of one pixel, has rows of one
position that share nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hwcost.arrays import Size, is_number, maximum, product, total
from hwcost.model.gemm import Gemm, share
from hwcost.model.sums import where

__all__ = ["Strips", "least", "needed_inputs", "strips_of"]


class Strips(NamedTuple):
    """The rows of one of the products of a layer.

    Attributes:
        rows: output rows of all images.
        of_image: output rows of an image.
        positions: outputs in a row.
        height: input rows of an image that are read.
        width: input columns that are read.
        reach: input rows that one output row needs.
        step: input rows from one output row to the next.
    """

    rows: Any
    of_image: Any
    positions: Any
    height: Any
    width: Any
    reach: Any
    step: Any

    @property
    def halo(self) -> Any:
        """Input rows that neighbouring output rows share."""
        return self.reach - self.step

    def read(self, rows: Any, xp: Any) -> Any:
        """Input rows that some output rows need."""
        few = xp.minimum((rows - 1) * self.step + self.reach, self.height)
        return xp.where(rows <= self.of_image, few, xp.ceil(rows / self.of_image) * self.height)

    def passed(self, rows: Any, count: Any, xp: Any) -> Any:
        """Input rows that are read in one pass over all images in strips of some output rows, ``count`` per image."""
        halos = xp.where(rows < self.of_image, (count - 1) * self.halo, 0.0 * rows)
        return self.rows / self.of_image * (self.height + halos)

    def units(self, unit: Any, xp: Any) -> Any:
        """How many times some output rows are in all images; ``unit`` is whole images if it is more than one."""
        _, blocks, strips = self._units(unit, xp)
        return blocks * strips

    def cut(self, unit: Any, count: Any, xp: Any) -> tuple[Any, Any]:
        """The number and the rows of equal tiles of whole images or, where ``count`` is larger, strips of them."""
        block, blocks, strips = self._units(unit, xp)
        whole = xp.ceil(blocks / xp.minimum(count, blocks))
        strip = xp.ceil(strips / xp.maximum(xp.floor(count / blocks), 1.0))
        is_whole = count <= blocks
        return (
            xp.where(is_whole, xp.ceil(blocks / whole), blocks * xp.ceil(strips / strip)),
            xp.where(is_whole, xp.minimum(whole * block, self.rows), xp.minimum(strip * unit, self.of_image)),
        )

    def fewest(self, unit: Any, most: Any, xp: Any) -> Any:
        """The least number of tiles of at most some rows."""
        block, blocks, strips = self._units(unit, xp)
        whole = xp.ceil(blocks / xp.maximum(xp.floor(most / block), 1.0))
        strips = blocks * xp.ceil(strips / xp.maximum(xp.floor(most / unit), 1.0))
        return xp.where(most >= self.rows, 1.0 + 0.0 * whole, xp.where(most >= block, whole, strips))

    def streamed(self, unit: Any, most: Any, within: Any, xp: Any) -> tuple[Any, Any]:
        """The rows of which at most some stream through a tile at once, and how often that many do."""
        block = self._units(unit, xp)[0]
        rows = xp.where(most >= block, xp.floor(most / block) * block, xp.floor(most / unit) * unit)
        rows = xp.maximum(unit, xp.minimum(rows, within))
        strips = xp.maximum(within / self.of_image, 1.0) * xp.ceil(xp.minimum(within, self.of_image) / rows)
        return rows, xp.where(rows < self.of_image, strips, xp.ceil(within / rows))

    def _units(self, unit: Any, xp: Any) -> tuple[Any, Any, Any]:
        """The least rows of whole images that a tile has, the number of these, and units in each."""
        block = xp.maximum(unit, self.of_image)
        return block, xp.ceil(self.rows / block), xp.ceil(self.of_image / unit)

    def fitting(self, room: Any, per_input: Any, per_output: Any, xp: Any) -> Any:
        """The most output rows for which ``per_input`` bytes a row of inputs and ``per_output`` one of outputs fit."""
        few = (room - per_input * self.halo) / (per_input * self.step + per_output)
        all_inputs = xp.minimum((room - per_input * self.height) / per_output, self.of_image)
        few = xp.where((all_inputs - 1) * self.step + self.reach >= self.height, xp.maximum(few, all_inputs), few)
        few = xp.minimum(few, self.of_image)
        images = room / (per_input * self.height + per_output * self.of_image)
        return xp.where(images >= 1, xp.maximum(images * self.of_image, few), few)


def least(a: Any, b: Any) -> Any:
    """The smaller of two sizes."""
    return -maximum(-a, -b)


def strips_of(gemm: Gemm) -> Strips:
    """The strips of a product.

    >>> from hwcost import Conv2d
    >>> strips_of(Conv2d(8, 8, 3, height=16, width=16).gemms()[0])
    Strips(rows=14, of_image=14, positions=14, height=16, width=16, reach=3, step=1)
    >>> strips_of(Conv2d(8, 8, 1, height=14, width=14, stride=2).gemms()[0])
    Strips(rows=49, of_image=49, positions=1, height=49, width=1, reach=1, step=1)
    """
    if not gemm.image:
        return Strips(gemm.m, gemm.m, 1, gemm.m, 1, 1, 1)
    images, out_height, out_width, height, width, *pairs = gemm.image
    kernels, strides, dilations = pairs[:2], pairs[2:4], pairs[4:]
    reach, reach_across = map(_reach, kernels, dilations)
    step, step_across = least(strides[0], reach), least(strides[1], reach_across)
    read = _read(out_height, reach, step, height), _read(out_width, reach_across, step_across, width)
    is_plain = (kernels[0] == 1) & (kernels[1] == 1)
    rows = product(images, out_height)

    def unless(plain: Size, strip: Size) -> Size:
        return where(is_plain, plain, strip)

    return Strips(
        rows=unless(gemm.m, rows),
        of_image=unless(gemm.m, out_height),
        positions=unless(share(gemm.m, gemm.m), out_width),
        height=unless(least(gemm.m, product(images, height, width)), read[0]),
        width=unless(1, read[1]),
        reach=unless(1, reach),
        step=unless(1, step),
    )


def needed_inputs(gemm: Gemm) -> Size:
    """Elements of the inputs of all products that a window touches, without the pixels that strides leave out.

    >>> from hwcost import Conv2d
    >>> [needed_inputs(Conv2d(8, 8, kernel, height=14, width=14, stride=2).gemms()[0]) for kernel in (1, 2, 3)]
    [392, 1568, 1352]
    """
    whole = gemm.elements("inputs")
    if not gemm.image:
        return whole
    _, out_height, out_width, height, width, *pairs = gemm.image
    strides = pairs[2:4]
    if type(strides[0]) is int and strides[0] == 1 and type(strides[1]) is int and strides[1] == 1:
        return whole  # a short way for most layers: no pixel is left out
    sides = (out_height, height, *pairs[::2]), (out_width, width, *pairs[1::2])
    read = [_touched(*side) for side in sides]
    if all(map(is_number, (*read, height, width))) and read == [height, width]:
        return whole
    return product(share(whole, product(height, width)), *read)


def _touched(outputs: Size, inputs: Size, kernel: Size, stride: Size, dilation: Size) -> Size:
    reach = _reach(kernel, dilation)
    return _read(outputs, reach, least(stride, reach), inputs)


def _reach(kernel: Size, dilation: Size) -> Size:
    return total(product(total(kernel, -1), dilation), 1)


def _read(outputs: Size, reach: Size, step: Size, inputs: Size) -> Size:
    return least(total(product(total(outputs, -1), step), reach), inputs)
