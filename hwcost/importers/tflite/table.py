"""What TFLite's free operators do to axes: each row translates a call into that of a shared rule.

A free operator that is not listed states nothing for sure: none of its inputs and outputs can change.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType

from hwcost.importers import rules
from hwcost.importers.rules import CannotPriceError, Handler
from hwcost.importers.tflite.calls import OperatorCall
from hwcost.importers.tflite.cuts import cuts_of, dims_of
from hwcost.importers.tflite.free import ELEMENTWISE, LOOK_UPS, OTHERS, SAME, VIEWS
from hwcost.network.axes import Axis

__all__ = ["AXES", "FREE"]


def _same(call: OperatorCall) -> None:
    rules.same(call.about(call[0]))


def _reshape(call: OperatorCall) -> None:
    """Sizes are numbers in the file: those of a flattened tensor follow its axes, those of a longer one cannot."""
    rules.reshape(call, apart=len(call.shape(call.out)) < len(call.shape(call[0])))


def _squeeze(call: OperatorCall) -> None:
    rules.squeeze(call, call.attributes.get("SqueezeDims") or None)


def _expand_dims(call: OperatorCall) -> None:
    if len(call.shape(call.out)) != len(call.shape(call[0])) + 1:
        raise CannotPriceError("its output has not one axis more than its input")
    rules.unsqueeze(call, [call.one_of(1)])


def _reduction(call: OperatorCall) -> None:
    rules.reduction(call.about(call[0]), dims_of(call, 1, call[0]))


def _transpose(call: OperatorCall) -> None:
    rules.permute(call, dims_of(call, 1, call[0]))


def _concatenation(call: OperatorCall) -> None:
    rules.concatenation(call, call.inputs, call.option("Axis"))


def _unpack(call: OperatorCall) -> None:
    """Each output is one place along an axis, which is gone."""
    axes, axis = call.axes(call[0]), rules.position(call, call[0], call.option("Axis"))
    call.widths.fix(axes[axis], call.kind)
    for value in call.outputs:
        call.give(value, (*axes[:axis], *axes[axis + 1 :]))


def _split(call: OperatorCall) -> None:
    rules.split(call.about(call[1]), call.one_of(0), stay_equal=True)


def _split_v(call: OperatorCall) -> None:
    rules.split(call.about(call[0]), call.one_of(2))


def _slice(call: OperatorCall) -> None:
    """A piece along axes: between its ends if steps are 1."""
    axes = iter(call.axes(call[0]))
    found: list[Axis] = []
    for start, step, size, special in cuts_of(call):
        if special == "new":
            found.append(call.widths.fixed(1, call.kind))
            continue
        axis = next(axes)
        whole = call.widths.size(axis)
        if special == "shrink":
            call.widths.fix(axis, call.kind)
        elif step == 1 and 0 < size < whole and not call.widths.is_fixed(axis):
            sizes = [each for each in (start, size, whole - start - size) if each]
            found.append(call.widths.pieces(axis, sizes, call.kind)[1 if start else 0])
        else:
            found += rules.keep_axes(call, [axis], [size])
    call.give(call.out, found)


def _gather(call: OperatorCall) -> None:
    if call.option("BatchDims"):
        raise CannotPriceError("a look-up in batches")
    rules.lookup(call.about(call[0]), call.option("Axis"), call.axes(call[1]))


def _blocks(call: OperatorCall) -> None:
    """Blocks of a map become channels, which come last, or the other way round."""
    batch, *positions, channels = call.axes(call[0])
    factor = Fraction(call.option("BlockSize", 1) ** 2)
    if call.kind == "DEPTH_TO_SPACE":
        call.widths.multiple(channels, int(factor), call.kind)
        factor = 1 / factor
    kept = rules.keep_axes(call, positions, call.shape(call.out)[1:-1])
    call.give(call.out, (batch, *kept, call.widths.scaled(channels, factor)))


def _resizing(call: OperatorCall) -> None:
    rules.resizing(call.about(call[0]))


def _in_graph(call: OperatorCall) -> None:
    """Only the shape goes on, and is followed as a constant."""


AXES: Mapping[str, Handler] = MappingProxyType(
    {
        **dict.fromkeys(ELEMENTWISE, rules.elementwise),
        **dict.fromkeys(("CAST", "DEQUANTIZE", "DIV", "MUL", "QUANTIZE"), rules.map_elements),
        **dict.fromkeys(SAME, _same),
        **dict.fromkeys(
            (
                "AVERAGE_POOL_2D", "BATCH_TO_SPACE_ND", "DILATE", "L2_POOL_2D", "MAX_POOL_2D", "MIRROR_PAD", "PAD",
                "PADV2", "REDUCE_WINDOW", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SPACE_TO_BATCH_ND",
            ),
            _resizing,
        ),
        "RESHAPE": _reshape,
        "SQUEEZE": _squeeze,
        "EXPAND_DIMS": _expand_dims,
        **dict.fromkeys(
            (
                "ARG_MAX", "ARG_MIN", "MEAN", "REDUCE_ALL", "REDUCE_ANY", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD",
                "SUM",
            ),
            _reduction,
        ),
        "TRANSPOSE": _transpose,
        "CONCATENATION": _concatenation,
        "PACK": lambda call: rules.stack(call, call.option("Axis")),
        "UNPACK": _unpack,
        "SPLIT": _split,
        "SPLIT_V": _split_v,
        **dict.fromkeys(("SLICE", "STRIDED_SLICE"), _slice),
        "GATHER": _gather,
        "EMBEDDING_LOOKUP": lambda call: rules.embedding(call, call[1], call[0]),
        **dict.fromkeys(("BROADCAST_TO", "TILE"), rules.expand),
        **dict.fromkeys(("DEPTH_TO_SPACE", "SPACE_TO_DEPTH"), _blocks),
        **dict.fromkeys(("RANK", "SHAPE"), _in_graph),
    }
)  # fmt: skip
"""What operators without products do to axes, by name."""

FREE = ELEMENTWISE | SAME | VIEWS | LOOK_UPS | OTHERS
"""All operators that are known to be free."""
