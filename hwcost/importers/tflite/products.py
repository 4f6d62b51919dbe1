"""TFLite's operators that multiply: each row turns the axes of its tensors and calls a shared rule.

Channels come last in TFLite, and a kernel holds filters, positions and channels in an order that each operator has of
its own; behind :meth:`OperatorCall.turn` they are as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hwcost.importers import rules
from hwcost.importers.rules import CannotPriceError, Handler, LoweredLayer
from hwcost.importers.tflite.calls import OperatorCall, Turned, Value
from hwcost.importers.tflite.recurrent import RECURRENT

__all__ = ["PRODUCTS"]

_MAP, _VOLUME = (0, 3, 1, 2), (0, 4, 1, 2, 3)
"""Batch, channels and positions of a map and of a volume; filters, channels and positions of a kernel for a map."""
_SAME, _VALID = 0, 1
_INTO_EACH_OTHER = "its {} channels are no multiple of the {} of its kernel"


def _convolution(call: OperatorCall) -> tuple[LoweredLayer, ...]:
    """Filters x height x width x channels of a group; the sizes of both tell the number of groups."""
    x, weight = call.turn(call[0], _MAP), call.turn(call[1], _MAP)
    channels, of_group = call.shape(x)[1], call.shape(weight)[1]
    if not of_group or channels % of_group:
        raise CannotPriceError(_INTO_EACH_OTHER.format(channels, of_group))
    return _convolved(call, x, weight, call.get(2), channels // of_group)


def _depthwise(call: OperatorCall) -> tuple[LoweredLayer, ...]:
    """1 x height x width x filters, as many filters of each channel in a row as there are for one."""
    x, weight = call.turn(call[0], _MAP), call.turn(call[1], (3, 0, 1, 2))
    channels, (filters, one) = call.shape(x)[1], call.shape(weight)[:2]
    if one != 1 or not channels or filters % channels:
        raise CannotPriceError(f"its kernel of {filters} filters does not go with {channels} channels")
    return _convolved(call, x, weight, call.get(2), channels)


def _convolved(call: OperatorCall, x: Turned, weight: Turned, bias: Any, groups: int) -> tuple[LoweredLayer, ...]:
    out = call.turn(call.out, _MAP)
    return rules.convolution(call.about(x, weight, outputs=[out]), x, weight, bias, _window(call, "HW", groups))


def _window(call: OperatorCall, letters: str, groups: int = 1) -> rules.Window:
    how, none = call.option("Padding", _SAME), (0,) * len(letters)
    if how not in (_SAME, _VALID):
        raise CannotPriceError(f"its padding is number {how}, neither SAME nor VALID")
    strides = [call.option(f"Stride{each}", 1) for each in letters]
    dilations = [call.option(f"Dilation{each}Factor", 1) for each in letters]
    return rules.Window(strides, dilations, none, none, groups, how == _SAME)


def _volume(call: OperatorCall) -> tuple[LoweredLayer, ...]:
    """Positions x channels x filters."""
    x, out = call.turn(call[0], _VOLUME), call.turn(call.out, _VOLUME)
    weight = call.turn(call[1], (4, 3, 0, 1, 2))
    channels, own = call.shape(x)[1], call.shape(weight)[1]
    if channels != own:
        raise CannotPriceError(f"its kernel is one of {own} channels, and its input has {channels}")
    about = call.about(x, weight, outputs=[out])
    return rules.convolution(about, x, weight, call.get(2), _window(call, "DHW"))


def _transposed(call: OperatorCall, order: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[LoweredLayer, ...]:
    x, weight, out = call.turn(call[2], order), call.turn(call[1], kernel), call.turn(call.out, order)
    (_, channels, *size), (own, _, *sides) = call.shape(x), call.shape(weight)
    if channels != own:
        raise CannotPriceError(f"its kernel is one of {own} channels, and its input has {channels}")
    window = _window(call, "DHW"[-len(size) :])
    for before, after, side, stride, dilation in zip(
        size, call.shape(out)[2:], sides, window.stride, window.dilation, strict=True
    ):
        spare = after - 1 if window.same else after - 1 - dilation * (side - 1)
        if stride < 1 or spare < 0 or spare // stride + 1 != before:
            raise CannotPriceError(f"{before} positions do not become {after} with a kernel of {side}")
    about = call.about(x, weight, outputs=[out])
    return rules.transposed_convolution(about, x, weight, call.get(3))


def _fully_connected(call: OperatorCall) -> tuple[LoweredLayer, ...]:
    """Filters x channels, by rows of as many elements as there are channels, whatever the input's shape."""
    x, weight = call[0], call[1]
    shape, inner = call.shape(x), call.shape(weight, 2)[1]
    elements = call.tensors.elements(x)
    if not inner or elements % inner:
        raise CannotPriceError(f"its input of {elements} elements has no rows of {inner}")
    keeps = bool(call.option("KeepNumDims"))
    if (keeps and shape[-1] == inner) or shape == (elements // inner, inner):
        return rules.matmul(call, x, weight, call.get(2), (False, True))
    rows = (elements // inner, inner)
    axes = call.widths.reshape(call.axes(x), rows, "a reshape", apart=len(rows) < len(shape))
    flat = Value(x.name, x.type, rows, origin=x.origin, axes=axes)
    return rules.matmul(call.about(flat, weight), flat, weight, call.get(2), (False, True))


def _products(call: OperatorCall) -> tuple[LoweredLayer, ...]:
    swapped = bool(call.option("AdjX")), bool(call.option("AdjY"))
    return rules.matmul(call, call[0], call[1], swapped=swapped)


PRODUCTS: Mapping[str, Handler] = MappingProxyType(
    {
        "CONV_2D": _convolution,
        "DEPTHWISE_CONV_2D": _depthwise,
        "CONV_3D": _volume,
        "TRANSPOSE_CONV": lambda call: _transposed(call, _MAP, (3, 0, 1, 2)),
        "CONV_3D_TRANSPOSE": lambda call: _transposed(call, _VOLUME, (4, 3, 0, 1, 2)),
        "FULLY_CONNECTED": _fully_connected,
        "BATCH_MATMUL": _products,
        **RECURRENT,
    }
)
"""Operators that multiply, by name."""
