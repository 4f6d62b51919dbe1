"""Layers at soft sizes, by a specification that names things as PyTorch does.

A specification has the attributes of a module (``in_channels``, ``kernel_size``, ...), of which widths and kernel sizes
may be tensors of one number, and the ``output_shape``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from hwcost import arrays
from hwcost.arrays import Size
from hwcost.errors import InvalidValueError
from hwcost.model.layers import Conv2d, Layer, Linear

__all__ = ["Spec", "ToLayer", "depthwise", "grouped", "linear", "soft"]

Spec: TypeAlias = Mapping[str, Any]
ToLayer: TypeAlias = Callable[[Spec, Size], Layer]
"""Makes a layer of a specification and a batch size."""


def soft(value: Size, field: str) -> Size:
    """A size as a host holds it: a number, or a tensor of one number above 0, whose axes are dropped."""
    if not isinstance(value, Tensor):
        return arrays.as_size(value, field)
    allowed = "a tensor of one number above 0"
    if value.numel() != 1:
        raise InvalidValueError(field, tuple(value.shape), allowed)
    if arrays.if_concrete(value, lambda: bool(torch.isfinite(value) & (value > 0))) is False:
        raise InvalidValueError(field, value.item(), allowed)
    return value.reshape(())


def grouped(spec: Spec, batch: Size, *, axes: int = 2) -> Conv2d:
    """A convolution by the shape of its output, which hosts know; its input is stride times that. Its groups stay."""
    if len(spec["output_shape"]) != axes + 2:
        raise InvalidValueError("output_shape", tuple(spec["output_shape"]), f"batch, channels and {axes} more sizes")
    out_size, stride, kernel = (1, *spec["output_shape"][2:])[-2:], [1, 1], [1, 1]
    for axis in range(-axes, 0):
        stride[axis] = _along(spec.get("stride", 1), axis)
        kernel[axis] = soft(_along(spec["kernel_size"], axis), "kernel_size")
    return Conv2d(
        soft(spec["in_channels"], "in_channels"),
        soft(spec["out_channels"], "out_channels"),
        (kernel[0], kernel[1]),
        height=out_size[0] * stride[0],
        width=out_size[1] * stride[1],
        batch=batch,
        stride=(stride[0], stride[1]),
        padding="same",
        groups=soft(spec.get("groups", 1), "groups"),
    )


def _along(value: Any, axis: int) -> Any:
    return value[axis] if isinstance(value, (tuple, list)) else value


def depthwise(spec: Spec, batch: Size, *, axes: int = 2, multiplier: int = 1) -> Conv2d:
    """A depthwise convolution; its outputs follow its inputs."""
    width = soft(spec["in_channels"], "in_channels")
    return grouped({**spec, "groups": width, "out_channels": multiplier * width}, batch, axes=axes)


def linear(spec: Spec, batch: Size) -> Linear:
    """A fully connected layer on every row of its output."""
    rows = math.prod(spec["output_shape"][1:-1])
    in_width, out_width = (soft(spec[name], name) for name in ("in_features", "out_features"))
    return Linear(in_width, out_width, batch=arrays.product(batch, rows))
