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
from hwcost.units import CLOCKS, in_unit
from nas_plugin.cli import options
from nas_plugin.cli.options import ArraySize, OneOf
from nas_plugin.methods.settings import SearchSettings, method_for
from nas_plugin.methods.table import LATENCIES, METHODS

if TYPE_CHECKING:
    from nas_plugin.api import Progress
    from nas_plugin.runs.result import Outcome, SearchResult
    from nas_plugin.space.arch_def import ArchDef

__all__ = ["search"]

STAGES = {"search": "searching", "winner": "training the winner", "reference": "training the reference"}


@click.command()
@options.data_options
@click.option("--array", type=ArraySize(), help="Rows x columns.  [default: the arch_def's, 16x16]")
@options.accelerator
@click.option("--method", type=OneOf(METHODS), help=f"How to search.  [default: {SearchSettings.method}]")
@click.option("--target", help="Limit: a share of the reference's cycles, as 0.75, or 2100cycles, or 0.002ms.")
@click.option("--lambda", "weight", type=float, help="Weight of the latency; reference's cycles = 1.  [default: 0.1]")
@click.option(
    "--latency",
    type=OneOf(LATENCIES),
    help=f"The term that darts descends; alone it selects darts.  [default: {SearchSettings.latency}]",
)
@options.search_options
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
        options.refuse_with_resume(given | ({} if out is None else {"out": out}))
    with options.needs_extra("nas-plugin search"):
        from nas_plugin import api
    if resume is not None:
        with _showing() as progress, options.resumable("search", resume):
            result = api.resume(resume, progress)
        _print(result, resume, as_json)
        return
    arch, settings = _prepare(given)
    folder = _folder(arch, settings) if out is None else out
    with _showing() as progress, options.resumable("search", folder):
        result = api.run(arch, settings, folder, progress)
    _print(result, folder, as_json)


def _prepare(given: dict[str, Any]) -> tuple[ArchDef, SearchSettings]:
    from nas_plugin.api import prepare

    method = given.get("method", method_for(given))
    options.refuse_unused(given, [method], f"--method {method}")
    if "weight" in given and "target" in given and "weight with a target" not in METHODS[method].uses:
        raise InvalidValueError("--lambda", given["weight"], f"nothing with --target and --method {method}")
    arch = options.set_up_array(given)
    rows, cols = given.pop("array", (arch.array.rows, arch.array.cols))
    with options.of_command_line():
        array = dataclasses.replace(arch.array, rows=rows, cols=cols)
        return prepare(arch, given.pop("data", None), array, given)


def _folder(arch: ArchDef, settings: SearchSettings) -> Path:
    how = f"{settings.method}-{settings.latency}" if settings.method == "darts" else settings.method
    limit = f"lambda{settings.weight:g}" if settings.target is None else f"target{settings.target}"
    return options.free_folder(f"{arch.name}-{arch.array.rows}x{arch.array.cols}-{how}-{limit}-seed{settings.seed}")


# ---------------------------------------------------------------- progress


def _line(stage: str, epoch: int, epochs: int, record: dict[str, Any]) -> str:
    start = f"{STAGES[stage]}: {'epoch' if 'part' not in record else 'step'} {epoch}/{epochs}"
    return f"{start}  {_figures(stage, record)}"


def _figures(stage: str, record: dict[str, Any]) -> str:
    if stage != "search":
        return f"loss {record['loss']:.4f}  accuracy on training images {100 * record['train_accuracy']:.1f} %"
    if "entropy" in record:
        latency = f"latency {record['soft_latency']:.3f} soft, {record['exact_latency']:.3f} exact"
        return f"{latency}  entropy {record['entropy']:.2f}  accuracy {100 * record['accuracy']:.1f} %"
    if "losses" in record:
        losses = "  ".join(f"{name} {loss:.3f}" for name, loss in record["losses"].items())
        return f"super-network: loss {losses}  accuracy at the reference's sizes {100 * record['accuracy']:.1f} %"
    if "scored" in record:
        return f"scored {record['scored']} of {record['of']} networks  best held-out loss {record['held_out_loss']:.4f}"
    if "tried" in record:
        sizes = "-".join(map(str, record["tried"].values()))
        done = "fine-tuned" if record["part"] == "fine-tuning" else "trained"
        return f"{sizes} {done}: held-out loss {record['loss']:.4f}  accuracy {100 * record['accuracy']:.1f} %"
    return "  ".join(f"{name} {value:g}" for name, value in record.items() if isinstance(value, float))


@contextlib.contextmanager
def _showing() -> Iterator[Progress]:
    """Progress on stderr: a bar with the figures on a terminal, one line an epoch elsewhere."""
    if not sys.stderr.isatty():
        yield lambda *epoch: click.echo(_line(*epoch), err=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.fields[stage]:<23}"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, TextColumn("{task.fields[figures]}"), console=console) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, epoch: int, epochs: int, record: dict[str, Any]) -> None:
            figures = _figures(stage, record)
            if stage not in tasks:
                tasks[stage] = bars.add_task("", total=epochs, stage=STAGES[stage], figures=figures)
            bars.update(tasks[stage], completed=epoch, figures=figures)

        yield show


# ---------------------------------------------------------------- the result


def _print(result: SearchResult, folder: Path, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result.as_dict() | {"run": str(folder)}, indent=2))
        return
    array = result.arch.array
    click.echo(f"{result.arch.name} on a {array.rows} x {array.cols} {array.dataflow} array, {array.fold_timing} folds")
    more = [
        f"{name} {value}" if isinstance(value, (str, bool)) else f"{name} {value:g}"
        for name, value in list(array.as_dict().items())[5:]
    ]
    if more:
        click.echo(f"  {', '.join(more)}")
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
    target = f"{settings.target} = {limit:,.0f} cycles"
    if str(settings.target).endswith("ms"):
        target += f" at {in_unit(result.arch.array.clock_hz, CLOCKS)}"
    yield f"Target {target}: the winner takes {100 * float(cycles) / limit:.1f} % of it."
    if result.largest_alphas is not None and settings.snaps:
        yield (
            f"The largest alphas alone take {result.largest_alphas:.3f} of the reference's cycles; the network is the "
            "most probable one within the target."
        )


def _sizes(result: SearchResult, outcome: Outcome) -> str:
    return "-".join(str(outcome.choice[block.width_decision]) for block in result.arch.blocks)


def _kernels(result: SearchResult, outcome: Outcome) -> str:
    return ", ".join(str(outcome.choice[b.kernel_decision]) for b in result.arch.blocks if b.kind.on_maps)


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
