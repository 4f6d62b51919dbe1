"""Data of the user's own in two parts."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, NamedTuple

import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from hwcost.errors import InvalidValueError
from hwcost.pruning.batches import seeded

__all__ = ["split"]

PARTS = 5


def split(data: Iterable[Any], seed: int) -> tuple[Iterable[Any], Iterable[Any], bool]:
    """Four fifths of data, one fifth, and whether no example is in both.

    Of a loader of PyTorch's over a data set with places, whatever its sampler or batch sampler draws: of what a first
    pass takes, a fifth of the places, by the seed, is the second part, and each part is the same loader without the
    places of the other. Of a list every fifth batch is in the second part; so it is of any other data, whatever is in
    a batch in this pass.

    Raises:
        InvalidValueError: fewer than two batches, a loader with fewer than two examples, or whose sampler gives no
            places.
    """
    if isinstance(data, DataLoader) and not isinstance(data.dataset, IterableDataset):
        return *_loaders(data, seed), True
    if isinstance(data, Sized) and len(data) < 2:
        allowed = "at least 2 batches, one for each part, or a DataLoader over a data set"
        raise InvalidValueError(
            "data", f"{len(data)} batches", allowed, reason="weights and alpha learn from different ones"
        )
    return _Batches(data, False), _Batches(data, True), isinstance(data, Sequence)


def _loaders(data: DataLoader[Any], seed: int) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """A loader in two parts: copies of it, with everything that it does, which leave out some places."""
    of_batches = data.batch_sampler is not None and type(data.batch_sampler) is not BatchSampler
    with seeded(data, seed, "split"):
        drawn = data.batch_sampler if of_batches else ([place] for place in data.sampler)
        first = [list(map(_key, batch)) for batch in drawn or ()]
    places = sorted({key for batch in first for key in batch}, key=lambda key: (len(repr(key)), repr(key)))
    if len(places) < 2:
        allowed = "a loader that takes at least 2 different examples, one for each part"
        raise InvalidValueError("data", len(places), allowed)
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(seed)).tolist()
    fifth = frozenset(places[each] for each in order[: max(1, len(order) // PARTS)])
    one, other = (_part(data, _Filter(fifth, is_fifth), first, of_batches) for is_fifth in (False, True))
    return one, other


def _key(place: Any) -> Any:
    """A place as a value that is the same in every pass."""
    plain = place.tolist() if hasattr(place, "tolist") else place
    plain = tuple(plain) if isinstance(plain, list) else plain
    if type(plain).__hash__ in (None, object.__hash__):
        allowed = "a loader whose sampler gives places that are told apart by their values, like integers"
        raise InvalidValueError("data", place, allowed, reason="it cannot be split into two parts")
    return plain


class _Filter(NamedTuple):
    """The places of a part: those of a fifth, or all others."""

    fifth: frozenset[Any]
    is_fifth: bool

    def of(self, places: Iterable[Any]) -> Iterator[Any]:
        """Those of some places that are in the part."""
        return (place for place in places if (_key(place) in self.fifth) == self.is_fifth)


def _part(data: DataLoader[Any], chosen: _Filter, first: Sequence[Sequence[Any]], of_batches: bool) -> DataLoader[Any]:
    """A copy of a loader that takes only some places; it is as long as it would have been in a ``first`` pass."""
    found = copy.copy(data)
    count = sum(bool(list(chosen.of(batch))) for batch in first)
    own: dict[str, Any] = {"_iterator": None}
    if of_batches:
        own["batch_sampler"] = _Filtered(data.batch_sampler, chosen, count, of_batches)
    else:
        own["sampler"] = _Filtered(data.sampler, chosen, count, of_batches)
    if isinstance(data.batch_sampler, BatchSampler) and not of_batches:
        size = data.batch_sampler.batch_size
        own["drop_last"] = data.drop_last and count >= size
        own["batch_sampler"] = BatchSampler(own["sampler"], size, own["drop_last"])
    vars(found).update(own)  # a loader refuses these as attributes once it is made
    return found


class _Filtered:
    """A sampler, or one of batches, that leaves out some places of another one."""

    def __init__(self, sampler: Any, chosen: _Filter, count: int, of_batches: bool) -> None:
        self.sampler, self.chosen, self.count, self.of_batches = sampler, chosen, count, of_batches
        self.generator = getattr(sampler, "generator", None)  # seeded as that of the data

    def __iter__(self) -> Iterator[Any]:
        if not self.of_batches:
            return self.chosen.of(self.sampler)
        batches = (list(self.chosen.of(batch)) for batch in self.sampler)
        return (batch for batch in batches if batch)

    def __len__(self) -> int:
        return self.count


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
