"""PyTorch's operators, by name: each row translates the arguments of a call into a call of a shared rule.

A free operator that is not listed states nothing for sure: if it works element by element, outputs have the axes of the
inputs; otherwise nothing that it touches can change.
"""

from __future__ import annotations

import math
import string
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from hwcost.importers import rules
from hwcost.importers.rules import Handler, LoweredLayer
from hwcost.importers.torch import heads
from hwcost.importers.torch.calls import OperatorCall
from hwcost.importers.torch.composites import given_sizes, in_chunk
from hwcost.model.layers import Conv2d, MatMul

__all__ = ["AXES", "PRODUCTS", "attention"]


def _reshape(call: OperatorCall) -> None:
    x, out, widths = call.first, call.out, call.widths
    apart, joined = (False, False) if call.is_parameter(x) else (heads.opened(call), heads.are_joined(call))
    before = call.axes(x)
    open_before = [axis for axis in before if not widths.is_fixed(axis)]
    rules.reshape(call, apart=apart)
    if call.is_parameter(x):  # its own shape, or its module's, decides the sizes
        return
    heads.hold_sizes(call)
    given = call.arguments.get("size", ())
    if -1 in given:
        # sizes next to one that is computed are numbers in the code, or those of another tensor (``view(B, C, -1)``);
        # if the first one is computed, the last ones are nearly always the tensor's own (``view(-1, x.shape[-1])``)
        written = given_sizes() or given
        for axis, size in zip(call.axes(out), written if len(written) == len(given) else given, strict=True):
            if size != -1 and (given[0] != -1 or axis not in before) and not heads.is_held(size):
                widths.fix(axis, "a number in the code")
    whole = joined or any(map(widths.is_fixed, open_before))
    call.written = out.shape if whole else () if apart else heads.taken_apart(x.shape, out.shape)


def _split(call: OperatorCall) -> None:
    is_held = not in_chunk() and heads.stay_equal(call)
    rules.split(call, call["dim"], stay_equal=in_chunk() or is_held)
    if is_held:
        heads.hold_part(call)


def _transpose(call: OperatorCall) -> None:
    order = list(range(call.first.dim()))
    if order:
        a, b = call["dim0"] % len(order), call["dim1"] % len(order)
        order[a], order[b] = order[b], order[a]
    rules.permute(call, order)


def _permute(call: OperatorCall) -> None:
    rules.permute(call, [dim % call.first.dim() for dim in call["dims"]])


def _cat(call: OperatorCall) -> None:
    rules.concatenation(call, [each for each in call.inputs if each.dim() == call.out.dim()], call["dim"])


def _reduction(call: OperatorCall) -> None:
    dims = call.arguments.get("dim")
    rules.reduction(call, [dims] if isinstance(dims, int) else dims or None)


def _squeeze(call: OperatorCall) -> None:
    dims = call.arguments.get("dim")
    rules.squeeze(call, [dims] if isinstance(dims, int) else dims)


def _embedding(call: OperatorCall) -> None:
    if call.path:
        call.widths.call(call.axes(call["weight"])[1], call.path)
    rules.embedding(call, call["weight"], call["indices"])


def _looked_up(call: OperatorCall) -> None:
    """Elements at places along one axis, which cannot change."""
    call.widths.fix(call.axes(call.first)[rules.position(call, call.first, call["dim"])], call.kind)
    rules.resizing(call)


def _rows(handler: Handler, names: str) -> dict[str, Handler]:
    return {f"aten::{name}": handler for name in names.split()}


