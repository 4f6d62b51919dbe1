"""Which operations made the data that tensors have: views share it, and who writes to one changes what others read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.nn import Parameter

from hwcost.importers.lowered import Sources

__all__ = ["Makers"]


class Makers:
    """The operations that made what tensors hold, by the memory that these share; none for constants.

    >>> import torch
    >>> from hwcost.importers.lowered import Step
    >>> makers, steps = Makers(), [Step(name, "", "", None) for name in ("conv", "relu", "part")]
    >>> x = torch.empty(4, 6, device="meta")
    >>> for tensor, step in zip((x, x.view(24), x[:2]), steps):
    ...     makers.wrote(tensor, (step,))
    >>> [step.name for step in makers.of([x.t(), torch.zeros(3)])]
    ['relu', 'part']
    """

    def __init__(self) -> None:
        self._of: dict[int, Sources] = {}
        self._stands_for: dict[int, int] = {}
        self._held: dict[int, Any] = {}  # as what follows, so that no memory comes again
        self._kept: list[Any] = []

    def of(self, tensors: Iterable[Tensor]) -> Sources:
        """The operations, each once."""
        found: Sources = ()
        for tensor in tensors:
            if type(tensor) is Parameter:
                continue
            try:
                memory = tensor.untyped_storage()._cdata
            except NotImplementedError:
                memory = self._without_storage(tensor)
            own = self._of.get(self._stands_for.get(memory, memory) if self._stands_for else memory)
            if own:
                found = tuple(dict.fromkeys((*found, *own))) if found else own
        return found

    def wrote(self, tensor: Tensor, sources: Sources) -> None:
        """What a tensor holds was made by these; if others hold more of its memory, that stays as it is."""
        storage: Any = tensor
        try:
            storage = tensor.untyped_storage()
            memory = storage._cdata
        except NotImplementedError:
            memory = self._without_storage(tensor)
        if memory in self._stands_for or memory in self._of:
            is_part = storage is not tensor and tensor.numel() * tensor.element_size() < storage.nbytes()
            if is_part or memory in self._stands_for:  # of which the other one may be a part
                memory = self._stands_for.get(memory, memory)
                sources = tuple(dict.fromkeys((*self._of.get(memory, ()), *sources)))
        self._of[memory], self._held[memory] = sources, storage

    def handed_on(self, outputs: Iterable[Tensor], inputs: Sequence[Tensor]) -> None:
        """Outputs that do not share the memory of inputs hold the same."""
        for tensor in outputs:
            if not self.of((tensor,)):
                self.wrote(tensor, self.of(inputs))

    def stands_for(self, tensor: Tensor, other: Tensor) -> None:
        """A tensor without data is there in place of another one, also where it is written to."""
        storage: Any = tensor.untyped_storage()
        with contextlib.suppress(NotImplementedError):
            own: Any = other.untyped_storage()
            self._stands_for[storage._cdata] = own._cdata
            self._kept.append((storage, own))

    def _without_storage(self, tensor: Tensor) -> int:
        """A number for the memory of a tensor that has no storage, as a sparse one."""
        self._kept.append(tensor)
        return -id(tensor)
