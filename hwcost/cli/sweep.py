"""``hwcost sweep``: a network on every array of a design space."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from hwcost.cli.shared.networks import model_options, read_array, read_model
from hwcost.cli.shared.values import INT64_MAX, allowed_sizes, check_outputs, parse_sizes
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.machine.dataflow import DATAFLOWS, FOLD_TIMINGS

if TYPE_CHECKING:
    import numpy as np

    from hwcost.devices import DeviceFile
    from hwcost.network.network import Network
    from hwcost.sweep import Sweep

__all__ = ["sweep"]

_EXAMPLES = """\b
Examples:
  hwcost sweep net.onnx --rows 8:256 --cols 8:256 --dataflow ws,os,is --pe-budget 65536 --plot heat.png
  hwcost sweep net.py:Net --input 1,3,224,224 --rows 8:128:8 --cols 8:128:8 --device tpu-v1 --front-only --csv
  hwcost sweep net.csv --rows 1:1024 --cols 1:1024 -o points.csv --engine dask://10.0.0.1:8786
"""

_TOP = 20
_LONG, _VERY_LONG = 5_000_000, 100_000_000
"""Layers times points from which on it is said how far a sweep has come: on a terminal, and anywhere."""
_OPTIONS = {
    "rows": "--rows",
    "cols": "--cols",
    "the number of rows": "--rows",
    "the number of cols": "--cols",
    "dataflows": "--dataflow",
    "pe_budget": "--pe-budget",
    "engine": "--engine",
    "jobs": "--jobs",
    "keep": "--out",
}


@dataclass(frozen=True)
class Request:
    """What the options say, besides the network and the array.

    Attributes:
        rows, cols: sizes in PEs, as typed.
        dataflows: names; None for that of the base.
        pe_budget: the most PEs; None where nothing limits them.
        top: how many points to show; None where it was not said.
        front_only: leave out what is not on the front.
        out: the file to write; None where there is none.
        engine, jobs: where chunks run.
    """

    rows: str
    cols: str
    dataflows: tuple[str, ...] | None
    pe_budget: int | None
    top: int | None
    front_only: bool
    out: str | None
    engine: str
    jobs: int | None

    @property
    def keep(self) -> str | None:
        """The folder for finished chunks, beside the file."""
        return None if self.out is None else f"{self.out}.chunks"


@click.command(short_help="A network on every array of a design space.", epilog=_EXAMPLES)
@click.argument("source", metavar="MODEL")
@model_options
@click.option("--rows", "--s1", "rows", metavar="SIZES", required=True, help="Rows, like 8:256, 8:256:8 or 8,16,32.")
@click.option("--cols", "--s2", "cols", metavar="SIZES", required=True, help="Columns, likewise.")
@click.option(
    "--dataflow",
    "dataflows",
    metavar="NAMES",
    help=f"Some of {', '.join(DATAFLOWS)}, with commas.  [default: the device's, or ws]",
)
@click.option("--pe-budget", metavar="N", help="Leave out arrays of more processing elements.")
@click.option("--device", metavar="NAME|FILE", help="Take all but rows and columns from this device.")
@click.option(
    "--fold-timing",
    metavar="NAME",
    help=f"One of: {', '.join(FOLD_TIMINGS)}.  [default: the device's, or ideal]",
)
@click.option("--clock", metavar="FREQUENCY", help="Like 1e9 or 700MHz.  [default: the device's, or 1GHz]")
@click.option("--skip-unsupported", is_flag=True, help="Leave out operations that cannot be priced, and name them.")
@click.option(
    "--top", metavar="N", help=f"Only the N fastest points, in files too.  [default: all; {_TOP} of the front as text]"
)
@click.option("--front-only", is_flag=True, help="Only the points that no other beats, in files too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values with a header.")
@click.option("-o", "--out", metavar="FILE", help="Write the points: .csv or .json; a sweep that broke off goes on.")
@click.option("--plot", "picture", metavar="FILE", help="Draw a map of rows x columns: .png, .svg or .pdf.")
@click.option(
    "--engine",
    default="serial",
    show_default=True,
    metavar="NAME",
    help="Where it runs: serial, processes or dask://ADDRESS.",
)
@click.option("--jobs", metavar="N", help="Processes, with --engine processes.  [default: one for each core]")
def sweep(
    *,
    source: str,
    inputs: tuple[str, ...],
    dims: tuple[str, ...],
    device: str | None,
    fold_timing: str | None,
    clock: str | None,
    skip_unsupported: bool,
    as_json: bool,
    as_csv: bool,
    picture: str | None,
    **options: Any,
) -> None:
    """Time and utilization of a network on every array of so many rows and columns, and which of them no other beats.

    MODEL is what hwcost model takes. Rows and columns replace those of a device; its bandwidths and constants stay.
    """
    from hwcost.cli.shared.summaries import check_picture, say_extrapolation, written
    from hwcost.cli.sweep_output import Context, as_csv_blocks, as_json_blocks, as_text, say_missing

    if as_json and as_csv:
        raise click.UsageError("--csv is given; allowed: not together with --json")
    request = _request(**options)
    check_picture("--plot", picture)
    _check_out(request.out)
    check_outputs([source], {"--plot": picture, "--out": request.out})
    size = "1" if device is None else None
    base, file = read_array(device, size, size, None, fold_timing, clock)
    network = read_model(source, inputs, dims)
    found = _swept(network, base, request, skip_unsupported=skip_unsupported)
    context = Context(network, source, file, found)
    if request.out is not None:
        _write(request.out, context, _chosen(found, request))
    if as_json or as_csv:
        for block in (as_json_blocks if as_json else as_csv_blocks)(context, _chosen(found, request)):
            click.echo(block, nl=False)
    else:
        click.echo(as_text(context, top=request.top, most=_TOP, front_only=request.front_only))
    say_extrapolation(network, file)
    _say_other_sizes(file, found)
    say_missing(network)
    if picture is not None:
        written("--plot", picture, lambda path: _draw(path, context))
    _forget(request.keep)


def _request(
    *,
    rows: str,
    cols: str,
    dataflows: str | None,
    pe_budget: str | None,
    top: str | None,
    front_only: bool,
    out: str | None,
    engine: str,
    jobs: str | None,
) -> Request:
    numbers = {"--pe-budget": pe_budget, "--top": top, "--jobs": jobs}
    budget, most, processes = (None if text is None else _integer(name, text) for name, text in numbers.items())
    names = None if dataflows is None else tuple(name.strip() for name in dataflows.split(","))
    return Request(rows, cols, names, budget, most, front_only, out, engine, processes)


def _integer(option: str, text: str) -> int:
    sizes = parse_sizes(option, text)
    if sizes.is_sweep:
        raise InvalidValueError(option, text, "one integer of at least 1")
    return sizes.number


def _sizes(option: str, text: str) -> np.ndarray[Any, Any]:
    from hwcost.sweep import MOST_POINTS

    sizes = parse_sizes(option, text)
    if sizes.largest > INT64_MAX:
        raise InvalidValueError(option, text, f"{allowed_sizes(1)}, up to {INT64_MAX}")
    if sizes.count > MOST_POINTS:
        raise InvalidValueError(option, text, f"at most {MOST_POINTS} sizes")
    return sizes.array()


def _swept(network: Network, base: SystolicArray, request: Request, *, skip_unsupported: bool) -> Sweep:
    """The sweep, with a word on how far it has come where it takes long.

    Raises:
        InvalidValueError: what cannot be swept, in the words of the command line.
    """
    from hwcost.cli.shared.tables import printable
    from hwcost.sweep import count_points
    from hwcost.sweep import sweep as swept

    rows, cols = _sizes("--rows", request.rows), _sizes("--cols", request.cols)
    flows = request.dataflows or (base.dataflow,)
    with _in_words(printable(network.name)), contextlib.ExitStack() as stack:
        points = count_points(rows, cols, flows, request.pe_budget)
        advance = None
        if (size := points * len(network.priced)) >= _LONG:
            from hwcost.cli.shared.progress import progress_of

            advance = stack.enter_context(progress_of(points, "points", only_on_terminals=size < _VERY_LONG))
        stack.enter_context(_saying_what_is_kept(request.keep))
        return swept(
            network,
            rows=rows,
            cols=cols,
            dataflows=flows,
            base=base,
            pe_budget=request.pe_budget,
            skip_unsupported=skip_unsupported,
            engine=request.engine,
            jobs=request.jobs,
            keep=request.keep,
            progress=advance,
        )


@contextlib.contextmanager
def _in_words(name: str) -> Iterator[None]:
    """Names the options where an error names the arguments of the function behind them."""
    try:
        yield
    except InvalidValueError as error:
        allowed = error.allowed.replace("skip_unsupported=True", "--skip-unsupported")
        field = f"{error.field} in {name}" if allowed != error.allowed else _OPTIONS.get(error.field, error.field)
        raise InvalidValueError(field, error.value, allowed) from None


@contextlib.contextmanager
def _saying_what_is_kept(folder: str | None) -> Iterator[None]:
    """Says where finished chunks are, when a sweep goes on from them and when it is broken off."""
    if folder is not None and os.path.isdir(folder):
        click.echo(f"Note: goes on with the finished chunks in {folder}", err=True)
    try:
        yield
    except KeyboardInterrupt:
        if folder is not None and os.path.isdir(folder):
            click.echo(f"Note: finished chunks are in {folder}; the same command goes on from there", err=True)
        raise


def _chosen(found: Sweep, request: Request) -> np.ndarray[Any, Any]:
    """The indices of the points to write: those asked for, from the fastest on where they are not all."""
    import numpy as np

    if request.top is None and not request.front_only:
        return np.arange(len(found))
    if request.front_only:
        front = found.at(found.front)
        return found.front[front.ranked[: request.top]]
    return found.ranked[: request.top]


# ---------------------------------------------------------------- files


def _check_out(path: str | None) -> None:
    """Raises before any work where a file cannot become what it is to be."""
    if path is None:
        return
    if not path.lower().endswith((".csv", ".json")):
        raise InvalidValueError("--out", path, "a file name ending in .csv or .json")
    if os.path.exists(path) and not os.path.isfile(path):
        raise InvalidValueError("--out", path, "a file that can be written (it is not a regular file)")
    if not os.path.isdir(os.path.dirname(os.path.realpath(path))):
        raise InvalidValueError("--out", path, "a file in a folder that exists")


def _write(path: str, context: Any, chosen: np.ndarray[Any, Any]) -> None:
    from hwcost.cli.shared.summaries import written
    from hwcost.cli.sweep_output import as_csv_blocks, as_json_blocks
    from hwcost.files import write_whole

    blocks = (as_csv_blocks if path.lower().endswith(".csv") else as_json_blocks)(context, chosen)
    written("--out", path, lambda path: write_whole(path, (block.encode() for block in blocks)))


def _forget(folder: str | None) -> None:
    """Removes finished chunks, once all that was made of them is written."""
    if folder is not None:
        import shutil

        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)


def _draw(path: str, context: Any) -> None:
    import numpy as np

    from hwcost.plot import save
    from hwcost.plot.sweep import sweep_figure

    found = context.found
    flows = np.asarray([DATAFLOWS[name].summary for name in found.dataflows])[found.flow]
    columns = (found.rows, found.cols, flows, found.seconds, found.utilization)
    save(sweep_figure(*columns, found.front, pe_budget=found.pe_budget, title=context.title), path)


def _say_other_sizes(file: DeviceFile | None, found: Sweep) -> None:
    """Says on stderr where a calibrated device was swept over sizes that nobody measured."""
    if file is None or file.fit is None:
        return
    rows, cols = file.array.rows, file.array.cols
    if bool(((found.rows != rows) | (found.cols != cols)).any()):
        click.echo(
            f"Note: {file.name} was measured at {rows} x {cols}; at other sizes its bandwidths and constants are an "
            "assumption",
            err=True,
        )
