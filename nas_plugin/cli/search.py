"""``nas-plugin search``."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwcost.cli.shared.values import parse_name
from hwcost.units import CLOCKS, in_unit
from nas_plugin.cli import options
from nas_plugin.cli.options import INTEGER, REAL, array_size, option
from nas_plugin.errors import needs_extra
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.methods.table import LATENCIES, METHODS

if TYPE_CHECKING:
    from nas_plugin.runs.result import Outcome, SearchResult
    from nas_plugin.space.arch_def import ArchDef

__all__ = ["search"]

EXAMPLES = """\b
Examples:
  nas-plugin search --target 0.75 --array 8x8
  nas-plugin search --latency shifted --lambda 0.2 --seed 1 --out runs/shifted
  nas-plugin search --device gemmini --target 0.002ms --data fashion-mnist --images 6000
  nas-plugin search --resume runs/shifted
"""
_METHOD = f"Search method: {', '.join(METHODS)}.  [default: {SearchSettings.method}]"
_LATENCY = f"Latency term of darts, which it selects: {', '.join(LATENCIES)}.  [default: {SearchSettings.latency}]"
STAGES = {"search": "searching", "winner": "training the winner", "reference": "training the reference"}


@click.command(epilog=EXAMPLES)
@option("--array", "ROWSxCOLS", "Rows and columns of the array, like 16x16.  [default: the device's]", array_size)
@option("--method", "NAME", _METHOD, parse_name, METHODS)
@option("--target", "LIMIT", "Limit on the winner: a share of the reference's cycles like 0.75, 2100cycles or 0.002ms.")
@option("--lambda weight", "WEIGHT", "Weight of the latency, reference's cycles = 1.  [default: 0.1]", REAL)
@option("--latency", "NAME", _LATENCY, parse_name, LATENCIES)
@option("--seed", "N", "Seed of everything random.  [default: 0]", INTEGER)
@option("--threads", "N", "Threads of torch; results can depend on them.  [default: 1]", INTEGER)
@options.shared_options
def search(out: Path | None, resume: Path | None, as_json: bool, **given: Any) -> None:
    """Search for a network, and train it.

    The winner and the reference network are trained to completion in the same way. Progress goes to stderr. The result
    goes to stdout and, with weights, log and pictures, into the run folder.
    """
    given = options.given_with(resume, out, given)
    with needs_extra("nas-plugin search"):
        from nas_plugin import api
    with options.of_command_line():
        if resume is not None:
            run, folder = functools.partial(api.resume, resume), resume
        else:
            arch = options.space_on_arrays(given, [given.pop("array")] if "array" in given else [])[0]
            folder = out or _new_folder(arch, given)
            run = functools.partial(api.search, arch_def=arch, out=folder, **given)
        with options.showing("search", folder) as show:

            def progress(stage: str, step: int, steps: int, record: dict[str, Any]) -> None:
                unit = "step" if "part" in record else "epoch"
                show(stage, step, steps, f"{STAGES[stage]}: {unit} {step}/{steps}  {_figures(stage, record)}")

            result = run(progress=progress)
    if as_json:
        click.echo(json.dumps(result.as_dict() | {"run": str(folder)}, indent=2))
    else:
        click.echo("\n".join([*_lines(result), f"Run folder: {folder}"]))


def _new_folder(arch: ArchDef, given: dict[str, Any]) -> Path:
    settings = SearchSettings.for_size(0, **{"data": "", **given, "images": None})
    how = f"{settings.method}-{settings.latency}" if "latency" in settings.method_row.uses else settings.method
    limit = settings.limit.replace(" ", "") if settings.target is None else f"target{settings.target}"
    return options.free_folder(f"{arch.name}-{arch.array.rows}x{arch.array.cols}-{how}-{limit}-seed{settings.seed}")


def _figures(stage: str, record: dict[str, Any]) -> str:
    """The log record of a step for people."""
    if stage != "search":
        return f"loss {record['loss']:.4f}  accuracy on training images {100 * record['train_accuracy']:.1f} %"
    if "entropy" in record:
        latency = f"latency {record['soft_latency']:.3f} soft, {record['exact_latency']:.3f} exact"
        return f"{latency}  entropy {record['entropy']:.2f}  accuracy {100 * record['accuracy']:.1f} %"
    if "losses" in record:
        losses = "  ".join(f"{name} {loss:.3f}" for name, loss in record["losses"].items())
        return f"super-network: loss {losses}  accuracy {100 * record['accuracy']:.1f} %"
    if "scored" in record:
        best = f"best {record['ranked_by']} {record['best_objective']:.4f}"
        return f"scored {record['scored']} of {record['of']} networks  {best}"
    if "tried" in record:
        sizes = "-".join(map(str, record["tried"].values()))
        done = "fine-tuned" if record["part"] == "fine-tuning" else "trained"
        objective = f"{record['ranked_by']} {record['objective']:.4f}"
        return f"{sizes} {done}: {objective}  accuracy {100 * record['accuracy']:.1f} %"
    return "  ".join(f"{name} {value:g}" for name, value in record.items() if isinstance(value, float))


def _lines(result: SearchResult) -> Iterator[str]:
    array = result.arch.array
    yield f"{result.arch.name} on a {array.rows} x {array.cols} {array.dataflow} array, {array.fold_timing} folds"
    others = list(array.as_dict().items())[5:]
    if more := [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in others]:
        yield f"  {', '.join(more)}"
    yield f"\n{'':24}{'winner':>14}{'reference':>14}"
    winner, reference = (_column(result, outcome) for outcome in result.outcomes.values())
    for label, text in winner.items():
        yield f"{label:24}{text:>14}{reference[label]:>14}"
    yield ""
    for name, (before, after) in result.rounded.items():
        yield f"{name} rounded up from {before} to {after} at equal cycles"
    points = 100 * (result.winner.test_accuracy - result.reference.test_accuracy)
    yield f"The winner takes {result.cycles_ratio:.3f} of the reference's cycles at {points:+.1f} points of accuracy."
    if (limit := result.target_cycles) is None:
        return
    target = f"{result.settings.target} = {limit:,.0f} cycles"
    if str(result.settings.target).endswith("ms"):
        target += f" at {in_unit(array.clock_hz, CLOCKS)}"
    share = float(result.cost(result.winner).total.cycles) / limit
    yield f"Target {target}: the winner takes {100 * share:.1f} % of it."
    if result.largest_alphas is not None and result.settings.snaps:
        alphas = f"{result.largest_alphas:.3f} of the reference's cycles"
        yield f"The largest alphas alone take {alphas}; the network is the most probable one within the target."


def _column(result: SearchResult, outcome: Outcome) -> dict[str, str]:
    """What is printed of a network, by label."""
    total, sizes, blocks = result.cost(outcome).total, outcome.choice, result.arch.blocks
    return {
        "widths": "-".join(str(sizes[block.width_decision]) for block in blocks),
        "kernels": ", ".join(str(sizes[block.kernel_decision]) for block in blocks if block.kind.on_maps),
        "test accuracy": f"{100 * outcome.test_accuracy:.1f} %",
        "cycles": f"{total.cycles:,.0f}",
        "utilization": f"{100 * total.utilization:.1f} %",
        "MACs": f"{total.macs:,}",
        "parameters": f"{outcome.network.parameter_count:,}",
    }
