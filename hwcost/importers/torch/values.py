"""The values of small tensors that are known although a run has shapes alone: constants, masks and lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from hwcost.importers.torch.inputs import without_data
from hwcost.importers.torch.operators import Operator, tensors_in

__all__ = ["Values", "memory_of"]

_MOST = 2**18


class Values:
    """Tensors with data, by the tensor without data that a run has in their place.

    >>> values, mask = Values(), torch.tensor([True, False])
    >>> values.add(without_data(mask), mask)
    >>> len(values)
    1
    """

    def __init__(self) -> None:
        self._of: dict[int, tuple[Tensor, Tensor]] = {}
        self._given: set[int] = set()  # those whose values somebody else owns
        self._sharing: dict[int, set[int]] = {}  # by their memory

    def __len__(self) -> int:
        return len(self._of)

    def add(self, tensor: Tensor, value: Tensor) -> None:
        """States the value of a tensor, if it is small."""
        if value.numel() <= _MOST and not value.is_meta:
            self._of[id(tensor)] = tensor, value
            self._given.discard(id(tensor))
            self._sharing.setdefault(memory_of(tensor), set()).add(id(tensor))

    def add_given(self, tensor: Tensor, value: Tensor) -> None:
        """States a value that somebody else owns, if it is small and one of integers or truth values."""
        if value.is_floating_point() or value.is_complex():
            return
        is_plain = value.layout is torch.strided and not value.is_nested and not value.is_meta
        if is_plain and value.numel() <= _MOST:
            self.add(tensor, value)
            self._given.add(id(tensor))

    def get(self, tensor: Tensor, default: Tensor | None = None) -> Tensor | None:
        """The value of a tensor, if it is known, and else ``default``."""
        if not tensor.is_meta:
            return tensor
        if not tensor.numel():
            return torch.empty(tensor.shape, dtype=tensor.dtype)
        if id(tensor) in self._given:
            self._given.remove(id(tensor))
            self._of[id(tensor)] = tensor, self._of[id(tensor)][1].detach().to("cpu", copy=True)
        return self._of.get(id(tensor), (tensor, default))[1]

    def are_followed(self, tensors: Sequence[Tensor]) -> bool:
        """Whether tensors are so small that their values are followed; those without elements need none."""
        sizes = [tensor.numel() for tensor in tensors]
        return max(sizes, default=1) > 0 and all(size <= _MOST for size in sizes)

    def are_known(self, tensors: Sequence[Tensor]) -> bool:
        """Whether all values are known."""
        return not any(each.is_meta and id(each) not in self._of and each.numel() for each in tensors)

    def forget(self, written: Sequence[Tensor]) -> None:
        """Tensors were written to: their values and those of all that share their memory are unknown."""
        for tensor in written:
            for key in (id(tensor), *self._sharing.pop(memory_of(tensor), ())):
                self._of.pop(key, None)
                self._given.discard(key)

    def computed(self, func: Any, known: Operator, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """The result of an operator on known values."""
        args, named = tree_map_only(Tensor, self.get, (args, dict(kwargs)))
        if known.takes_device and named.get("device") is not None:
            named["device"] = torch.device("cpu")
        result = func(*args, **{name: value for name, value in named.items() if name != "pin_memory"})
        if known.kind in ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided"):
            result.zero_()
        return result

    def keep_filled(self, known: Operator, args: Any, kwargs: Mapping[str, Any], out: Tensor) -> None:
        """States the values of a tensor that is filled with a number, whatever it has the shape of."""
        number: Any = {"ones_like": 1, "new_ones": 1, "full_like": "fill_value", "new_full": "fill_value"}.get(
            known.kind, 0
        )
        number = known.by_name(args, kwargs)[number] if isinstance(number, str) else number
        if out.numel() <= _MOST and out.layout is torch.strided:
            self.add(out, torch.full(out.shape, number, dtype=out.dtype))

    def keep(self, outputs: Any, results: Any) -> None:
        """States the values of an operator's outputs."""
        for tensor, value in zip(tensors_in((outputs,)), tensors_in((results,)), strict=True):
            self.add(tensor, value)

    def stand_ins(self, results: Any) -> Any:
        """Tensors without data in place of results, whose values are known."""
        found = tree_map_only(Tensor, without_data, results)
        self.keep(found, results)
        return found

    def with_places(self, indices: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Indices with truth values replaced by the places of those that are true, if they are known."""
        found: list[Tensor | None] = []
        for index in indices:
            value = None if index is None or index.dtype not in (torch.bool, torch.uint8) else self.get(index)
            if value is None:
                found.append(index)
            else:
                found += self.stand_ins(value.nonzero(as_tuple=True))
        return found


def memory_of(tensor: Tensor) -> int:
    """A number for the memory of a tensor, which those that share it have too."""
    return int(tensor.untyped_storage()._cdata)