AXES: Mapping[str, Handler] = MappingProxyType(
    {
        **_rows(
            rules.channel_norm,
            "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
            "_native_batch_norm_legit_functional _batch_norm_no_update _batch_norm_with_update cudnn_batch_norm",
        ),
        **_rows(
            lambda call: rules.layer_norm(call, -len(call["normalized_shape"])), "native_layer_norm _fused_rms_norm"
        ),
        **_rows(lambda call: rules.group_norm(call, call["group"]), "native_group_norm"),
        **_rows(_reshape, "view _unsafe_view reshape _reshape_alias flatten unflatten"),
        **_rows(_squeeze, "squeeze"),
        **_rows(lambda call: rules.unsqueeze(call, [call["dim"]]), "unsqueeze"),
        **_rows(rules.map_elements, "clone contiguous _to_copy detach alias lift_fresh mul div"),
        **_rows(
            rules.same,
            "_softmax _log_softmax _safe_softmax native_dropout bernoulli sort cumsum cumprod flip roll "
            "empty_like zeros_like ones_like full_like rand_like randn_like",
        ),
        **_rows(lambda call: rules.permute(call, range(call.first.dim())[::-1]), "t"),
        **_rows(_transpose, "transpose"),
        **_rows(_permute, "permute"),
        **_rows(rules.expand, "expand repeat"),
        **_rows(
            _split,
            "split split_with_sizes unsafe_split unsafe_split_with_sizes chunk narrow slice",
        ),
        **_rows(lambda call: rules.gate(call, call["dim"]), "glu"),
        **_rows(lambda call: rules.lookup(call, call["dim"]), "select unbind"),
        **_rows(_cat, "cat"),
        **_rows(lambda call: rules.stack(call, call["dim"]), "stack"),
        **_rows(
            rules.resizing,
            "max_pool2d_with_indices max_pool3d_with_indices avg_pool2d avg_pool3d _adaptive_avg_pool2d "
            "_adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d upsample_nearest1d upsample_nearest2d "
            "upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d upsample_linear1d "
            "upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d constant_pad_nd reflection_pad1d "
            "reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d "
            "_upsample_bilinear2d_aa _upsample_bicubic2d_aa",
        ),
        **_rows(
            _reduction, "mean sum amax amin prod max min argmax argmin any all var std var_mean std_mean logsumexp"
        ),
        **_rows(_embedding, "embedding"),
        **_rows(_looked_up, "index_select gather topk"),
    }
)
"""Operators whose axes are known."""


def _convolution(call: OperatorCall) -> tuple[LoweredLayer, ...]:
    x, weight, bias = call["input"], call["weight"], call["bias"]
    if call["transposed"]:
        return rules.transposed_convolution(call, x, weight, bias, call["groups"])
    axes = weight.dim() - 2
    stride, padding, dilation = (
        tuple(given) * axes if len(given) == 1 else tuple(given)
        for given in (call["stride"], call["padding"], call["dilation"])
    )
    return rules.convolution(call, x, weight, bias, rules.Window(stride, dilation, padding, padding, call["groups"]))


def _product(a: int, b: int, added: int | None = None) -> Handler:
    """A product of two inputs, to which a third may be added."""

    def handler(call: OperatorCall) -> tuple[LoweredLayer]:
        return rules.matmul(call, call.inputs[a], call.inputs[b], None if added is None else call.inputs[added])

    return handler


