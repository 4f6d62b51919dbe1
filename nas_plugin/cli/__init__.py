"""The command line of the search: ``nas-plugin search``."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwcost import (
    DATAFLOWS,
    FOLD_TIMINGS,
    InvalidValueError,
    MissingDependencyError,
    __version__,
)
from hwcost._arrays import is_real
from hwcost._console import Commands, run_command
from hwcost.presets import read_device

if TYPE_CHECKING:
    from hwcost.presets import DeviceFile
    from nas_plugin.arch_def import ArchDef
    from nas_plugin.result import Outcome, SearchResult
    from nas_plugin.run import Progress
    from nas_plugin.settings import Settings

__all__ = ["group", "main"]

LATENCY_NAMES = ("logistic", "shifted", "generalized", "straight-through", "expectation", "flops")
STAGES = {"search": "searching", "winner": "training the winner", "reference": "training the reference"}


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="nas-plugin", message="%(prog)s %(version)s")
def group() -> None:
    """Searches for networks that are fast on a systolic array."""


class _ArraySize(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on, plain before
    """ROWSxCOLS, as 16x16."""

    name = "rowsxcols"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        rows, cross, cols = str(value).lower().partition("x")
        if not (
            cross
            and all(size.isascii() and size.isdigit() and len(size) < 8 and int(size) > 0 for size in (rows, cols))
        ):
            raise InvalidValueError("--array", value, "ROWSxCOLS, two integers from 1 to 9999999, as 16x16")
        return int(rows), int(cols)


class _OneOf(click.ParamType):  # type: ignore[type-arg]
    """A name of a table."""

    name = "name"

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.names:
            option = "" if param is None else param.opts[0]
            raise InvalidValueError(option, value, f"one of: {', '.join(self.names)}")
        return str(value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(self.names)}]"


@group.command()
@click.option("--arch-def", type=click.Path(path_type=Path), help="Architecture file (TOML).  [default: LeNet]")
@click.option("--data", help="Folder with the four IDX .gz files, or fashion-mnist, or fashion-mnist-cut.")
@click.option("--array", type=_ArraySize(), help="Rows x columns.  [default: the arch_def's, 16x16]")
@click.option("--device", metavar="NAME|FILE", help="A device that hwcost devices lists, or its TOML file.")
@click.option("--dataflow", type=_OneOf(DATAFLOWS), help="[default: the device's or arch_def's, ws]")
@click.option("--fold-timing", type=_OneOf(FOLD_TIMINGS), help="[default: the device's or arch_def's, ideal]")
@click.option("--lambda", "weight", type=float, help="Weight of the latency; reference's cycles = 1.  [default: 0.1]")
@click.option("--latency", type=_OneOf(LATENCY_NAMES), help="The latency term.  [default: shifted]")
@click.option("--epochs", type=int, help="Of the search.  [default: by number of images]")
@click.option("--train-epochs", type=int, help="Of winner and reference.  [default: by number of images]")
@click.option("--seed", type=int, help="Of everything random.  [default: 0]")
@click.option("--threads", type=int, help="That torch may use; results can depend on it.  [default: 1]")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder.  [default: a new one in runs/]")
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with the run in this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def search(out: Path | None, resume: Path | None, as_json: bool, **options: Any) -> None:
    """Search, then train the winner and the reference LeNet-5 to completion.

    Progress goes to stderr; the result goes to stdout and, with weights, log and pictures, into the run folder.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if resume is not None:
        _refuse_beside_resume(given | ({} if out is None else {"out": out}))
    try:
        from nas_plugin import api
        from nas_plugin.run import RunFolder, execute
    except ModuleNotFoundError as error:
        raise MissingDependencyError(str(error.name), "nas", "nas-plugin search") from None
    if resume is not None:
        with _showing() as progress, _resumable(resume):
            result = api.resume(resume, progress)
        _print(result, resume, as_json)
        return
    arch, settings = _prepare(given)
    folder = RunFolder(_free_folder(arch, settings) if out is None else out)
    folder.create(arch, settings)
    with _showing() as progress, _resumable(folder.path):
        result = execute(arch, settings, folder, progress)
    _print(result, folder.path, as_json)


def _refuse_beside_resume(given: dict[str, Any]) -> None:
    for name, value in given.items():
        option = {"weight": "--lambda"}.get(name, f"--{name.replace('_', '-')}")
        raise InvalidValueError(option, str(value), "nothing beside --resume: a run keeps its settings")


def _prepare(given: dict[str, Any]) -> tuple[ArchDef, Settings]:
    from nas_plugin.api import prepare
    from nas_plugin.arch_def import load_arch_def

    arch = load_arch_def(given.pop("arch_def", None))
    if "device" in given:
        device = read_device(given.pop("device"), field="--device")
        arch = dataclasses.replace(arch, array=device.array)
        _say_extrapolation(arch, device)
    rows, cols = given.pop("array", (arch.array.rows, arch.array.cols))
    changes = {name: given.pop(name) for name in ("dataflow", "fold_timing") if name in given}
    try:
        array = dataclasses.replace(arch.array, rows=rows, cols=cols, **changes)
        return prepare(arch, given.pop("data", None), array, given)
    except InvalidValueError as error:
        field = {"weight": "lambda", "SystolicArray.rows": "array", "SystolicArray.cols": "array"}.get(error.field)
        raise InvalidValueError(f"--{field or error.field.replace('_', '-')}", error.value, error.allowed) from None


