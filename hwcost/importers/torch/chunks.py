"""Whether a split is one by ``chunk``: then the code has the number of parts, and not their size.

PyTorch takes ``chunk`` apart before a dispatch mode sees it, into the same operator as a ``split`` by a size.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch

__all__ = ["following_chunks", "in_chunk"]

_IN_CHUNK = ContextVar("in_chunk", default=False)


def in_chunk() -> bool:
    """Whether the running operator is part of a ``chunk``."""
    return _IN_CHUNK.get()


@contextlib.contextmanager
def following_chunks() -> Iterator[None]:
    """Context manager in which ``torch.chunk`` and ``Tensor.chunk`` are seen."""
    function, method = torch.chunk, torch.Tensor.chunk
    torch.chunk, torch.Tensor.chunk = _seen(function), _seen(method)  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.chunk = function
        del torch.Tensor.chunk  # it is inherited


def _seen(chunk: Any) -> Any:
    @functools.wraps(chunk)
    def seen(*args: Any, **kwargs: Any) -> Any:
        before = _IN_CHUNK.set(True)
        try:
            return chunk(*args, **kwargs)
        finally:
            _IN_CHUNK.reset(before)

    return seen
