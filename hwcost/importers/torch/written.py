"""Tensors with data that a forward writes to, put back as they were."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import torch

from hwcost.importers.torch.values import memory_of

__all__ = ["Written"]


class Written:
    """Tensors with data that were written to, and what they held before."""

    def __init__(self) -> None:
        self._before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._unknown: dict[int, torch.Tensor] = {}  # by their memory

    def add(self, tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
        """Remembers those with data of tensors that are about to be written to, and returns them."""
        found = [tensor for tensor in tensors if not tensor.is_meta]
        for tensor in found:
            if id(tensor) not in self._before:
                self._before[id(tensor)] = tensor, tensor.detach().clone()
        return found

    def forget(self, tensors: Iterable[torch.Tensor]) -> None:
        """What is written to tensors has no values, and so their memory does not show it."""
        self._unknown.update((memory_of(tensor), tensor) for tensor in tensors)

    @property
    def some_unknown(self) -> bool:
        """Whether any tensors are such."""
        return bool(self._unknown)

    def is_unknown(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor with data shares memory with one of them."""
        return not tensor.is_meta and memory_of(tensor) in self._unknown

    def put_back(self) -> None:
        """Restores all of them, the last one first."""
        for tensor, before in reversed(self._before.values()):
            with contextlib.suppress(RuntimeError):
                tensor.detach().copy_(before)
