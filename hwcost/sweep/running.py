"""The space of a sweep, cut into chunks that are priced one by one, wherever they run."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hwcost._version import __version__
from hwcost.arrays import as_size, is_plain
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray, adapt
from hwcost.machine.dataflow import DATAFLOWS, Dataflow
from hwcost.model.gemm import Gemm
from hwcost.network.pricing import Layers, network_cost
from hwcost.sweep.engines import run
from hwcost.sweep.kept import ChunkStore
from hwcost.sweep.points import Sweep
from hwcost.sweep.pricing import Chunk, Column, UniqueGemms, chunk_size, price

__all__ = ["MOST_POINTS", "count_points", "sweep"]

MOST_POINTS = 50_000_000
"""Of one sweep: their results take 25 bytes each."""


def sweep(
    network: Layers,
    *,
    rows: int | Iterable[int],
    cols: int | Iterable[int],
    dataflows: Sequence[str | Dataflow] | None = None,
    base: SystolicArray | None = None,
    pe_budget: int | None = None,
    skip_unsupported: bool = False,
    engine: str = "serial",
    jobs: int | None = None,
    keep: str | os.PathLike[str] | None = None,
    progress: Callable[[int], object] | None = None,
    chunk: int | None = None,
) -> Sweep:
    """What a network takes on every array of a space; exactly the cycles of ``network_cost`` on each by itself.

    Args:
        network: a mapping from names to layers (a :class:`hwcost.Network`, for example), or layers in order.
        rows, cols: the sizes to sweep, in PEs; each is taken once, from the smallest on.
        dataflows: names in :data:`hwcost.DATAFLOWS`, or rows of your own; by default that of the base. Fields of the
            base that have no effect under one of them are at their neutral value there.
        base: an array whose clock, fold timing and other fields all points have: a calibrated device keeps its
            bandwidths and constants whatever its rows and columns become. A bare array where it is not given.
        pe_budget: leave out arrays of more PEs.
        skip_unsupported: leave out what is no layer, and name it in the result, instead of raising.
        engine: where chunks run: "serial", "processes" or "dask://HOST:PORT"; see :data:`hwcost.sweep.ENGINES`.
        jobs: how many processes; as many as there are processor cores where it is not given.
        keep: a folder for finished chunks. One that holds chunks of the same sweep is gone on with; whoever gave it
            removes it.
        progress: called with the number of points that were finished, after each chunk.
        chunk: arrays that are priced together; chosen so that working memory stays below about 100 MB where it is not
            given, whatever the number of arrays and layers.

    Returns:
        Points by dataflow, then rows, then columns.

    Raises:
        InvalidValueError: nothing to price, something that is no layer, sizes that are not allowed, too many points,
            cycles that 64 bits do not hold, a scheduler that does not answer, a folder with chunks of another sweep.
        MissingDependencyError: joblib or distributed is needed and not installed.

    >>> from hwcost import Linear
    >>> sweep([Linear(400, 120)], rows=8, cols=range(8, 25, 8)).cycles.tolist()
    [750, 400, 250]
    """
    base = _checked(base)
    flows = _flows(dataflows, base)
    row_sizes, col_sizes = _sizes(rows, "rows"), _sizes(cols, "cols")
    budget = None if pe_budget is None else as_size(pe_budget, "pe_budget")
    gemms, macs, unsupported = _products(network, base, skip_unsupported)
    most, count = _within(row_sizes, col_sizes, budget)
    _check_count(count, len(flows), budget, row_sizes, col_sizes)
    work = UniqueGemms.of(gemms)
    size = chunk_size(work) if chunk is None else as_size(chunk, "chunk")
    grid_rows, grid_cols = _grid(row_sizes, col_sizes, most)
    arrays = [adapt(base, dataflow=each).array for each in flows]
    places = [(array, start) for array in arrays for start in range(0, count, size)]

    def made(index: int) -> Chunk:
        array, start = places[index]
        within = slice(start, start + size)
        return Chunk(
            index, __version__, work, dataclasses.replace(array, rows=grid_rows[within], cols=grid_cols[within])
        )

    lengths = [min(size, count - start) for _, start in places]
    kept = None if keep is None else ChunkStore.at(os.fspath(keep), _identity(work, arrays, grid_rows, grid_cols, size))
    parts = _parts(made, lengths, kept, engine, jobs, progress)
    return Sweep(
        base=base,
        dataflows=flows,
        rows=np.tile(grid_rows, len(flows)),
        cols=np.tile(grid_cols, len(flows)),
        flow=np.repeat(np.arange(len(flows), dtype=np.uint8), count),
        cycles=np.concatenate(parts),
        macs=macs,
        unsupported=unsupported,
        pe_budget=budget,
    )


def _parts(
    made: Callable[[int], Chunk],
    lengths: Sequence[int],
    kept: ChunkStore | None,
    engine: str,
    jobs: int | None,
    progress: Callable[[int], object] | None,
) -> list[Column]:
    """The cycles of every chunk in order: those that were kept, and the rest as the engine works them out."""
    parts: dict[int, Column] = {}

    def finished(index: int, cycles: Column) -> None:
        parts[index] = cycles
        if progress is not None:
            progress(len(cycles))

    for index, length in enumerate(lengths if kept is not None else ()):
        if kept is not None and (cycles := kept.read(index, length)) is not None:
            finished(index, cycles)
    left = [index for index in range(len(lengths)) if index not in parts]
    # a generator, so that few chunks are in memory at once
    calls = (functools.partial(price, made(index)) for index in left)
    with contextlib.closing(run(engine, calls, len(left), jobs)) as priced:
        for index, cycles in priced:
            if kept is not None:
                kept.write(index, cycles)
            finished(index, cycles)
    return [parts[index] for index in range(len(lengths))]


def _identity(
    work: UniqueGemms, arrays: Sequence[SystolicArray], rows: Column, cols: Column, size: int
) -> dict[str, Any]:
    """All that the chunks of a sweep depend on."""
    products = [[each.m, each.n, each.k, each.count, each.window, each.inputs] for each in work.products]
    fields = [
        {name: each for name, each in array.as_dict().items() if name not in ("rows", "cols")} for array in arrays
    ]
    return {
        "version": __version__,
        "products": products,
        "order": work.order,
        "arrays": [{name: repr(value) for name, value in each.items()} for each in fields],
        "rows": rows,
        "cols": cols,
        "chunk": size,
    }


# ---------------------------------------------------------------- checks


def _checked(base: SystolicArray | None) -> SystolicArray:
    if base is None:
        return SystolicArray(1, 1)
    if not isinstance(base, SystolicArray):
        raise InvalidValueError("base", base, "a SystolicArray")
    one = dataclasses.replace(base, rows=1, cols=1)
    if one.sweeps:
        raise InvalidValueError("base", one, "an array of which each field but rows and columns is one number")
    return one


def _flows(given: str | Dataflow | Sequence[str | Dataflow] | None, base: SystolicArray) -> tuple[str | Dataflow, ...]:
    chosen = (base.dataflow,) if given is None else (given,) if isinstance(given, (str, Dataflow)) else tuple(given)
    if not chosen:
        raise InvalidValueError("dataflows", chosen, f"at least one of: {', '.join(DATAFLOWS)}; or a Dataflow")
    for each in chosen:
        try:
            adapt(base, dataflow=each)
        except InvalidValueError as error:
            raise InvalidValueError("dataflows", error.value, error.allowed) from None
    return tuple(dict.fromkeys(chosen))


def _sizes(sizes: int | Iterable[int], field: str) -> Column:
    """Sizes as a sorted column, each once."""
    if isinstance(sizes, range) and len(sizes) > MOST_POINTS:
        raise InvalidValueError(f"the number of {field}", len(sizes), f"at most {MOST_POINTS}")
    listed = sizes if isinstance(sizes, np.ndarray) else list(sizes) if isinstance(sizes, Iterable) else [sizes]
    if not len(listed):
        raise InvalidValueError(field, "no size", "at least one integer of at least 1")
    if not isinstance(listed, np.ndarray):
        listed = [as_size(size, field) for size in listed] if not isinstance(sizes, range) else listed
        if max(listed) >= 2**63:
            raise InvalidValueError(field, max(listed), f"at most {2**63 - 1}")
    column = np.asarray(as_size(np.asarray(listed), field))
    if column.dtype.kind not in "iu":
        raise InvalidValueError(field, column.flat[0], "integers of at least 1")
    return np.unique(column.astype(np.int64))


def _products(network: Layers, base: SystolicArray, skip: bool) -> tuple[list[Gemm], int, tuple[str, ...]]:
    """All products of a network in order, their MACs, and the names that are left out; as ``network_cost`` does it."""
    named = network if isinstance(network, Mapping) else {str(i): layer for i, layer in enumerate(network)}
    report = network_cost(named, base, skip_unsupported=skip)
    missing = set(report.unsupported)
    gemms = [gemm for name, layer in named.items() if name not in missing for gemm in layer.gemms()]
    for gemm in gemms:
        for size in (gemm.m, gemm.n, gemm.k, gemm.count, *gemm.window, *gemm.inputs):
            if not is_plain(size) or not isinstance(size, int):
                raise InvalidValueError("a size of the network", size, "one integer: rows and columns are swept here")
    return gemms, sum(gemm.macs for gemm in gemms), report.unsupported


def _check_count(count: int, flows: int, budget: int | None, rows: Column, cols: Column) -> None:
    if not count:
        raise InvalidValueError(
            "pe_budget", budget, f"at least {int(rows[0]) * int(cols[0])}, the smallest array of the sweep"
        )
    if count * flows > MOST_POINTS:
        raise InvalidValueError("the number of points", count * flows, f"at most {MOST_POINTS}; give shorter ranges")


# ---------------------------------------------------------------- the space


def count_points(
    rows: Iterable[int], cols: Iterable[int], dataflows: Sequence[str | Dataflow], pe_budget: int | None = None
) -> int:
    """How many points a sweep would have.

    >>> count_points(range(8, 17), [8, 16], ["ws", "os"], pe_budget=128)
    20
    """
    return len(dict.fromkeys(dataflows)) * _within(_sizes(rows, "rows"), _sizes(cols, "cols"), pe_budget)[1]


def _within(rows: Column, cols: Column, budget: int | None) -> tuple[Column, int]:
    """How many of the columns, from the smallest on, go with each number of rows; and the sum of that."""
    if budget is None:
        most = np.full(len(rows), len(cols), dtype=np.int64)
    else:
        most = np.searchsorted(cols, min(budget, 2**63 - 1) // rows, side="right")
    return most, int(most.sum())


def _grid(rows: Column, cols: Column, most: Column) -> tuple[Column, Column]:
    """Every array, as two columns of equal length."""
    ends = np.cumsum(most)
    along = np.arange(ends[-1]) - np.repeat(ends - most, most)
    return np.repeat(rows, most), cols[along]
