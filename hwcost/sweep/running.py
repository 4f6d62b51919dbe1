"""A sweep: the space cut into chunks, which an engine prices."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

import numpy as np

from hwcost._version import __version__
from hwcost.arrays import Size, as_size, total
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray, adapt
from hwcost.machine.dataflow import DATAFLOWS, Dataflow
from hwcost.model.cost import Cost
from hwcost.model.formula import as_array
from hwcost.model.gemm import Gemm
from hwcost.network.pricing import Layers, moves_by_layer, network_cost
from hwcost.network.run import RunLayers
from hwcost.sweep.chunk_store import ChunkStore
from hwcost.sweep.engines import run
from hwcost.sweep.points import Sweep
from hwcost.sweep.pricing import FIGURES, Chunk, Column, UniqueGemms, chunk_size, price

__all__ = ["MOST_POINTS", "count_points", "figures_of", "sweep"]

MOST_POINTS = 50_000_000
"""The most points of one sweep: their results take 25 bytes each."""


def sweep(
    network: Layers,
    *,
    rows: int | Iterable[int],
    cols: int | Iterable[int],
    dataflows: Sequence[str | Dataflow] | None = None,
    base: SystolicArray | str | None = None,
    pe_budget: int | None = None,
    skip_unsupported: bool = False,
    engine: str = "serial",
    jobs: int | None = None,
    patience: float | None = None,
    keep: str | os.PathLike[str] | None = None,
    progress: Callable[[int], object] | None = None,
    chunk: int | None = None,
) -> Sweep:
    """The cycles of a network on every array of a space, each equal to those of ``network_cost`` on that array.

    A base with buffers has the bytes of DRAM as well, and one with figures of energy the energy.

    Args:
        network: a mapping from names to layers (a :class:`hwcost.Network`, for example), or layers in order.
        rows, cols: the sizes to sweep, in PEs, in any order; duplicates are dropped.
        dataflows: names in :data:`hwcost.DATAFLOWS`, or rows of your own; by default that of the base. Fields of the
            base that have no effect under a dataflow take their neutral value there.
        base: an array, or the name of a device, with the clock, fold timing and other fields of all points; a
            calibrated device keeps its bandwidths and constants at every size. By default a bare array.
        pe_budget: leave out arrays of more PEs.
        skip_unsupported: leave out what is not a layer, and list it in the result, instead of raising.
        engine: where chunks run: "serial", "processes" or "dask://HOST:PORT"; see :data:`hwcost.sweep.ENGINES`.
        jobs: number of processes; by default one per processor core.
        patience: seconds to wait for a scheduler and its workers; 10 and 60 by default.
        keep: a folder for finished chunks. If it holds chunks of the same sweep, the sweep resumes from them. The
            caller removes it.
        progress: called after each chunk with its number of points; every figure of :func:`figures_of` has chunks of
            its own.
        chunk: the most arrays that are priced together. By default it keeps working memory below about 100 MB for any
            number of arrays and layers.

    Returns:
        Points by dataflow, then rows, then columns.

    Raises:
        InvalidValueError: nothing to price, something that is not a layer, sizes that are not allowed, too many points,
            cycles that 64 bits do not hold, a scheduler that does not answer, a folder with chunks of another sweep.
        MissingDependencyError: joblib or distributed is needed and not installed.

    >>> from hwcost import Linear
    >>> sweep([Linear(400, 120)], rows=8, cols=range(8, 25, 8)).cycles.tolist()
    [750, 400, 250]
    """
    base = _check_base(base)
    flows = _check_dataflows(dataflows, base)
    if keep is not None:
        _check_known(base, flows)
    row_sizes, col_sizes = _check_sizes(rows, "rows"), _check_sizes(cols, "cols")
    budget = None if pe_budget is None else as_size(pe_budget, "pe_budget")
    gemms, more, unsupported = _gemms(network, base, skip_unsupported)
    figures = figures_of(base)
    most, count = _within(row_sizes, col_sizes, budget, base.arrays)
    if not count:
        smallest = int(row_sizes[0]) * int(col_sizes[0]) * base.arrays
        raise InvalidValueError("pe_budget", budget, f"at least {smallest}, the smallest array of the sweep")
    if count * len(flows) > MOST_POINTS:
        allowed = f"at most {MOST_POINTS}; give shorter ranges"
        raise InvalidValueError("the number of points", count * len(flows), allowed)
    work = UniqueGemms.of(gemms)
    size = chunk_size(work) if chunk is None else as_size(chunk, "chunk")
    grid_rows, grid_cols = _grid(row_sizes, col_sizes, most)
    arrays = [adapt(base, dataflow=each).array for each in flows]
    places = [(name, array, start) for name in figures for array in arrays for start in range(0, count, size)]

    def chunk_at(index: int) -> Chunk:
        name, array, start = places[index]
        within = slice(start, start + size)
        swept = dataclasses.replace(array, rows=grid_rows[within], cols=grid_cols[within])
        return Chunk(index, __version__, work, swept, name)

    identity = {
        "version": __version__,
        "figures": figures,
        "products": [(type(gemm).__name__, *dataclasses.astuple(gemm)) for gemm in work.products],
        "order": work.order,
        "arrays": [array.as_dict() for array in arrays],
        "rows": grid_rows,
        "cols": grid_cols,
        "chunk": size,
    }
    on_engine = functools.partial(run, engine, jobs=jobs, patience=patience)
    store = None if keep is None else ChunkStore.at(os.fspath(keep), identity)
    lengths = [min(size, count - start) for *_, start in places]
    parts = _price_all(chunk_at, lengths, store, on_engine, progress)
    each = len(parts) // len(figures)
    columns = {
        name: functools.reduce(
            total, (getattr(cost, name) for cost in more), np.concatenate(parts[i * each : (i + 1) * each])
        )
        for i, name in enumerate(figures)
    }
    return Sweep(
        base=base,
        dataflows=flows,
        rows=np.tile(grid_rows, len(flows)),
        cols=np.tile(grid_cols, len(flows)),
        flow=np.repeat(np.arange(len(flows), dtype=np.uint8), count),
        **columns,
        macs=sum(gemm.macs for gemm in gemms),
        unsupported=unsupported,
        pe_budget=budget,
    )


def figures_of(base: SystolicArray) -> tuple[str, ...]:
    """The figures that a sweep of a machine has on top of those that follow from them.

    Bytes of DRAM differ from array to array on a machine with buffers.

    >>> figures_of(SystolicArray(1, 1)), figures_of(SystolicArray(1, 1, buffer_bytes=4096.0))
    (('cycles',), ('cycles', 'dram_bytes'))
    """
    has = {"cycles": True, "dram_bytes": base.has_buffers, "energy_joules": base.has_energy}
    return tuple(name for name in FIGURES if has[name])


def _check_known(base: SystolicArray, flows: Sequence[str | Dataflow]) -> None:
    """Raises if a folder could not tell this machine from another, since it holds the names of rows only."""
    rows = [base.fold_timing, base.lowering, *flows, *base.terms]
    own = [str(row) for row in rows if not isinstance(row, str)]
    if own:
        reason = f"a folder cannot identify rows of your own ({', '.join(own)})"
        raise InvalidValueError("keep", own[0], "leave it out", reason=reason)


def _price_all(
    chunk_at: Callable[[int], Chunk],
    lengths: Sequence[int],
    store: ChunkStore | None,
    on_engine: Callable[..., Generator[tuple[int, Column], None, None]],
    progress: Callable[[int], object] | None,
) -> list[Column]:
    """The figures of every chunk in order, from the store or from the engine."""
    parts: dict[int, Column] = {}

    def finish(index: int, cycles: Column) -> None:
        parts[index] = cycles
        if progress is not None:
            progress(len(cycles))

    if store is not None:
        for index, length in enumerate(lengths):
            if (cycles := store.read(index, length)) is not None:
                finish(index, cycles)
    left = [index for index in range(len(lengths)) if index not in parts]
    # a generator, so that few chunks are in memory at once
    calls = (functools.partial(price, chunk_at(index)) for index in left)
    with contextlib.closing(on_engine(calls, len(left))) as results:
        for index, cycles in results:
            if store is not None:
                store.write(index, cycles)
            finish(index, cycles)
    return [parts[index] for index in range(len(lengths))]


def _check_base(base: SystolicArray | str | None) -> SystolicArray:
    if base is None:
        return SystolicArray(1, 1)
    base = as_array(base, "base")
    one = dataclasses.replace(base, rows=1, cols=1)
    if one.sweeps:
        raise InvalidValueError("base", one, "an array in which each field but rows and columns is one number")
    return one


def _check_dataflows(
    given: str | Dataflow | Sequence[str | Dataflow] | None, base: SystolicArray
) -> tuple[str | Dataflow, ...]:
    chosen = (base.dataflow,) if given is None else (given,) if isinstance(given, (str, Dataflow)) else tuple(given)
    if not chosen:
        raise InvalidValueError("dataflows", chosen, f"at least one of: {', '.join(DATAFLOWS)}; or a Dataflow")
    for each in chosen:
        try:
            adapt(base, dataflow=each)
        except InvalidValueError as error:
            raise error.at("dataflows") from None
    flows = tuple(dict.fromkeys(chosen))
    if len(set(map(str, flows))) < len(flows):
        raise InvalidValueError("dataflows", ", ".join(map(str, flows)), "dataflows whose names differ")
    return flows


def _check_sizes(sizes: int | Iterable[int], field: str) -> Column:
    """Sizes as a sorted column without duplicates."""
    if isinstance(sizes, range) and len(sizes) > MOST_POINTS:
        raise InvalidValueError(f"the number of {field}", len(sizes), f"at most {MOST_POINTS}")
    if not isinstance(sizes, (range, np.ndarray)):
        sizes = [as_size(size, field) for size in (sizes if isinstance(sizes, Iterable) else [sizes])]
    if len(sizes) == 0:
        raise InvalidValueError(field, sizes, "at least one integer of at least 1")
    if not isinstance(sizes, np.ndarray) and max(sizes) >= 2**63:
        raise InvalidValueError(field, max(sizes), f"at most {2**63 - 1}")
    column = np.asarray(as_size(np.asarray(sizes), field))
    if column.dtype.kind not in "iu":
        raise InvalidValueError(field, column.flat[0], "integers of at least 1")
    return np.unique(column.astype(np.int64))


def _gemms(
    network: Layers, base: SystolicArray, skip_unsupported: bool
) -> tuple[list[Gemm], list[Cost], tuple[str, ...]]:
    """All products of a network in order, the costs on top of them, and the names left out, as by ``network_cost``."""
    named = network if isinstance(network, Mapping) else {str(i): layer for i, layer in enumerate(network)}
    report = network_cost(named, base, skip_unsupported=skip_unsupported)
    own = ((name, layer) for name, layer in named.items() if name not in report.unsupported)
    known = RunLayers.like(named, own)
    gemms = [gemm for layer in known.values() for gemm in layer.gemms()]
    more = [*moves_by_layer(known, base, named).values(), *([] if report.run is None else [report.run.cost])]
    return [gemm.map(_check_integer) for gemm in gemms], more, report.unsupported


def _check_integer(size: Size) -> Size:
    if not isinstance(size, int):
        raise InvalidValueError("a size of the network", size, "one integer, because rows and columns are swept")
    return size


def count_points(
    rows: Iterable[int],
    cols: Iterable[int],
    dataflows: Sequence[str | Dataflow],
    pe_budget: int | None = None,
    *,
    arrays: int = 1,
) -> int:
    """The number of points of a sweep, of machines of one or several arrays.

    >>> count_points(range(8, 17), [8, 16], ["ws", "os"], pe_budget=128)
    20
    """
    sizes = _check_sizes(rows, "rows"), _check_sizes(cols, "cols")
    return len(dict.fromkeys(dataflows)) * _within(*sizes, pe_budget, arrays)[1]


def _within(rows: Column, cols: Column, budget: int | None, arrays: int) -> tuple[Column, int]:
    """For each number of rows, how many of the columns (smallest first) fit the budget; and their sum."""
    if budget is None:
        most = np.full(len(rows), len(cols), dtype=np.int64)
    else:
        most = np.searchsorted(cols, min(budget // arrays, 2**63 - 1) // rows, side="right")
    return most, int(most.sum())


def _grid(rows: Column, cols: Column, most: Column) -> tuple[Column, Column]:
    """Every array, as two columns of equal length."""
    ends = np.cumsum(most)
    along = np.arange(ends[-1]) - np.repeat(ends - most, most)
    return np.repeat(rows, most), cols[along]
