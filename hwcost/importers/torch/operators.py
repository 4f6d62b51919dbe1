"""Facts about operators of PyTorch, and the results of those whose shapes are evident."""

from __future__ import annotations

import functools
import itertools
import operator as operator_of
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from hwcost.importers.torch.free import CHECKS, CONSTANTS, DRAWS, ELEMENTWISE, MOVE_ONLY, NEED_DATA, VIEWS
from hwcost.importers.torch.inputs import without_data

__all__ = ["Operator", "constant", "operator", "shortcut", "tensors_in"]


@dataclass(frozen=True, eq=False)
class Operator:
    """Facts about an operator, or about a module that is called like one.

    Attributes:
        name: with its library.
        kind: without, and without the underscore of one that works in place.
        row: the name in tables: that of the kind, with its library.
        arguments: the defaults of its arguments, by name.
        takes_device: whether it takes the device of its result.
        takes_lengths: whether it needs the lengths of sequences, which are data.
        is_elementwise: whether its tensors are broadcast and it works element by element.
        is_free: whether it is known to multiply no matrices.
        reads_nothing: whether nothing moves: views, and constants that are made once.
        needs_data: whether its result, or the shape of that, follows from values.
        makes_anew: whether its result has nothing to do with the axes of its inputs.
        draws: whether its result is random.
        writes: the arguments that it writes to.
        overwrites: whether it writes to something that it does not read, or does not return.
        moves_axes: whether it gives its first argument other axes in place, as ``transpose_`` does.
        places: the positions of its arguments, by name.
    """

    name: str
    kind: str
    row: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    takes_device: bool = False
    takes_lengths: bool = False
    is_elementwise: bool = False
    is_free: bool = True
    reads_nothing: bool = False
    needs_data: bool = False
    makes_anew: bool = False
    draws: bool = False
    writes: tuple[str, ...] = ()
    overwrites: bool = False
    moves_axes: bool = False
    places: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", {name: place for place, name in enumerate(self.arguments)})

    def by_name(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name, defaults included."""
        return {**self.arguments, **dict(zip(self.arguments, args, strict=False)), **kwargs}

    def argument(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """One argument of a call, or its default."""
        place = self.places[name]
        return args[place] if place < len(args) else kwargs.get(name, self.arguments[name])

    def written(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
        """The tensors that a call writes to."""
        return tensors_in(self.argument(name, args, kwargs) for name in self.writes)


@functools.cache
def operator(func: Any) -> Operator:
    """The facts about an operator of PyTorch."""
    name = func._schema.name
    library, _, in_place = name.partition("::")
    kind = in_place.removesuffix("_") or in_place
    arguments = {argument.name: argument.default_value for argument in func._schema.arguments}
    elementwise = kind in ELEMENTWISE or _is_pointwise(func, kind)
    known = any(kind in table for table in (CONSTANTS, VIEWS, MOVE_ONLY, NEED_DATA)) or elementwise or func.is_view
    writes = tuple(each.name for each in func._schema.arguments if each.alias_info and each.alias_info.is_write)
    return Operator(
        name=name,
        kind=kind,
        row=f"{'aten' if library == 'prims' else library}::{kind}",
        arguments=arguments,
        takes_device="device" in arguments,
        takes_lengths=kind in ("_pack_padded_sequence", "_pad_packed_sequence"),
        is_elementwise=elementwise,
        is_free=library == "profiler"
        or (library in ("aten", "prims") and (bool(known) or kind.startswith("_foreach_"))),
        reads_nothing=bool(func.is_view) or kind in VIEWS or kind in CONSTANTS or kind in CHECKS,
        needs_data=kind in NEED_DATA,
        makes_anew=kind in CONSTANTS,
        draws=kind in DRAWS or torch.Tag.nondeterministic_seeded in func.tags,
        writes=writes,
        overwrites=kind == "copy" or kind.startswith("_foreach_") or bool(set(writes) - {"self"}),
        moves_axes=torch.Tag.inplace_view in func.tags,
    )


def _is_pointwise(func: Any, kind: str) -> bool:
    """Whether PyTorch marks an operator as one that works element by element; it does so for one of each name."""
    same = getattr(torch.ops.aten, kind, None) if func.namespace == "aten" else None
    alike = (getattr(same, each) for each in same.overloads()) if same is not None else ()
    return any(torch.Tag.pointwise in each.tags for each in (func, *alike))


_TENSORS = frozenset((Tensor, torch.nn.Parameter))
_OTHERS = frozenset((type(None), bool, int, float, str, torch.dtype, torch.device, torch.layout, torch.memory_format))


def tensors_in(values: Any) -> list[Tensor]:
    """The tensors among arguments or results, in order; lists of them are looked into."""
    found: list[Tensor] = []
    for value in values:
        kind = type(value)
        if kind in _TENSORS:
            found.append(value)
        elif kind in _OTHERS or (kind is list and value and type(value[0]) is int):  # sizes are many
            continue
        elif isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += tensors_in(value)
    return found


def shortcut(func: Any, args: Sequence[Any], tensors: Sequence[Tensor]) -> Any:
    """The result of an operator whose shape is evident, or None.

    PyTorch computes the shapes of these in Python, which takes longer than everything else. Whatever does not fit
    exactly is left to PyTorch, which raises the error.
    """
    handler = _SHORTCUTS.get(func) or _SHAPES.get(func._schema.name)
    return None if handler is None or not tensors else handler(args, tensors)


def constant(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """The result of ``torch.empty`` without data, which each norm calls, or None for another constant."""
    if func is not torch.ops.aten.empty.memory_format or kwargs.get("memory_format") or kwargs.get("layout"):
        return None
    return _empty(args[0], kwargs.get("dtype") or torch.get_default_dtype())


def _in_place(args: Sequence[Any], tensors: Sequence[Tensor]) -> Any:
    return args[0] if _are_alike(tensors) else None


def _alike(args: Sequence[Any], tensors: Sequence[Tensor]) -> Any:
    return without_data(tensors[0]) if tensors[0] is args[0] and _are_alike(tensors) else None


def _are_alike(tensors: Sequence[Tensor]) -> bool:
    first = tensors[0]
    return first.is_floating_point() and all(
        each.shape == first.shape and each.dtype == first.dtype for each in tensors[1:]
    )


def _convolution(args: Sequence[Any], tensors: Sequence[Tensor]) -> Any:
    x, weight, bias, stride, padding, dilation, transposed, _, groups = args
    if transposed or not x.dim() == weight.dim() == len(stride) + 2 == len(padding) + 2 == len(dilation) + 2 > 2:
        return None
    filters, channels, *kernel = weight.shape
    fits = x.shape[1] == channels * groups and not filters % groups and (bias is None or bias.shape == (filters,))
    moves = min(*stride, *dilation) > 0 and min(padding) >= 0
    if not fits or not moves or not x.is_contiguous() or not _are_of_one_type(tensors):
        return None
    steps = zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    sizes = [(size + 2 * pad - gap * (side - 1) - 1) // step + 1 for size, side, step, pad, gap in steps]
    return _empty((len(x), filters, *sizes), x.dtype) if min(sizes) > 0 else None


def _batch_norm(args: Sequence[Any], tensors: Sequence[Tensor]) -> Any:
    x, training = args[0], args[5]
    channels = x.shape[1:2]
    if x.dim() < 2 or {(each.shape, each.dtype) for each in tensors[1:]} - {(channels, x.dtype)}:
        return None
    size = channels if training else (0,)
    return without_data(x), _empty(size, x.dtype), _empty(size, x.dtype)


def _mean(args: Sequence[Any], tensors: Sequence[Tensor]) -> Any:
    x, dims, keeps = tensors[0], args[1], len(args) > 2 and args[2]
    if len(args) > 3 or not dims or not x.is_floating_point() or any(not -x.dim() <= dim < x.dim() for dim in dims):
        return None
    gone = {dim % x.dim() for dim in dims}
    if len(gone) < len(dims):
        return None
    shape = [1 if index in gone else size for index, size in enumerate(x.shape) if keeps or index not in gone]
    return _empty(shape, x.dtype)


def _addmm(args: Sequence[Any], tensors: Sequence[Tensor]) -> Any:
    bias, a, b = args[:3]
    fits = a.dim() == b.dim() == 2 and a.shape[1] == b.shape[0] and bias.dim() == 1 and bias.shape == b.shape[1:]
    if not fits or not _are_of_one_type(tensors):
        return None
    return _empty((a.shape[0], b.shape[1]), a.dtype)


def _grouped_mm(args: Sequence[Any], tensors: Sequence[Tensor]) -> Any:
    a, b = args[:2]
    if (a.dim(), b.dim()) != (2, 3) or a.shape[1] != b.shape[1]:
        return None
    return _empty((a.shape[0], b.shape[2]), a.dtype)


def _histc(args: Sequence[Any], tensors: Sequence[Tensor]) -> Any:
    return _empty((args[1] if len(args) > 1 else 100,), args[0].dtype)


def _empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor without data, contiguous; ``torch.empty`` takes twice as long."""
    if not shape or 0 in shape[1:]:
        return torch.empty(shape, dtype=dtype, device="meta")
    strides = itertools.accumulate(shape[:0:-1], operator_of.mul, initial=1)
    return torch.empty_strided(shape, [*strides][::-1], dtype=dtype, device="meta")


def _are_of_one_type(tensors: Sequence[Tensor]) -> bool:
    return len({each.dtype for each in tensors}) == 1


_SHORTCUTS: Mapping[Any, Callable[[Sequence[Any], Sequence[Tensor]], Any]] = MappingProxyType(
    {
        torch.ops.aten.convolution.default: _convolution,
        torch.ops.aten.native_batch_norm.default: _batch_norm,
        torch.ops.aten.mean.dim: _mean,
        torch.ops.aten.addmm.default: _addmm,
        **{
            getattr(torch.ops.aten, name).default: _in_place
            for name in ("relu_", "hardtanh_", "hardswish_", "hardsigmoid_", "silu_", "sigmoid_", "tanh_", "gelu_")
        },
        **{getattr(torch.ops.aten, name).Tensor: _in_place for name in ("add_", "mul_", "sub_")},
        **{
            getattr(torch.ops.aten, name).default: _alike
            for name in ("relu", "hardtanh", "hardswish", "hardsigmoid", "silu", "sigmoid", "tanh", "gelu")
        },
        **{getattr(torch.ops.aten, name).Tensor: _alike for name in ("add", "mul", "sub", "div")},
    }
)

_SHAPES: Mapping[str, Callable[[Sequence[Any], Sequence[Tensor]], Any]] = MappingProxyType(
    {"aten::histc": _histc, "aten::_grouped_mm": _grouped_mm}
)
"""Results that PyTorch does not compute without data, or not for all types."""
