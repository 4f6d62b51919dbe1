"""What PyTorch's other operators say about the axes of their tensors.

An operator that is free and not listed here says nothing for sure: outputs that have the shape of an input keep its
axes where the operator works element by element, and everything else is fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from hwcost.network.axes import Axis

if TYPE_CHECKING:
    from torch import Tensor

    from hwcost.importers.torch.tracer import Call

__all__ = ["AXES", "shaped_alike"]

Handler: TypeAlias = "Callable[[Call], None]"


def shaped_alike(call: Call) -> None:
    """Element by element: tensors meet with their ends aligned, as PyTorch broadcasts them."""
    inputs = call.inputs
    if not inputs:
        return
    if len(inputs) == 1 and all(output is inputs[0] for output in call.outputs):
        return
    wide = _shape_together(inputs)
    if any(tuple(output.shape) != wide for output in call.outputs):
        call.tracer.fix(inputs, call.kind)
        return
    axes = call.widths.join_broadcast([call.axes(tensor) for tensor in inputs], call.kind)
    _give(call, axes)


def _shape_together(tensors: Sequence[Tensor]) -> tuple[int, ...] | None:
    """The shape that tensors have together; None where they do not go together."""
    import numpy as np

    try:
        return np.broadcast_shapes(*(tuple(tensor.shape) for tensor in tensors))
    except ValueError:
        return None


def _give(call: Call, axes: Sequence[Axis]) -> None:
    """Sets the axes of all new outputs that have this shape; in-place ones have theirs."""
    own = {id(tensor) for tensor in call.inputs}
    shape = tuple(map(call.widths.size, axes))
    for tensor in call.outputs:
        if id(tensor) not in own and tuple(tensor.shape) == shape:
            call.tracer.give(tensor, tuple(axes))


def _kept(call: Call) -> None:
    """Axes of the first tensor that have the same size in the output stay what they are; others cannot change."""
    x = _first(call)
    for out in call.outputs:
        if out.dim() != x.dim():
            call.tracer.fix((x, out), call.kind)
            continue
        axes = []
        for axis, size in zip(call.axes(x), out.shape, strict=True):
            stays = call.widths.size(axis) == size
            if not stays:
                call.widths.fix(axis, call.kind)
            axes.append(axis if stays else call.widths.fixed(size, call.kind))
        call.tracer.give(out, tuple(axes))


def _first(call: Call) -> Tensor:
    return call["self"] if "self" in call.arguments else call.inputs[0]


# ---------------------------------------------------------------- norms


def _batch_norm(call: Call) -> None:
    x = call["input"] if "input" in call.arguments else _first(call)
    axes = call.axes(x)
    for name in ("weight", "bias", "running_mean", "running_var"):
        _give_parameter(call, call.arguments.get(name), axes[1:2])
    _give(call, axes)


def _give_parameter(call: Call, tensor: Any, axes: Sequence[Axis]) -> None:
    if tensor is not None:
        call.tracer.give(tensor, tuple(axes), call.kind)


def _layer_norm(call: Call) -> None:
    x = call["input"]
    axes = call.axes(x)
    last = axes[len(axes) - len(call["normalized_shape"]) :]
    for name in ("weight", "bias"):
        _give_parameter(call, call.arguments.get(name), last)
    _give(call, axes)


def _group_norm(call: Call) -> None:
    axes = call.axes(call["input"])
    call.widths.multiple(axes[1], call["group"], "groups of a norm")
    for name in ("weight", "bias"):
        _give_parameter(call, call[name], axes[1:2])
    _give(call, axes)


# ---------------------------------------------------------------- shapes


def _reshape(call: Call) -> None:
    x, out = _first(call), call.outputs[0]
    open_before = [axis for axis in call.axes(x) if not call.widths.is_fixed(axis)]
    made = call.widths.reshape(call.axes(x), out.shape, "a reshape")
    call.tracer.give(out, made)
    if call.tracer.is_parameter(x):  # its own shape, or its module's, says the sizes
        return
    given = call.arguments.get("size", ())
    if -1 in given:  # sizes beside one that is found out are numbers in the code, unless an axis has them already
        for axis, size in zip(made, given, strict=True):
            if size != -1 and axis not in call.axes(x):
                call.widths.fix(axis, "a number in the code")
    if any(map(call.widths.is_fixed, open_before)):
        call.tracer.shape_was_written(out.shape)
    else:
        call.tracer.shape_was_written(_taken_apart(x.shape, out.shape))


def _taken_apart(old: Sequence[int], new: Sequence[int]) -> Sequence[int]:
    """The sizes that the last axis was taken apart into: features into heads; none where it was not.

    >>> _taken_apart((64, 49, 96), (64, 49, 3, 32)), _taken_apart((3136, 96), (64, 49, 96))
    ((3, 32), ())
    """
    for start in range(len(new) - 2, -1, -1):
        if old and math.prod(new[start:]) == old[-1] and 1 not in new[start:]:
            return tuple(new[start:])
    return ()


def _permuted(order: Callable[[Call, int], Sequence[int]]) -> Handler:
    def handler(call: Call) -> None:
        x = _first(call)
        axes = call.axes(x)
        call.tracer.give(call.outputs[0], tuple(axes[i] for i in order(call, x.dim())))

    return handler


def _swapped(call: Call, dims: int) -> Sequence[int]:
    order = list(range(dims))
    if dims:
        a, b = call["dim0"] % dims, call["dim1"] % dims
        order[a], order[b] = order[b], order[a]
    return order


def _expand(call: Call) -> None:
    x, out = _first(call), call.outputs[0]
    own = call.axes(x)
    axes: list[Axis] = [call.widths.fixed(size, "an expansion") for size in out.shape]
    for index, axis in enumerate(reversed(own), start=1):
        if call.widths.size(axis) == out.shape[-index]:
            axes[-index] = axis
        else:
            call.widths.fix(axis, "an expansion")
    call.tracer.give(out, tuple(axes))


def _pieces(call: Call) -> None:
    """Cut along one axis: split, chunk, narrow, slice."""
    x = _first(call)
    dim = call["dim"] % max(1, x.dim())
    axes = call.axes(x)
    sizes = [out.shape[dim] for out in call.outputs]
    if sum(sizes) == x.shape[dim]:
        pieces = call.widths.pieces(axes[dim], sizes, call.kind)
    else:
        call.widths.fix(axes[dim], call.kind)
        pieces = tuple(call.widths.fixed(size, call.kind) for size in sizes)
    for out, piece in zip(call.outputs, pieces, strict=True):
        call.tracer.give(out, (*axes[:dim], piece, *axes[dim + 1 :]))


def _without_axis(call: Call) -> None:
    """One index, or each index, along an axis: select, unbind."""
    x = _first(call)
    dim = call["dim"] % max(1, x.dim())
    axes = call.axes(x)
    call.widths.fix(axes[dim], call.kind)
    for out in call.outputs:
        call.tracer.give(out, (*axes[:dim], *axes[dim + 1 :]))


def _cat(call: Call) -> None:
    tensors = [tensor for tensor in call["tensors"] if tensor.dim() or not tensor.numel()]
    out = call.outputs[0]
    tensors = [tensor for tensor in tensors if tensor.dim() == out.dim()]
    dim = call["dim"] % max(1, out.dim())
    columns = list(zip(*(call.axes(tensor) for tensor in tensors), strict=True))
    axes = []
    for index, column in enumerate(columns):
        if index == dim:
            axes.append(call.widths.concatenated(column))
            continue
        for axis in column[1:]:
            call.widths.join(column[0], axis, "a concatenation")
        axes.append(column[0])
    call.tracer.give(out, tuple(axes))


def _stack(call: Call) -> None:
    out, tensors = call.outputs[0], call["tensors"]
    dim = call["dim"] % out.dim()
    axes = call.widths.join_broadcast([call.axes(tensor) for tensor in tensors], "a stack")
    call.tracer.give(out, (*axes[:dim], call.widths.fixed(len(tensors), "a stack"), *axes[dim:]))


# ---------------------------------------------------------------- sums and the rest


def _reduced(call: Call) -> None:
    """Sums and means: axes that are summed over are gone, or 1."""
    x = _first(call)
    dims = call.arguments.get("dim")
    dims = range(x.dim()) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    gone = {dim % max(1, x.dim()) for dim in dims}
    axes = call.axes(x)
    kept = [axis for index, axis in enumerate(axes) if index not in gone]
    ones = [call.widths.fixed(1, "a sum") if index in gone else axis for index, axis in enumerate(axes)]
    for out in call.outputs:
        call.tracer.give(out, tuple(ones if out.dim() == x.dim() else kept))


def _embedding(call: Call) -> None:
    width = call.axes(call["weight"])[1]
    if call.tracer.path:
        call.widths.call(width, call.tracer.path)
    call.tracer.give(call.outputs[0], (*call.axes(call["indices"]), width))


def _same(call: Call) -> None:
    """Outputs with the axes of the first tensor: softmax over them, dropout, sorting."""
    _give(call, call.axes(_first(call)))


def _looked_up(call: Call) -> None:
    """By indices along one axis: it is fixed, the others stay."""
    x, out = _first(call), call.outputs[0]
    axes = call.axes(x)
    dim = call["dim"] % max(1, x.dim())
    call.widths.fix(axes[dim], call.kind)
    if out.dim() == x.dim() and all(
        a == b for i, (a, b) in enumerate(zip(x.shape, out.shape, strict=True)) if i != dim
    ):
        fixed = call.widths.fixed(out.shape[dim], call.kind)
        call.tracer.give(out, (*axes[:dim], fixed, *axes[dim + 1 :]))
    else:
        call.tracer.fix((x,), call.kind)


def _all(handler: Handler, names: str) -> dict[str, Handler]:
    return dict.fromkeys(names.split(), handler)


AXES: Mapping[str, Handler] = MappingProxyType(
    {
        **_all(
            _batch_norm,
            "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
            "_native_batch_norm_legit_functional _batch_norm_no_update _batch_norm_with_update cudnn_batch_norm",
        ),
        **_all(_layer_norm, "native_layer_norm _fused_rms_norm"),
        "native_group_norm": _group_norm,
        **_all(_reshape, "view _unsafe_view reshape _reshape_alias flatten unflatten squeeze unsqueeze"),
        **_all(
            _same,
            "_softmax _log_softmax _safe_softmax native_dropout bernoulli sort cumsum cumprod flip roll detach alias "
            "lift_fresh empty_like zeros_like ones_like full_like rand_like randn_like",
        ),
        "t": _permuted(lambda call, dims: range(dims)[::-1]),
        "transpose": _permuted(_swapped),
        "permute": _permuted(lambda call, dims: [dim % dims for dim in call["dims"]]),
        "expand": _expand,
        **_all(_pieces, "split split_with_sizes unsafe_split unsafe_split_with_sizes chunk narrow slice"),
        **_all(_without_axis, "select unbind"),
        "cat": _cat,
        "stack": _stack,
        **_all(
            _kept,
            "max_pool2d_with_indices max_pool3d_with_indices avg_pool2d avg_pool3d _adaptive_avg_pool2d "
            "_adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d upsample_nearest1d upsample_nearest2d "
            "upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d upsample_linear1d "
            "upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d constant_pad_nd reflection_pad1d "
            "reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d "
            "_upsample_bilinear2d_aa _upsample_bicubic2d_aa",
        ),
        **_all(_reduced, "mean sum amax amin prod max min argmax argmin any all var std var_mean std_mean logsumexp"),
        "embedding": _embedding,
        **_all(_looked_up, "index_select gather topk"),
    }
)
"""Operators whose axes are known, by name."""
