"""``nas-plugin search``."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwcost import InvalidValueError
from hwcost.cli.shared.networks import INPUT
from hwcost.cli.shared.options import TORCH_DEVICE, option
from hwcost.cli.shared.outputs import free_folder
from hwcost.cli.shared.progress import showing, waiting
from hwcost.cli.shared.values import (
    parse_array,
    parse_file,
    parse_member,
    parse_name,
    parse_object,
    parse_share,
    parse_size,
)
from hwcost.console import checked
from hwcost.errors import MISSING, Faults, check_all, needs_extra
from hwcost.files import unusable
from hwcost.importers.sources import check_member
from hwcost.importers.written_inputs import NEEDS_INPUT
from nas_plugin.cli import options
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.methods.table import LATENCIES, METHODS
from nas_plugin.runs.settings import FILE, another_folder
from nas_plugin.sources import CUT, FULL

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


OWN_METHODS = ("prune", "one-shot", "darts")
"""The methods for a network of the user's own: those of :data:`hwcost.pruning.within.EPOCHS`, which loads torch."""
_OF_NETWORK = ("inputs", "weights", "held_out", "keep", "least", "multiple", "torch_device")
_OF_LENET = ("arch_def", "images", "utilization", "weight", "latency", "finalists")


def _refuse(known: Mapping[str, Any], names: Sequence[str], reason: str) -> None:
    check_all(
        InvalidValueError(options.option_name(name), known[name], "leave it out", reason=reason)
        for name in names
        if known.get(name) not in (None, ())
    )


def _check_lenet(known: Mapping[str, Any]) -> None:
    """Raises what is wrong with a search for a LeNet."""
    if known.get("source") is not None or known.get("resume") is not None:
        return
    faults, targets = Faults(), known.get("target") or ()
    with faults.caught():
        _refuse(known, _OF_NETWORK, "there is no FILE.py:NAME")
    if len(targets) > 1:
        allowed = "one limit; nas-plugin sweep takes several"
        faults.add(InvalidValueError("--target", ", ".join(targets), allowed))
    with faults.caught():
        options.check_images(known.get("data"))
    with faults.caught():
        options.check_folder(known.get("out"), None)
    with faults.caught(), options.of_command_line():
        settings = options.settings_in(known)
        if settings is not None:
            SearchSettings.for_size(0, **settings | {"target": targets[0] if targets else None}, data="")
    faults.check()


def _check_network(known: Mapping[str, Any]) -> None:
    """Raises what is wrong with a search for the widths of a network of the user's own."""
    source, faults = known.get("source"), Faults()
    if source is None:
        return
    path, name = parse_member("network", source)
    with faults.caught():
        check_member(path, name, "the network's file", "network")
    with faults.caught():
        _refuse(known, _OF_LENET, f"it is for LeNet, not for {source}")
    if known.get("method") not in (None, *OWN_METHODS):
        allowed = f"with a network of your own, one of: {', '.join(OWN_METHODS)}"
        faults.add(InvalidValueError("--method", known["method"], allowed))
    if (resume := known.get("resume")) is not None:
        allowed = f"run the same command again with --out {resume}"
        faults.add(InvalidValueError("--resume", str(resume), allowed))
    if (out := known.get("out")) is not None and os.path.isfile(os.path.join(out, FILE)):
        reason = f"{out} holds a search for a LeNet, or a sweep"
        faults.add(InvalidValueError("--out", str(out), another_folder(out), reason=reason))
    for needs, names, needed in (
        ("--input", ("inputs",), NEEDS_INPUT),
        ("--target", ("target",), "a limit like 0.5, 2100cycles or 0.002ms; repeat it for several"),
        ("--data", ("data",), f"a folder of images, FILE.py:NAME, {CUT} or {FULL}"),
        ("--array", ("array", "device"), "the rows and columns of the array, like 16x16, or a --device"),
    ):
        if all(known.get(name, True) in (None, ()) for name in names):
            faults.add(InvalidValueError(needs, MISSING, needed))
    with faults.caught():
        if ".py:" in (data := known.get("data") or ""):
            parse_object("--data", data)
        elif data and data not in (CUT, FULL) and not os.path.isdir(data):
            raise unusable("--data", data, "read", OSError(None, "it is not a folder"))
    faults.check()


@click.command(epilog=EXAMPLES)
@click.argument("source", metavar="[FILE.py:NAME]", required=False)
@INPUT
@option("--weights", "FILE.safetensors", "The trained weights of FILE.py:NAME.", parse_file)
@option("--held-out", "FILE.py:NAME", "Batches to measure on.  [default: a tenth of the data]", parse_object)
@option("--keep", "NAME", "A width, or a module, that stays. Can be repeated.", multiple=True)
@option("--least", "SHARE", "Keep at least this share of each width.  [default: 0.25, or 0 with prune]", parse_share)
@option("--multiple", "N", "Take only widths that are multiples of N.  [default: 1]", parse_size)
@TORCH_DEVICE
@option("--array", "ROWSxCOLS", "Rows and columns of the array, like 16x16.  [default: the device's]", parse_array)
@option("--method", "NAME", _METHOD, parse_name, METHODS)
@option("--target", "LIMIT", _TARGET, options.target, multiple=True)
@option(
    "--lambda weight",
    "WEIGHT",
    "Weight of the latency, reference's cycles = 1.  [default: 0.1]",
    options.setting("weight"),
)
@option("--latency", "NAME", _LATENCY, parse_name, LATENCIES)
@option("--seed", "N", "Seed of everything random.  [default: 0]", options.setting("seed"))
@option("--threads", "N", "Threads of torch; results can depend on them.  [default: 1]", options.setting("threads"))
@options.shared_options
@checked(options.check_resume, options.check_machine, _check_lenet, _check_network)
def search(source: str | None, out: Path | None, resume: Path | None, as_json: bool, **given: Any) -> None:
    """Search for a network, and train it.

    Without FILE.py:NAME a LeNet is found; the winner and the reference network are trained to completion in the same
    way. With it, the widths of your own PyTorch module are: by prune (the default), one-shot or darts, within each
    target, and the networks found are fine-tuned; --data is a folder with a folder of images for each class, or
    FILE.py:NAME of a data set or loader. Python files are run.

    Progress goes to stderr. The result goes to stdout and, with weights and pictures, into the run folder, which for
    LeNet has a log too. With FILE.py:NAME a run that was stopped goes on with the same command and --out.
    """
    given = options.given_in(given)
    if source is not None:
        with needs_extra("nas", "nas-plugin search"), waiting("starting PyTorch"):
            from nas_plugin.cli.network import search_network
        search_network(source, given, out, as_json=as_json)
        return
    given |= {"target": given["target"][0]} if "target" in given else {}
    with needs_extra("nas", "nas-plugin search"), waiting("starting PyTorch"):
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
        click.echo(f"{result.document().for_stdout('--json')}\nRun folder: {folder}")


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
