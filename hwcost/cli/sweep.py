"""``hwcost sweep``: a network on every array of a design space."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from hwcost.cli.shared.machines import ARRAYS, ENERGY, FOLD_TIMING, ArrayOptions, Machine, adapted_device, parse_device
from hwcost.cli.shared.networks import ModelOptions, model_argument
from hwcost.cli.shared.options import (
    block,
    default_option,
    form_options,
    option,
    option_names,
    parsed_by,
    size_option,
    skip_unsupported,
)
from hwcost.cli.shared.outputs import check_outputs, output_option, write_output
from hwcost.cli.shared.values import INT64_MAX, Sizes, listed, parse_engine, parse_name, parse_sizes
from hwcost.console import checked, note
from hwcost.errors import InvalidValueError, require
from hwcost.machine.array import SystolicArray
from hwcost.machine.buffers import rivals_of
from hwcost.machine.dataflow import DATAFLOWS
from hwcost.model.words import missing_text
from hwcost.units import printable

if TYPE_CHECKING:
    import numpy as np

    from hwcost.network.network import Network
    from hwcost.sweep import Sweep

__all__ = ["sweep"]

_EXAMPLES = """\b
Examples:
  hwcost sweep net.onnx --rows 8:256 --cols 8:256 --dataflow ws,os,is --pe-budget 65536 --plot heat.png
  hwcost sweep net.py:Net --input 1,3,224,224 --rows 8:128:8 --cols 8:128:8 --device tpu-v1 --front-only --csv
  hwcost sweep net.csv --rows 16:64:16 --cols 16:64:16 --buffer 32k:2M --bandwidth 8e9,16e9 --energy 45nm-textbook
  hwcost sweep net.csv --rows 1:1024 --cols 1:1024 -o points.csv --engine dask://10.0.0.1:8786
