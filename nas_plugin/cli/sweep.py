"""``nas-plugin sweep``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from hwcost.cli.shared.options import option
from hwcost.cli.shared.outputs import free_folder
from hwcost.cli.shared.progress import showing, waiting
from hwcost.cli.shared.values import listed, parse_array, parse_engine, parse_seeds, parse_size
from hwcost.console import checked
from hwcost.errors import check_one_of, needs_extra
from hwcost.sweep.engines import ENGINES, engine_for
from nas_plugin.cli import options
from nas_plugin.methods.table import DEFAULT_METHODS, SWEEP_METHODS
from nas_plugin.runs.settings import SweepSettings

__all__ = ["sweep"]

EXAMPLES = """\b
Examples:
  nas-plugin sweep --targets 0.5,0.75 --array 8x8,16x16 --seeds 0:3 --jobs 2 --out sweep
  nas-plugin sweep --methods one-shot,expectation,flops-snap --lambdas 0.05,0.1,0.2 --train-seeds 1
  nas-plugin sweep --out /shared/sweep --engine dask://10.0.0.1:8786
  nas-plugin sweep --resume sweep --jobs 2
"""
NAMES = {"target": "targets", "weight": "lambdas"}
"""Options that are lists here, and one value in a setting."""


_ENGINES = ", ".join(row.usage for row in ENGINES.values())
_METHODS = f"Some of: {', '.join(SWEEP_METHODS)}.  [default: {','.join(DEFAULT_METHODS)}]"


def _method(option: str, text: str) -> str:
    check_one_of(option, text, SWEEP_METHODS)
    return text


def _check_engine(engine: str | None, jobs: int) -> None:
    with options.of_command_line():
        engine_for(engine, jobs)


def _check_settings(known: Mapping[str, Any]) -> None:
    """Raises for settings that do not go together, or with none of the methods."""
    names = ("methods", "targets", "lambdas", "seeds", "train_seeds", "resume")
    settings = options.settings_in(known)
    if settings is None or not known.keys() >= set(names) or known["resume"] is not None:
        return
    given = {name: value for name, value in settings.items() if value is not None}
    limits = {"targets": known["targets"] or (), "weights": known["lambdas"] or ()}
    seeds, train_seeds = known["seeds"] or (0, 1, 2), known["train_seeds"] or 3
    with options.of_command_line(**NAMES):
        SweepSettings.of_sweep("", 0, known["methods"], train_seeds=train_seeds, given=given, seeds=seeds, **limits)


@click.command(epilog=EXAMPLES)
@option("--array", "LIST", "Arrays, like 8x8,16x16.  [default: the device's]", listed(parse_array))
@option("--methods", "LIST", _METHODS, listed(_method))
@option(
    "--targets", "LIST", "Limits on winners' cycles, like 0.5,2100cycles.  [default: 0.5,0.75]", listed(options.target)
)
@option(
    "--lambdas",
    "LIST",
    "Weights of the latency instead of targets, like 0.05,0.1.",
    listed(options.setting("weight")),
)
@option("--seeds", "LIST|FIRST:END", "Seeds of the searches.  [default: 0:3]", parse_seeds)
@option("--train-seeds", "N", "Trainings of each winner.  [default: 3]", parse_size, 1, 100)
@option("--jobs", "N", "Searches and trainings at a time, each on a core.  [default: 1]", parse_size, default="1")
@option("--engine", "NAME", f"Where they run: {_ENGINES}.  [default: this machine, by --jobs]", parse_engine)
@options.shared_options
@checked(options.check_resume, options.check_machine, options.check_images, options.check_folder)
@checked(_check_engine, _check_settings)
def sweep(jobs: int, engine: str | None, out: Path | None, resume: Path | None, as_json: bool, **given: Any) -> None:
    """Compare search methods, limits and seeds.

    Each method searches on every array, for every limit and seed, and every winner is trained several times. A latency
    term among the methods is darts with that term. Progress goes to stderr. Tables go to stdout and, with a picture and
    JSON, into the sweep's folder.
    """
    given = options.given_in(given)
    with needs_extra("nas", "nas-plugin sweep"), waiting("starting PyTorch"):
        import joblib  # type: ignore[import-untyped]  # noqa: F401  # a missing one stops the sweep before the work
        import moocore  # type: ignore[import-untyped]  # noqa: F401

        from nas_plugin import api
    folder = resume or out or free_folder("sweep")
    stopped = f"Stopped. Go on with: nas-plugin sweep --resume {folder}"
    with options.of_command_line(**NAMES), showing(stopped) as show:

        def progress(done: int, total: int, line: str) -> None:
            show("", done, total, f"[{done}/{total}] {line}")

        if resume is not None:
            found = api.resume_sweep(folder, jobs, progress, engine=engine)
        else:
            arch, arrays = options.space_on_arrays(given, given.pop("array", ()))
            more = given | {"jobs": jobs, "engine": engine, "progress": progress}
            found = api.sweep(out=folder, arch_def=arch, arrays=arrays, **more)
    if as_json:
        click.echo(json.dumps(found.as_dict() | {"sweep": str(folder)}, indent=2))
        return
    click.echo(found.tables())
    click.echo(f"Folder: {folder} (results.json, results.md, pareto.png)")