def attention(call: OperatorCall) -> tuple[LoweredLayer, ...]:
    """Attention of queries to keys and values, as two products."""
    query, key, value = (call[name] for name in ("query", "key", "value"))
    others = [each for each in call.inputs if each is not value]
    call.fix_all()
    tokens, width = query.shape[-2:]
    batch = math.prod(query.shape[:-2])
    of_keys, of_values = (batch // call.matrices(each, range(each.dim() - 2)) for each in (key, value))
    sizes = {"batch": batch, "tokens": tokens, "keys": key.shape[-2], "width": width, "out": value.shape[-1]}
    return rules.attention((query, key, *others), (value,), **sizes, shared_by=(of_keys, of_values))


def _routed(call: OperatorCall) -> tuple[LoweredLayer, ...]:
    """Rows in groups times a matrix of each group's own; all groups are of one size if no operand is of rows alone."""
    a, b = call.inputs[:2]
    if a.dim() == b.dim() == 3:
        return rules.matmul(call, a, b)
    if (a.dim(), b.dim()) != (2, 3):
        raise rules.CannotPriceError(f"groups of operands with {a.dim()} and {b.dim()} axes")
    return rules.routed(call, a, b)


def _distances(call: OperatorCall) -> tuple[LoweredLayer, ...]:
    """Distances of all pairs of rows, whose squares are sums of products; others are no products."""
    if call.arguments.get("p", 2) != 2:
        rules.free(call)
        return ()
    return rules.matmul(call, call.inputs[0], call.inputs[1], swapped=(False, True))


def _trilinear(call: OperatorCall) -> tuple[LoweredLayer, ...]:
    """A sum over products of elements of three operands, each of which is repeated along the axes that it lacks."""
    every = string.ascii_lowercase[: call["i1"].dim() + len(call["expand1"])]
    terms = (
        "".join(letter for axis, letter in enumerate(every) if axis not in call[f"expand{index}"])
        for index in (1, 2, 3)
    )
    result = "".join(letter for axis, letter in enumerate(every) if axis not in call["sumdim"])
    return rules.einsum(call, f"{','.join(terms)}->{result}")


def _convolution_tbc(call: OperatorCall) -> tuple[LoweredLayer, ...]:
    """A convolution over a sequence whose axes are time, batch and channels."""
    x, weight, bias, pad = (call[name] for name in ("self", "weight", "bias", "pad"))
    (time, batch, channels), filters = call.axes(x), call.axes(weight)[2]
    call.widths.join(channels, call.axes(weight)[1], call.kind)
    call.give(bias, (filters,))
    for axis in (time, call.axes(weight)[0]):
        call.widths.fix(axis, call.kind)
    call.give(call.out, (*call.fixed(call.out.shape[:1]), batch, filters))
    length, images, inputs = x.shape
    layer = Conv2d(inputs, weight.shape[2], (1, len(weight)), 1, length, images, padding=(0, pad))
    sizes = {"in_channels": channels, "out_channels": filters}
    named = (weight, filters) if call.is_parameter(weight) else (None, None)
    return (LoweredLayer(layer, "convolution", sizes, *named),)


def _outer(call: OperatorCall) -> tuple[LoweredLayer, ...]:
    _, a, b = call.inputs
    call.fix_all()
    return (LoweredLayer(MatMul(len(a), len(b), 1), "outer product"),)


def _unless_empty(handler: Handler) -> Handler:
    """The row; but tensors without elements are not multiplied."""

    def guarded(call: OperatorCall) -> Iterable[LoweredLayer] | None:
        has_elements = all(min(tensor.shape, default=1) for tensor in call.inputs)
        return (handler if has_elements else rules.free)(call)

    return guarded


PRODUCTS: Mapping[str, Handler] = MappingProxyType(
    {
        name: _unless_empty(handler)
        for name, handler in {
            **_rows(_convolution, "convolution convolution_overrideable"),
            **_rows(_product(0, 1), "mm bmm mv dot vdot _int_mm _scaled_mm _scaled_mm_v2"),
            **_rows(_routed, "_grouped_mm _scaled_grouped_mm _scaled_grouped_mm_v2"),
            "transformers::grouped_mm_fallback": _routed,
            **_rows(_distances, "_cdist_forward _euclidean_dist"),
            **_rows(_outer, "addr"),
            **_rows(_trilinear, "_trilinear"),
            **_rows(_convolution_tbc, "conv_tbc"),
            **_rows(_product(1, 2, added=0), "addmm _addmm_activation baddbmm addbmm addmv"),
            **_rows(
                attention,
                "_scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu "
                "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
                "_scaled_dot_product_fused_attention_overrideable _scaled_dot_product_attention_math_for_mps",
            ),
        }.items()
    }
)
"""Operators that multiply."""
