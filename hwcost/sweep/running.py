"""A sweep: the space cut into chunks, which an engine prices."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hwcost._version import __version__
from hwcost.arrays import Size, Table, as_size
from hwcost.devices.files import named_device
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray, adapt
from hwcost.machine.dataflow import DATAFLOWS, Dataflow
from hwcost.machine.energies import EnergyTable
from hwcost.model.formula import as_array
from hwcost.model.gemm import Gemm
from hwcost.network.network import Network
from hwcost.network.pricing import Layers, check_layers, moves_by_layer, network_cost
from hwcost.network.run import RunLayers, run_of
from hwcost.sweep.assembly import columns_of, ordered, that_fit
from hwcost.sweep.chunk_store import ChunkStore
from hwcost.sweep.engines import run
from hwcost.sweep.fields import check_fields, check_sizes, own_rows
from hwcost.sweep.measured import with_device
from hwcost.sweep.objectives import OBJECTIVES, check_objectives
from hwcost.sweep.points import Sweep
from hwcost.sweep.pricing import FIGURES, Chunk, Column, UniqueGemms, check_figures, chunk_size, price
from hwcost.sweep.space import Group, space_of, within

__all__ = ["count_points", "sweep"]


def sweep(
    network: Layers,
    *,
    rows: int | Iterable[int],
    cols: int | Iterable[int],
    dataflows: Sequence[str | Dataflow] | None = None,
    fields: Mapping[str, Any] | None = None,
    base: SystolicArray | str | None = None,
    energy: str | EnergyTable | None = None,
    pe_budget: int | None = None,
    figures: Collection[str] | None = None,
    objectives: Collection[str] | None = None,
    skip_unsupported: bool = False,
    engine: str = "serial",
    jobs: int | None = None,
    patience: float | None = None,
    keep: str | os.PathLike[str] | None = None,
    progress: Callable[[int], object] | None = None,
    chunk: int | None = None,
) -> Sweep:
    """The cycles of a network on every array of a space, each equal to those of ``network_cost`` on that array.

    If any array has buffers or figures of energy, there are the bytes of DRAM and SRAM as well, and the energy.

    Args:
        network: a mapping from names to layers (a :class:`hwcost.Network`, for example), or layers in order.
        rows, cols: the sizes to sweep, in PEs, in any order; duplicates are dropped.
        dataflows: names in :data:`hwcost.DATAFLOWS`, or rows of your own; by default that of the base. Fields of the
            base that have no effect under a dataflow take their neutral value there.
        fields: values of any other field of :class:`hwcost.SystolicArray` that holds a number, a name or a switch, by
            its name: every combination is swept. Where a field has no effect it takes its neutral value, and machines
            that are then the same are taken once; one without effect on any machine is an error.
        base: an array, or the name of a device, with the clock, fold timing and other fields of all points; a
            calibrated device keeps its bandwidths and constants at every size. By default a bare array.
        energy: a name in :data:`hwcost.machine.energies.ENERGIES`, or a table of your own, that has the figures of
            energy of each machine: for a base with figures that hold for all points it is not needed.
        pe_budget: leave out arrays of more PEs.
        figures: what to have on top of the cycles: some of "dram_bytes", "sram_bytes" and "energy_joules". By default
            all that is known if an array has buffers or figures of energy, and else the cycles alone.
        objectives: what the front is of: some of "time", "pes", "energy", "buffer" (the bytes of all buffers), "dram"
            and "sram". By default time and PEs, energy if it is known, and buffers if they are swept.
        skip_unsupported: leave out what is not a layer, and list it in the result, instead of raising.
        engine: where chunks run: "serial", "processes" or "dask://HOST:PORT"; see :data:`hwcost.sweep.ENGINES`.
        jobs: number of processes; by default one per processor core.
        patience: seconds to wait for a scheduler and its workers; 10 and 60 by default.
        keep: a folder for finished chunks. If it holds chunks of the same sweep, the sweep resumes from them. The
            caller removes it.
        progress: called after each chunk with its number of points.
        chunk: the most arrays that are priced together. By default it keeps working memory below about 100 MB for any
            number of arrays and layers.

    Returns:
        Points by dataflow, then swept fields, rows and columns; without arrays whose buffers no tile fits.

    Raises:
        InvalidValueError: nothing to price, something that is not a layer, sizes or values that are not allowed, a
            field without effect, too many points, cycles that 64 bits do not hold, buffers that no tile fits on any
            array, a scheduler that does not answer, a folder with chunks of another sweep.
        MissingDependencyError: joblib or distributed is needed and not installed.

    >>> from hwcost import Linear
    >>> sweep([Linear(400, 120)], rows=8, cols=range(8, 25, 8)).cycles.tolist()
    [750, 400, 250]
    >>> found = sweep([Linear(400, 120, batch=64)], rows=8, cols=8, fields={"buffer_bytes": [4096, 16384, 65536]})
    >>> found.column("buffer_bytes").tolist(), found.dram_bytes.tolist()
    ([4096.0, 16384.0, 65536.0], [228480.0, 129280.0, 81280.0])
    """
    device = named_device(base, "base")
    base = _check_base(base)
    flows = _check_dataflows(dataflows, base)
    values = check_fields(fields)
    if keep is not None:
        _check_known(base, flows, values, energy)
    sizes = check_sizes(rows, "rows"), check_sizes(cols, "cols")
    budget = None if pe_budget is None else as_size(pe_budget, "pe_budget")
    check_layers(network, "network")
    named = network if isinstance(network, Mapping) else {str(i): layer for i, layer in enumerate(network)}
    gemms, known, unsupported = _gemms(named, skip_unsupported)
    space = space_of(base, flows, values, energy, sizes, budget)
    machines = [group.array for group in space.groups]
    has_energy = all(machine.has_energy for machine in machines)
    goals = check_objectives(objectives, values, has_energy=has_energy)
    names = check_figures(figures, machines, [OBJECTIVES[name].figure for name in goals])
    work = UniqueGemms.of(gemms)
    size = chunk_size(work, names) if chunk is None else as_size(chunk, "chunk")
    places = [(group, start) for group in space.groups for start in range(0, len(group), size)]

    def chunk_at(index: int) -> Chunk:
        group, start = places[index]
        return Chunk(
            index,
            __version__,
            work,
            group.machines(start, start + size),
            names,
            _more(named, known, group, start, size),
        )

    identity = {
        "version": __version__,
        "figures": names,
        "products": [(type(gemm).__name__, *dataclasses.astuple(gemm)) for gemm in work.products],
        "order": work.order,
        "arrays": [(group.array.as_dict(), group.values, len(group)) for group in space.groups],
        "energy": energy,
        "rows": sizes[0],
        "cols": sizes[1],
        "budget": budget,
        "chunk": size,
    }
    on_engine = functools.partial(run, engine, jobs=jobs, patience=patience)
    store = None if keep is None else ChunkStore.at(os.fspath(keep), identity)
    lengths = [min(size, len(group) - start) for group, start in places]
    priced = _price_all(chunk_at, lengths, len(names), store, on_engine, progress)
    columns: dict[str, Any] = {
        name: np.concatenate(parts) for name, parts in zip(names, zip(*priced, strict=True), strict=True)
    }
    found = Sweep(
        base=base,
        dataflows=flows,
        **columns_of(space),
        **columns,
        macs=sum(gemm.macs for gemm in gemms),
        unsupported=unsupported,
        pe_budget=budget,
        fields=Table(space.fields),
        energy=energy,
        objectives=goals,
        idle=Table({name: tuple(flows) for name, flows in space.idle.items()}),
        name=network.name if isinstance(network, Network) else "",
    )
    found = ordered(that_fit(found))
    return found if device is None else with_device(found, device, named)


def _check_known(
    base: SystolicArray,
    flows: Sequence[str | Dataflow],
    values: Mapping[str, tuple[Any, ...]],
    energy: str | EnergyTable | None,
) -> None:
    """Raises if a folder could not tell these machines from others, since it holds the names of rows only."""
    own = own_rows([base.fold_timing, base.lowering, *flows, *base.terms, energy, *itertools.chain(*values.values())])
    if own:
        reason = f"a folder cannot identify rows of your own ({', '.join(own)})"
        raise InvalidValueError("keep", own[0], "leave it out", reason=reason)


def _price_all(
    chunk_at: Callable[[int], Chunk],
    lengths: Sequence[int],
    figures: int,
    store: ChunkStore | None,
    on_engine: Callable[..., Generator[tuple[int, tuple[Column, ...]], None, None]],
    progress: Callable[[int], object] | None,
) -> list[tuple[Column, ...]]:
    """The figures of every chunk in order, from the store or from the engine."""
    parts: dict[int, tuple[Column, ...]] = {}

    def finish(index: int, columns: tuple[Column, ...]) -> None:
        parts[index] = columns
        if progress is not None:
            progress(len(columns[0]))

    if store is not None:
        for index, length in enumerate(lengths):
            if (columns := store.read(index, length, figures)) is not None:
                finish(index, columns)
    left = [index for index in range(len(lengths)) if index not in parts]
    # a generator, so that few chunks are in memory at once
    calls = (functools.partial(price, chunk_at(index)) for index in left)
    with contextlib.closing(on_engine(calls, len(left))) as results:
        for index, columns in results:
            if store is not None:
                store.write(index, columns)
            finish(index, columns)
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


def _gemms(named: Mapping[str, Any], skip_unsupported: bool) -> tuple[list[Gemm], RunLayers, tuple[str, ...]]:
    """All products of a network in order, its layers, and the names left out, as by ``network_cost``."""
    report = network_cost(named, SystolicArray(1, 1), skip_unsupported=skip_unsupported)
    own = ((name, layer) for name, layer in named.items() if name not in report.unsupported)
    known = RunLayers.like(named, own)
    gemms = [gemm.map(_check_integer) for layer in known.values() for gemm in layer.gemms()]
    return gemms, known, report.unsupported


def _more(
    network: Mapping[str, Any], layers: RunLayers, group: Group, start: int, size: int
) -> tuple[dict[str, Any], ...]:
    """What some machines of a group take on top of the products: what layers move without them, and a run."""
    machine = group.array
    if group.columns:
        machine = dataclasses.replace(group.machines(start, start + size), rows=1, cols=1)
    run_costs = run_of(layers, machine)
    costs = [*moves_by_layer(layers, machine, network).values(), *([] if run_costs is None else [run_costs.cost])]
    parts = [part for figure in FIGURES.values() for part in figure]
    return tuple({part: getattr(cost, part) for part in parts} for cost in costs)


def _check_integer(size: Size) -> Size:
    if not isinstance(size, int):
        raise InvalidValueError("a size of the network", size, "one integer, because rows and columns are swept")
    return size


def count_points(
    rows: int | Iterable[int],
    cols: int | Iterable[int],
    dataflows: Sequence[str | Dataflow],
    pe_budget: int | None = None,
    *,
    fields: Mapping[str, Any] | None = None,
    base: SystolicArray | str | None = None,
    energy: str | EnergyTable | None = None,
) -> int:
    """The number of points of a sweep, those of which no tile fits a buffer included; arguments as for ``sweep``.

    >>> count_points(range(8, 17), [8, 16], ["ws", "os"], pe_budget=128)
    20
    >>> count_points(8, 8, ["ws", "os"], fields={"drains_outputs": [False, True], "fold_timing": "serial"})
    3
    """
    base = _check_base(base)
    flows, sizes = _check_dataflows(dataflows, base), (check_sizes(rows, "rows"), check_sizes(cols, "cols"))
    if not fields:  # without columns of all of them
        return len(flows) * int(within(*sizes, pe_budget, base.arrays).sum())
    return len(space_of(base, flows, check_fields(fields), energy, sizes, pe_budget))
