"""``nas-plugin search``."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwcost import InvalidValueError
from hwcost.arrays import is_real
from nas_plugin.cli import options
from nas_plugin.cli.options import ArraySize, OneOf

if TYPE_CHECKING:
    from nas_plugin.arch_def import ArchDef
    from nas_plugin.result import Outcome, SearchResult
    from nas_plugin.run import Progress
    from nas_plugin.settings import Settings

__all__ = ["search"]

STAGES = {"search": "searching", "winner": "training the winner", "reference": "training the reference"}


@click.command()
@options.data_options
@click.option("--array", type=ArraySize(), help="Rows x columns.  [default: the arch_def's, 16x16]")
@options.accelerator
@click.option("--method", type=OneOf(options.METHOD_NAMES), help="How a network is found.  [default: one-shot]")
@click.option("--target", help="At most so much of the reference's cycles, as 0.75, or 2100cycles, or 0.002ms.")
@click.option("--lambda", "weight", type=float, help="Weight of the latency; reference's cycles = 1.  [default: 0.1]")
@click.option(
    "--latency",
    type=OneOf(options.LATENCY_NAMES),
    help="What darts descends; alone it asks for darts.  [default: expectation]",
)
@click.option("--utilization", type=float, help="Weight of 1 - utilization in darts, as --latency.  [default: 0]")
@click.option("--epochs", type=int, help="Of the search.  [default: by method and number of images]")
@click.option("--train-epochs", type=int, help="Of winner, reference, last finalists.  [default: by number of images]")
@click.option("--candidates", type=int, help="Networks that one-shot scores.  [default: 100]")
@click.option("--finalists", type=int, help="The best of them, which come to the finals; 1 for none.  [default: 8]")
@click.option("--seed", type=int, help="Of everything random.  [default: 0]")
@click.option("--threads", type=int, help="That torch may use; results can depend on it.  [default: 1]")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder.  [default: a new one in runs/]")
@click.option("--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with the run in this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def search(out: Path | None, resume: Path | None, as_json: bool, **given: Any) -> None:
    """Search, then train the winner and the reference LeNet-5 to completion.

    Progress goes to stderr; the result goes to stdout and, with weights, log and pictures, into the run folder.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if resume is not None:
        options.refuse_beside_resume(given | ({} if out is None else {"out": out}))
    with options.needs_extra("nas-plugin search"):
        from nas_plugin import api
        from nas_plugin.run import RunFolder, execute
    if resume is not None:
        with _showing() as progress, options.resumable("search", resume):
            result = api.resume(resume, progress)
        _print(result, resume, as_json)
        return
    arch, settings = _prepare(given)
    folder = RunFolder(_free_folder(arch, settings) if out is None else out)
    folder.create(arch, settings)
    with _showing() as progress, options.resumable("search", folder.path):
        result = execute(arch, settings, folder, progress)
    _print(result, folder.path, as_json)


def _refuse_what_does_nothing(given: dict[str, Any]) -> None:
    from nas_plugin.settings import method_for

    method = given.get("method", method_for(given))
    options.refuse_what_does_nothing(given, [method], f"--method {method}")
    if "weight" in given and "target" in given and method != "darts":
        raise InvalidValueError("--lambda", given["weight"], f"nothing beside --target with --method {method}")


def _prepare(given: dict[str, Any]) -> tuple[ArchDef, Settings]:
    from nas_plugin.api import prepare

    _refuse_what_does_nothing(given)
    arch = options.set_up_array(given)
    rows, cols = given.pop("array", (arch.array.rows, arch.array.cols))
    with options.of_command_line():
        array = dataclasses.replace(arch.array, rows=rows, cols=cols)
        return prepare(arch, given.pop("data", None), array, given)


def _free_folder(arch: ArchDef, settings: Settings) -> Path:
    """runs/NAME, or the first of NAME-2, NAME-3, ... that is not there."""
    size = f"{arch.array.rows}x{arch.array.cols}"
    how = f"{settings.method}-{settings.latency}" if settings.method == "darts" else settings.method
    limit = f"lambda{settings.weight:g}" if settings.target is None else f"target{settings.target}"
    name = f"{arch.name}-{size}-{how}-{limit}-seed{settings.seed}"
    folder, number = Path("runs") / name, 1
    while folder.exists():
        number += 1
        folder = Path("runs") / f"{name}-{number}"
    return folder


# ---------------------------------------------------------------- progress


def _line(stage: str, epoch: int, epochs: int, record: dict[str, Any]) -> str:
    start = f"{STAGES[stage]}: {'epoch' if 'part' not in record else 'step'} {epoch}/{epochs}"
    return f"{start}  {_NUMBERS[record.get('part', stage)](record)}"


def _of_darts(record: dict[str, Any]) -> str:
    return (
        f"latency {record['soft_latency']:.3f} soft, {record['exact_latency']:.3f} exact"
        f"  entropy {record['entropy']:.2f}  accuracy {100 * record['accuracy']:.1f} %"
    )


def _of_training(record: dict[str, Any]) -> str:
    return f"loss {record['loss']:.4f}  accuracy on training images {100 * record['train_accuracy']:.1f} %"


def _of_super_network(record: dict[str, Any]) -> str:
    losses = "  ".join(f"{name} {loss:.3f}" for name, loss in record["losses"].items())
    return f"super-network: loss {losses}  accuracy at the reference's sizes {100 * record['accuracy']:.1f} %"


def _of_scores(record: dict[str, Any]) -> str:
    return f"scored {record['scored']} of {record['of']} networks  best held-out loss {record['held_out_loss']:.4f}"


def _of_trial(record: dict[str, Any]) -> str:
    sizes = "-".join(map(str, record["tried"].values()))
    done = "fine-tuned" if record["part"] == "fine-tuning" else "trained"
    return f"{sizes} {done}: held-out loss {record['loss']:.4f}  accuracy {100 * record['accuracy']:.1f} %"


_NUMBERS = {
    "search": _of_darts,
    "winner": _of_training,
    "reference": _of_training,
    "super-network": _of_super_network,
    "scores": _of_scores,
    "fine-tuning": _of_trial,
    "trial": _of_trial,
    "random": _of_trial,
}


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
    for line in _of_target(result):
        click.echo(line)
    click.echo(f"Run folder: {folder}")


def _of_target(result: SearchResult) -> Iterator[str]:
    limit, settings = result.target_cycles, result.settings
    if limit is None:
        return
    cycles = result.cost(result.winner).total.cycles
    asked = f"{settings.target} = {limit:,.0f} cycles"
    if str(settings.target).endswith("ms"):
        asked += f" at {result.arch.array.clock_hz / 1e9:g} GHz"
    yield f"Target {asked}: the winner takes {100 * float(cycles) / limit:.1f} % of it."
    if result.largest_alphas is not None and settings.snaps:
        yield (
            f"The largest alphas alone take {result.largest_alphas:.3f} of the reference's cycles; the network is the "
            "most probable one within the target."
        )


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
