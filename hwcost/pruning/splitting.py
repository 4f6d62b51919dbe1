"""Data of the user's own in two parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, SequentialSampler, Subset

__all__ = ["split"]

PARTS = 5


def split(data: Iterable[Any], seed: int) -> tuple[Iterable[Any], Iterable[Any], bool]:
    """Four fifths of data, one fifth, and whether no example is in both.

    The examples of a loader of PyTorch's are split by the seed, and so are the batches of a list. Of any other data
    every fifth batch is in the second part, whatever is in it in this pass.
    """
    if isinstance(data, DataLoader) and _is_plain(data):
        order = torch.randperm(_length(data), generator=torch.Generator().manual_seed(seed)).tolist()
        cut = max(1, len(order) // PARTS)
        return _loader(data, order[cut:]), _loader(data, order[:cut]), True
    return _Batches(data, False), _Batches(data, True), isinstance(data, Sequence)


def _is_plain(data: DataLoader[Any]) -> bool:
    """Whether a loader takes all examples of a data set in order, or in random order."""
    kinds = (RandomSampler, SequentialSampler)
    own = type(data.sampler) in kinds and type(data.batch_sampler) is BatchSampler
    return own and not isinstance(data.dataset, IterableDataset) and _length(data) >= 2


def _length(data: DataLoader[Any]) -> int:
    return len(data.dataset)  # type: ignore[arg-type]


def _loader(data: DataLoader[Any], places: Sequence[int]) -> DataLoader[Any]:
    """The loader over some of its examples."""
    return DataLoader(
        Subset(data.dataset, places),
        batch_size=data.batch_size,
        shuffle=isinstance(data.sampler, RandomSampler),
        num_workers=data.num_workers,
        collate_fn=data.collate_fn,
        pin_memory=data.pin_memory,
        drop_last=data.drop_last and len(places) >= (data.batch_size or 1),
        worker_init_fn=data.worker_init_fn,
        generator=data.generator,
    )


class _Batches:
    """Every fifth batch of a pass, or all others."""

    def __init__(self, data: Iterable[Any], is_fifth: bool) -> None:
        self.data, self.is_fifth = data, is_fifth
        self.generator = getattr(data, "generator", None)  # seeded as that of the data
        self.sampler = getattr(data, "sampler", None)

    def __iter__(self) -> Iterator[Any]:
        return (batch for number, batch in enumerate(self.data) if (number % PARTS == 0) == self.is_fifth)

    def __len__(self) -> int:
        fifth = -(-len(self.data) // PARTS)  # type: ignore[arg-type]
        return fifth if self.is_fifth else len(self.data) - fifth  # type: ignore[arg-type]
