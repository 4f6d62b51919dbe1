"""Functions that PyTorch takes apart before a dispatch mode sees them, replaced while a module runs.

A ``chunk`` becomes the same operator as a ``split`` by a size, but the code has the number of parts and not their size.
An outer product and products of vectors become multiplications of elements; here they are matrix products. A tensor
made of numbers on a device would come without its numbers; here it is made with them and copied. What is handed to the
compiler runs as it is written. ``autocast`` for the device of a tensor does not know the one without data.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from hwcost.importers.torch.inputs import without_data

__all__ = ["given_sizes", "in_chunk", "replaced"]

_IN_CHUNK = ContextVar("in_chunk", default=False)
_GIVEN: ContextVar[tuple[int, ...] | None] = ContextVar("given", default=None)
_DYNAMO = "torch._dynamo.eval_frame"
_FLEX = "torch.nn.attention.flex_attention"
_OF_FLEX = ("_validate_device", "kv_num_blocks")  # attention compares devices, and runs on some alone


def in_chunk() -> bool:
    """Whether the running operator is part of a ``chunk``."""
    return _IN_CHUNK.get()


def given_sizes() -> tuple[int, ...] | None:
    """The sizes that code gives to the running reshape or split, -1 for one that is computed; None if it gives none."""
    return _GIVEN.get()


@contextlib.contextmanager
def replaced() -> Iterator[None]:
    """Context manager in which they are replaced."""
    places = [(owner, name, replacement) for name, replacement in _REPLACED.items() for owner in _owners(name)]
    before = [(owner, name, vars(owner).get(name)) for owner, name, _ in places]
    loaded = _DYNAMO in sys.modules
    try:
        for owner, name, replacement in places:
            setattr(owner, name, _made(replacement, getattr(owner, name, None)))
        # loading the compiler takes longer than reading a network
        with torch.compiler.set_stance("force_eager") if loaded else contextlib.nullcontext():
            yield
    finally:
        for owner, name, own in before:
            if own is None:
                delattr(owner, name)  # it is inherited
            else:
                setattr(owner, name, own)
        if _DYNAMO in sys.modules and not loaded:
            # while it loads, the compiler makes a table of the functions that it knows, of the replaced ones here
            sys.modules["torch._dynamo.trace_rules"].clear_lru_cache()


@functools.cache
def _made(replacement: Callable[[Any], Any], function: Any) -> Any:
    return replacement(function)


def _owners(name: str) -> list[Any]:
    if name in _OF_FLEX:
        flex = sys.modules.get(_FLEX)
        return [] if flex is None else [flex if hasattr(flex, name) else flex.BlockMask]
    if name == "__init__":
        return [torch.autocast]
    owners: list[Any] = [torch] if name == "compile" else [torch, torch.Tensor, torch.linalg]
    return [owner for owner in owners if hasattr(owner, name)]


def _chunk(function: Any) -> Any:
    @functools.wraps(function)
    def seen(*args: Any, **kwargs: Any) -> Any:
        before = _IN_CHUNK.set(True)
        try:
            return function(*args, **kwargs)
        finally:
            _IN_CHUNK.reset(before)

    return seen


def _sizes_seen(*names: str) -> Callable[[Any], Any]:
    """A replacement that notes the sizes that a function is called with, behind a tensor or by one of these names."""

    def replacement(function: Any) -> Any:
        @functools.wraps(function)
        def seen(*args: Any, **kwargs: Any) -> Any:
            given = next((kwargs[name] for name in names if name in kwargs), args[1] if len(args) > 1 else ())
            sizes = (given, *args[2:]) if isinstance(given, int) else given
            plain = isinstance(sizes, (tuple, list)) and all(isinstance(size, int) for size in sizes)
            before = _GIVEN.set(tuple(sizes) if plain else ())
            try:
                return function(*args, **kwargs)
            finally:
                _GIVEN.reset(before)

        return seen

    return replacement


def _if_it_fits(function: Any, product: Callable[..., Tensor | None]) -> Any:
    """The product; whatever does not fit exactly is left to PyTorch, which raises the error."""

    @functools.wraps(function)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        found = None
        with contextlib.suppress(TypeError):  # of other arguments
            found = product(*args, **kwargs)
        return function(*args, **kwargs) if found is None else found

    return replacement


def _outer(*given: Any, **named: Any) -> Tensor | None:
    if len(given) + len(named) != 2 or not named.keys() <= {"input", "vec2"}:
        return None
    a, b = (*given, *(named[each] for each in sorted(named)))
    return a[:, None] @ b[None] if _are_alike(a, b) and a.dim() == b.dim() == 1 else None


def _vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor | None:
    fits = _are_alike(x, y) and not x.is_complex() and max(x.dim(), y.dim()) > 0
    if not fits or x.shape[dim:][:1] != y.shape[dim:][:1] or (dim != -1 and x.dim() != y.dim()):
        return None
    x, y = x.movedim(dim, -1), y.movedim(dim, -1)
    if y.dim() == 1 or x.dim() == 1:
        return x @ y
    return (x[..., None, :] @ y[..., :, None])[..., 0, 0]


def _tensor(function: Any) -> Any:
    @functools.wraps(function)
    def replacement(data: Any, *, device: Any = None, **options: Any) -> Any:
        if device is None or torch.device(device).type != "meta" or isinstance(data, Tensor):
            return function(data, device=device, **options)
        return function(data, device="cpu", **options).to(device)

    return replacement


def _new_tensor(function: Any) -> Any:
    @functools.wraps(function)
    def replacement(self: Tensor, data: Any, *, dtype: Any = None, device: Any = None, **options: Any) -> Any:
        if isinstance(data, Tensor):
            return function(self, data, dtype=dtype, device=device, **options)
        device = self.device if device is None else device
        return torch.tensor(data, dtype=self.dtype if dtype is None else dtype, device=device, **options)

    return replacement


def _are_alike(x: Any, y: Any) -> bool:
    return isinstance(x, Tensor) and isinstance(y, Tensor) and x.dtype == y.dtype != torch.bool


def _autocast(function: Any) -> Any:
    @functools.wraps(function)
    def replacement(self: Any, device_type: Any, *args: Any, **options: Any) -> None:
        # on the CPU it casts no tensor without data
        function(self, "cpu" if device_type == "meta" else device_type, *args, **options)

    return replacement


def _compile(function: Any) -> Any:
    def as_written(model: Any = None, **options: Any) -> Any:
        return (lambda given: given) if model is None else model

    return as_written


def _on_no_device(name: str) -> property:
    """An attribute of a mask whose tensor has no data, as the tensors that attention compares it with."""
    return property(
        lambda self: without_data(vars(self)[name]), lambda self, tensor: vars(self).__setitem__(name, tensor)
    )


_REPLACED: dict[str, Callable[[Any], Any]] = {
    "chunk": _chunk,
    "reshape": _sizes_seen("shape"),
    "view": _sizes_seen("size"),
    "unflatten": _sizes_seen(),
    "split": _sizes_seen("split_size"),
    "outer": lambda function: _if_it_fits(function, _outer),
    "ger": lambda function: _if_it_fits(function, _outer),
    "vecdot": lambda function: _if_it_fits(function, _vecdot),
    "tensor": _tensor,
    "new_tensor": _new_tensor,
    "compile": _compile,
    "__init__": _autocast,
    "_validate_device": lambda function: lambda *tensors: None,
    "kv_num_blocks": lambda function: _on_no_device("kv_num_blocks"),
}