def _say_extrapolation(arch: ArchDef, device: DeviceFile) -> None:
    """Says where the reference network has sizes that a calibrated device was not fitted to."""
    for name, layer in arch.space.at(arch.reference).items():
        for gemm in layer.gemms():
            for sentence in device.beyond(gemm.m, gemm.n, gemm.k, gemm.count):
                click.echo(f"Note: an extrapolation in {name}: {sentence}", err=True)


def _free_folder(arch: ArchDef, settings: Settings) -> Path:
    """runs/NAME, or the first of NAME-2, NAME-3, ... that is not there."""
    size = f"{arch.array.rows}x{arch.array.cols}"
    name = f"{arch.name}-{size}-{settings.latency}-lambda{settings.weight:g}-seed{settings.seed}"
    folder, number = Path("runs") / name, 1
    while folder.exists():
        number += 1
        folder = Path("runs") / f"{name}-{number}"
    return folder


@contextlib.contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"Stopped. Go on with: nas-plugin search --resume {folder}", err=True)
        raise


# ---------------------------------------------------------------- progress


def _line(stage: str, epoch: int, epochs: int, record: dict[str, Any]) -> str:
    start = f"{STAGES[stage]}: epoch {epoch}/{epochs}"
    if stage == "search":
        return (
            f"{start}  latency {record['soft_latency']:.3f} soft, {record['exact_latency']:.3f} exact"
            f"  entropy {record['entropy']:.2f}  accuracy {100 * record['accuracy']:.1f} %"
        )
    return f"{start}  loss {record['loss']:.4f}  accuracy on training images {100 * record['train_accuracy']:.1f} %"


@contextlib.contextmanager
def _showing() -> Iterator[Progress]:
    """Progress on stderr: a bar with the numbers on a terminal, one line an epoch elsewhere."""
    if not sys.stderr.isatty():
        yield lambda *epoch: click.echo(_line(*epoch), err=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.fields[stage]:<23}"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, TextColumn("{task.fields[numbers]}"), console=console) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, epoch: int, epochs: int, record: dict[str, Any]) -> None:
            numbers = _line(stage, epoch, epochs, record).split("  ", 1)[1]
            if stage not in tasks:
                tasks[stage] = bars.add_task("", total=epochs, stage=STAGES[stage], numbers=numbers)
            bars.update(tasks[stage], completed=epoch, numbers=numbers)

        yield show


# ---------------------------------------------------------------- the result


def _print(result: SearchResult, folder: Path, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result.as_dict() | {"run": str(folder)}, indent=2))
        return
    array = result.arch.array
    click.echo(f"{result.arch.name} on a {array.rows} x {array.cols} {array.dataflow} array, {array.fold_timing} folds")
    if more := list(array.as_dict().items())[5:]:
        click.echo(
            "  " + ", ".join(f"{name} {value:g}" if is_real(value) else f"{name} {value}" for name, value in more)
        )
    click.echo()
    click.echo(f"{'':24}{'winner':>14}{'reference':>14}")
    for label, value in _ROWS:
        click.echo(f"{label:24}{value(result, result.winner):>14}{value(result, result.reference):>14}")
    click.echo()
    for name, (before, after) in result.rounded.items():
        click.echo(f"{name} rounded up from {before} to {after} at equal cycles")
    ratio = result.cycles_ratio
    points = 100 * (result.winner.test_accuracy - result.reference.test_accuracy)
    click.echo(f"The winner takes {ratio:.3f} of the reference's cycles at {points:+.1f} points of accuracy.")
    click.echo(f"Run folder: {folder}")


def _sizes(result: SearchResult, outcome: Outcome) -> str:
    return "-".join(str(outcome.choice[block.width_decision]) for block in result.arch.blocks)


def _kernels(result: SearchResult, outcome: Outcome) -> str:
    blocks = (block for block in result.arch.blocks if block.kind == "conv")
    return ", ".join(str(outcome.choice[block.kernel_decision]) for block in blocks)


def _thousands(cycles: float) -> str:
    return f"{cycles:,}" if isinstance(cycles, int) else f"{cycles:,.0f}"


_ROWS = (
    ("widths", _sizes),
    ("kernels", _kernels),
    ("test accuracy", lambda result, outcome: f"{100 * outcome.test_accuracy:.1f} %"),
    ("cycles", lambda result, outcome: _thousands(result.cost(outcome).total.cycles)),
    ("utilization", lambda result, outcome: f"{100 * result.cost(outcome).total.utilization:.1f} %"),
    ("MACs", lambda result, outcome: f"{result.cost(outcome).total.macs:,}"),
    ("parameters", lambda result, outcome: f"{outcome.network.parameter_count:,}"),
)


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command line on ``args`` (those of the process by default) and returns its exit code."""
    return run_command(group, "nas-plugin", args)
