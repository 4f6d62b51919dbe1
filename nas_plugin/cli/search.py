"""``nas-plugin search``."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwcost import InvalidValueError
from hwcost.cli.shared.networks import INPUT
from hwcost.cli.shared.options import TORCH_DEVICE, option
from hwcost.cli.shared.outputs import free_folder
from hwcost.cli.shared.progress import showing
from hwcost.cli.shared.values import INTEGER, REAL, parse_array, parse_member, parse_name, parse_share
from hwcost.errors import needs_extra
from nas_plugin.cli import options
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.methods.table import LATENCIES, METHODS

if TYPE_CHECKING:
    from nas_plugin.space.arch_def import ArchDef

__all__ = ["search"]

EXAMPLES = """\b
Examples:
  nas-plugin search --target 0.75 --array 8x8
  nas-plugin search --latency shifted --lambda 0.2 --seed 1 --out runs/shifted
  nas-plugin search --device gemmini --target 0.002ms --data fashion-mnist --images 6000
  nas-plugin search --resume runs/shifted
  nas-plugin search net.py:Net --weights w.safetensors --data photos --input 1,3,32,32 --array 16x16 --target 0.5
  nas-plugin search net.py:Net --method one-shot --data net.py:set --input 1,3,8,8 --array 8x8 --target 0.8 --target 0.5
"""
_METHOD = f"Search method: {', '.join(METHODS)}.  [default: {SearchSettings.method}]"
_TARGET = (
    "Limit on the winner: a share of the reference's cycles like 0.75, 2100cycles or 0.002ms. "
    "Can be repeated for FILE.py:NAME."
)
_LATENCY = f"Latency term of darts, which it selects: {', '.join(LATENCIES)}.  [default: {SearchSettings.latency}]"
FINALS = {"fine-tuning": "fine-tuned ", "trial": "from scratch ", "random": ""}
"""How the networks of a final, or of no search, were trained: only losses of one way are compared."""
STAGES = {"search": "searching", "winner": "training the winner", "reference": "training the reference"}


_OF_NETWORK = ("inputs", "weights", "held_out", "keep", "least", "multiple", "torch_device")
_OF_LENET = ("arch_def", "images", "utilization", "weight", "latency", "finalists")


@click.command(epilog=EXAMPLES)
@click.argument("source", metavar="[FILE.py:NAME]", required=False)
@INPUT
@option("--weights", "FILE.safetensors", "The trained weights of FILE.py:NAME.")
@option("--held-out", "FILE.py:NAME", "Batches to measure on.  [default: a tenth of the data]")
@option("--keep", "NAME", "A width, or a module, that stays. Can be repeated.", multiple=True)
@option("--least", "SHARE", "Keep at least this share of each width.  [default: 0.25, or 0 with prune]", parse_share)
@option("--multiple", "N", "Take only widths that are multiples of N.  [default: 1]", INTEGER)
@TORCH_DEVICE
@option("--array", "ROWSxCOLS", "Rows and columns of the array, like 16x16.  [default: the device's]", parse_array)
@option("--method", "NAME", _METHOD, parse_name, METHODS)
@option("--target", "LIMIT", _TARGET, multiple=True)
@option("--lambda weight", "WEIGHT", "Weight of the latency, reference's cycles = 1.  [default: 0.1]", REAL)
@option("--latency", "NAME", _LATENCY, parse_name, LATENCIES)
@option("--seed", "N", "Seed of everything random.  [default: 0]", INTEGER)
@option("--threads", "N", "Threads of torch; results can depend on them.  [default: 1]", INTEGER)
@options.shared_options
def search(source: str | None, out: Path | None, resume: Path | None, as_json: bool, **given: Any) -> None:
    """Search for a network, and train it.

    Without FILE.py:NAME a LeNet is found; the winner and the reference network are trained to completion in the same
    way. With it, the widths of your own PyTorch module are: by prune (the default), one-shot or darts, within each
    target, and the networks found are fine-tuned; --data is a folder with a folder of images for each class, or
    FILE.py:NAME of a data set or loader. Python files are run.

    Progress goes to stderr. The result goes to stdout and, with weights, log and pictures, into the run folder.
    """
    given = options.given_with(resume, out, {name: None if value == () else value for name, value in given.items()})
    _check_options(source, given, resume)
    if source is not None:
        with needs_extra("nas", "nas-plugin search"):
            from nas_plugin.cli.network import search_network
        search_network(source, given, out, as_json=as_json)
        return
    given |= {"target": given["target"][0]} if "target" in given else {}
    with needs_extra("nas", "nas-plugin search"):
        from nas_plugin import api
    with options.of_command_line():
        if resume is not None:
            run, folder = functools.partial(api.resume, resume), resume
        else:
            arch = options.space_on_arrays(given, [given.pop("array")] if "array" in given else [])[0]
            folder = out or _new_folder(arch, given)
            run = functools.partial(api.search, arch_def=arch, out=folder, **given)
        with showing(f"Stopped. Go on with: nas-plugin search --resume {folder}") as show:

            def progress(stage: str, step: int, steps: int, record: dict[str, Any]) -> None:
                unit = "step" if "part" in record else "epoch"
                show(stage, step, steps, f"{STAGES[stage]}: {unit} {step}/{steps}  {_figures(stage, record)}")

            result = run(progress=progress)
    if as_json:
        click.echo(json.dumps(result.as_dict() | {"run": str(folder)}, indent=2))
    else:
        click.echo("\n".join([*result.lines(), f"Run folder: {folder}"]))


def _check_options(source: str | None, given: dict[str, Any], resume: Path | None) -> None:
    """Raises if an option does not go with a network of the user's own, or needs one."""
    refused: tuple[str, ...] = _OF_NETWORK
    reason = "there is no FILE.py:NAME"
    if source is not None:
        parse_member("network", source)
        refused, reason = _OF_LENET, f"it is for LeNet, not for {source}"
        if resume is not None:
            raise InvalidValueError("--resume", str(resume), f"run the same command again with --out {resume}")
    elif len(given.get("target", ())) > 1:
        raise InvalidValueError("--target", ", ".join(given["target"]), "one limit; nas-plugin sweep takes several")
    for name in refused:
        if name in given:
            option = {"inputs": "input", "weight": "lambda"}.get(name, name.replace("_", "-"))
            raise InvalidValueError(f"--{option}", given[name], "leave it out", reason=reason)


def _new_folder(arch: ArchDef, given: dict[str, Any]) -> Path:
    settings = SearchSettings.for_size(0, **{"data": "", **given, "images": None})
    how = f"{settings.method}-{settings.latency}" if "latency" in settings.method_row.uses else settings.method
    limit = settings.limit.replace(" ", "") if settings.target is None else f"target{settings.target}"
    return free_folder(f"{arch.name}-{arch.array.rows}x{arch.array.cols}-{how}-{limit}-seed{settings.seed}")


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
        best = f"best {FINALS[record['part']]}so far {record['best_objective']:.4f}"
        return f"{sizes} {done}: {objective}  accuracy {100 * record['accuracy']:.1f} %  {best}"
    return "  ".join(f"{name} {value:g}" for name, value in record.items() if isinstance(value, float))