"""

_ENGINE = "Where to compute: serial, processes or dask://ADDRESS."
_TOP = 20
_LONG = 5_000_000
"""Layers x points above which progress is shown."""
_LIBRARIES = {"processes": "joblib", "dask": "distributed"}
"""What an engine needs."""
_OPTIONS = {name: f"--{name}" for name in ("rows", "cols", "engine", "jobs", "energy")} | {
    "the number of rows": "--rows", "the number of cols": "--cols", "dataflows": "--dataflow", "objectives": "--front",
    "pe_budget": "--pe-budget", "keep": "--out", "SystolicArray.buffer_bytes": "--buffer",
}  # fmt: skip
"""The option behind each argument of the sweep."""


class Varied(NamedTuple):
    """The values of the fields of the machine, as typed; None for those that were not given."""

    buffers: str | None
    bandwidths: str | None
    clocks: str | None
    vary: tuple[str, ...]


class Request(NamedTuple):
    """The values of the options that describe the design space and its output; None for those that were not given."""

    rows: Sizes
    cols: Sizes
    dataflows: tuple[str, ...] | None
    pe_budget: int | None
    top: int | None
    front_only: bool
    out: str | None
    engine: str
    jobs: int | None
    front: tuple[str, ...] | None
    with_bytes: bool

    @property
    def keep(self) -> str | None:
        """The folder for finished chunks, next to the output file."""
        return None if self.out is None else f"{self.out}.chunks"


def _sizes(option: str, text: str) -> Sizes:
    """The rows or columns of the arrays."""
    from hwcost.sweep import MOST_POINTS

    sizes = parse_sizes(option, text)
    if sizes.largest > INT64_MAX:
        raise InvalidValueError(option, text, f"sizes up to {INT64_MAX}")
    if sizes.points > MOST_POINTS:
        raise InvalidValueError(option, text, f"at most {MOST_POINTS} sizes")
    return sizes


def _checked_values(option: str, text: str, field: str) -> str:
    from hwcost.cli.sweep_fields import values_of

    values_of(option, field, text)
    return text


def _checked_field(option: str, text: str) -> str:
    from hwcost.cli.sweep_fields import parse_vary

    parse_vary(option, text)
    return text


def _objective(option: str, text: str) -> str:
    from hwcost.sweep.objectives import OBJECTIVES

    return parse_name(option, text, OBJECTIVES)


def _dataflow(option: str, text: str) -> str:
    return parse_name(option, text, DATAFLOWS)


def _engine(option: str, text: str) -> str:
    """Where to compute; raises if its library is missing."""
    name = parse_engine(option, text).partition("://")[0]
    if name in _LIBRARIES:
        require(_LIBRARIES[name], "cluster", f"--engine {name}")
    return text


def _check_engine(engine: str, jobs: int | None) -> None:
    from hwcost.sweep.engines import engine_of

    row, _ = engine_of(engine)
    if jobs is not None and not row.takes_jobs:
        reason = f"engine {row.name} takes no number of processes"
        raise InvalidValueError("--jobs", jobs, "pass --engine processes too, or leave it out", reason=reason)
    with option_names(_OPTIONS):
        engine_of(engine, jobs)


def _check_outputs(source: str, known: Mapping[str, Any]) -> None:
    check_outputs([source], {"--plot": known.get("picture"), "--out": known.get("out")})


def _check_machine(array: ArrayOptions, varied: Varied, front: tuple[str, ...] | None) -> None:
    from hwcost.sweep.objectives import check_objectives

    machine, fields, energy = _machine(array, varied)
    with option_names(_OPTIONS):
        check_objectives(front, fields, has_energy=machine.array.has_energy or energy is not None)


@click.command(epilog=_EXAMPLES)
@model_argument
@click.option(
    "--rows",
    "--s1",
    "rows",
    metavar="SIZES",
    required=True,
    callback=parsed_by(_sizes),
    help="Rows of the arrays, like 8:256, 8:256:8 or 8,16,32.",
)
@click.option(
    "--cols",
    "--s2",
    "cols",
    metavar="SIZES",
    required=True,
    callback=parsed_by(_sizes),
    help="Columns of the arrays, in the same form.",
)
@click.option(
    "--dataflow",
    "dataflows",
    metavar="NAMES",
    callback=parsed_by(listed(_dataflow)),
    help=f"Mappings, separated by commas: some of {', '.join(DATAFLOWS)}.  [default: the device's, or ws]",
)
@size_option("--pe-budget", help="Leave out arrays with more processing elements.")
@option("--device", "NAME|FILE", "Take everything except rows and columns from this device.", parse_device)
@click.option(
    "--buffer",
    "buffers",
    metavar="SIZES",
    callback=parsed_by(_checked_values, "buffer_bytes"),
    help="Buffers for tiles next to the array, like 64k,1M or 32k:2M, which doubles.  [default: the device's]",
)
@click.option(
    "--bandwidth",
    "bandwidths",
    metavar="RATES",
    callback=parsed_by(_checked_values, "dram_bytes_per_s"),
    help="Bytes per second to memory, like 8e9,16GB/s or 4e9:64e9, which doubles.  [default: the device's]",
)
@click.option(
    "--clock",
    "clocks",
    metavar="FREQUENCIES",
    callback=parsed_by(_checked_values, "clock_hz"),
    help="Clock frequencies, like 700MHz or 500MHz:2GHz:500MHz.  [default: the device's, or 1GHz]",
)
@click.option(
    "--vary",
    multiple=True,
    metavar="FIELD=VALUES",
    callback=parsed_by(_checked_field),
    help="Values of any other field of the machine, like overlap=0,0.5,1; may be given several times.",
)
@block("array", ArrayOptions, ARRAYS, FOLD_TIMING, ENERGY)
@skip_unsupported
@size_option("--top", help=f"Write only the N fastest points.  [default: all; as text, {_TOP} of the Pareto front]")
@click.option(
    "--front",
    metavar="NAMES",
    callback=parsed_by(listed(_objective)),
    help="What the front is of: some of time, pes, energy, buffer, dram and sram.  [default: time, PEs, energy if it "
    "is known, and buffers if several are swept]",
)
@click.option("--front-only", is_flag=True, help="Write only the points on the Pareto front.")
@click.option("--bytes", "with_bytes", is_flag=True, help="Bytes of DRAM and SRAM, on machines without buffers too.")
@form_options()
@output_option(
    "-o", "--out", ends=("csv", "json"), words="Write the points: .csv or .json. Resumes an interrupted sweep."
)
@output_option("--plot", "picture", words="Draw maps of rows x columns, or curves over a field: .png, .svg or .pdf.")
@default_option("--engine", default="serial", metavar="NAME", words=_ENGINE, parser=(_engine,))
@size_option("--jobs", help="Number of processes, with --engine processes.  [default: one per core]")
@block("request", Request)
@block("varied", Varied)
@checked(_check_outputs, _check_engine, _check_machine)
def sweep(
    *,
    source: str,
    options: ModelOptions,
    request: Request,
    varied: Varied,
    array: ArrayOptions,
    skip_unsupported: bool,
    form: str,
    picture: str | None,
) -> None:
    """Price a network on every array of a design space.

    The fastest arrays are printed, and the Pareto front of time, utilization and PEs. MODEL is as for hwcost model.
    Rows and columns replace those of a device; its bandwidths and constants stay. Several buffers, bandwidths, clocks
    or values of other fields are swept as well.
    """
    from hwcost.cli.sweep_context import Context
    from hwcost.cli.sweep_output import as_csv_blocks, as_json_blocks, document_of
    from hwcost.sweep.measured import with_device

    machine, fields, energy = _machine(array, varied)
    network = options.read(source)
    found = _sweep(network, machine.array, request, fields, energy, skip_unsupported=skip_unsupported)
    if machine.file is not None:
        found = with_device(found, machine.file, network)
    context = Context(network, source, machine, found)
    chosen = _chosen(found, request.top, front_only=request.front_only)
    writers = {"csv": as_csv_blocks, "json": as_json_blocks}
    if request.out is not None:
        from hwcost.files import write_whole

        blocks = writers[request.out.lower().rpartition(".")[2]](context, chosen)
        with write_output("--out", request.out):
            write_whole(request.out, (block.encode() for block in blocks))
    if form == "text":
        document = document_of(context, top=request.top, most=_TOP, front_only=request.front_only)
        click.echo(document.for_stdout())
    else:
        for block in writers[form](context, chosen):
            click.echo(block, nl=False)
    for name, flows in found.idle.items():
        note(f"{name} has no effect on some machines of dataflow {', '.join(flows)}, which are there once")
    if network.unsupported:
        missing = missing_text({name: str(each.layer) for name, each in network.unsupported.items()})
        note(f"{printable(network.name)}: {missing}")
    if picture is not None:
        from hwcost.cli.sweep_plot import draw

        with write_output("--plot", picture):
            draw(picture, context)
    if request.keep is not None:
        shutil.rmtree(request.keep, ignore_errors=True)


def _machine(array: ArrayOptions, varied: Varied) -> tuple[Machine, dict[str, Any], str | None]:
    """The machine of all points, the fields that are swept, and the table of energy if its figures follow them."""
    from hwcost.cli.sweep_fields import OPTION_OF, swept_fields
    from hwcost.sweep.fields import READ_BY_TABLES

    texts = {"buffer_bytes": varied.buffers, "dram_bytes_per_s": varied.bandwidths, "clock_hz": varied.clocks}
    fields = swept_fields(texts, varied.vary)
    alone = {name: fields.pop(name)[0] for name in OPTION_OF if len(fields.get(name, ())) == 1}
    array = array._replace(clock=alone.get("clock_hz"), buffer=alone.get("buffer_bytes"))
    follows = array.energy if not fields.keys().isdisjoint(READ_BY_TABLES) else None
    machine = (array if follows is None else array._replace(energy=None)).read(bare=SystolicArray(1, 1))
    if follows is not None and "buffer_bytes" in fields and (rivals := rivals_of(machine.array)):
        reason = f"the device's {', '.join(rivals)} say what is read again, so that sizes change the energy alone"
        raise InvalidValueError("--buffer", varied.buffers, "one size", reason=reason)
    if (rate := alone.get("dram_bytes_per_s")) is not None:
        with option_names({"SystolicArray.dram_bytes_per_s": "--bandwidth"}):
            machine = machine._replace(array=adapted_device(machine.array, dram_bytes_per_s=rate))
    return machine, fields, follows


def _sweep(
    network: Network,
    base: SystolicArray,
    request: Request,
    fields: dict[str, Any],
    energy: str | None,
    *,
    skip_unsupported: bool,
) -> Sweep:
    """Runs the sweep, and shows progress if it takes long."""
    from hwcost.cli.sweep_fields import option_of
    from hwcost.sweep import count_points
    from hwcost.sweep import sweep as run_sweep

    space: dict[str, Any] = {"rows": request.rows.array(), "cols": request.cols.array(), "fields": fields,
                             "energy": energy, "base": base, "pe_budget": request.pe_budget}  # fmt: skip
    flows: tuple[str, ...] = (str(base.dataflow),)
    if request.dataflows is not None:
        flows = request.dataflows
    names = _OPTIONS | {name: option_of(name) for name in fields}
    with option_names(names, printable(network.name)), contextlib.ExitStack() as stack:
        points = count_points(dataflows=flows, **space)
        for flow in flows:
            adapted_device(base, dataflow=flow)  # prints which fields have no effect under it
        advance = None
        if points * len(network.priced) >= _LONG:
            from hwcost.cli.shared.progress import progress_of

            advance = stack.enter_context(progress_of(points, "points"))
        stack.enter_context(_chunk_notes(request.keep))
        return run_sweep(
            network,
            dataflows=flows,
            **space,
            figures=("dram_bytes", "sram_bytes")
            if request.with_bytes and not base.has_energy and energy is None
            else None,
            objectives=request.front,
            skip_unsupported=skip_unsupported,
            engine=request.engine,
            jobs=request.jobs,
            keep=request.keep,
            progress=advance,
        )


@contextlib.contextmanager
def _chunk_notes(folder: str | None) -> Iterator[None]:
    """Notes on stderr when a sweep resumes from finished chunks, and where they are if it is interrupted."""
    if folder is not None and os.path.isdir(folder):
        note(f"resuming from the finished chunks in {folder}")
    try:
        yield
    except KeyboardInterrupt:
        if folder is not None and os.path.isdir(folder):
            note(f"finished chunks are in {folder}; run the same command again to resume")
        raise


def _chosen(found: Sweep, top: int | None, *, front_only: bool) -> np.ndarray[Any, Any]:
    """The indices of the points to write: all in order, or the fastest first."""
    import numpy as np

    if front_only:
        front = found.at(found.front)
        return found.front[front.ranked[:top]]
    return np.arange(len(found)) if top is None else found.ranked[:top]
