"""``nas-plugin sweep``."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from hwcost import InvalidValueError
from hwcost.sweep.engines import ENGINES
from nas_plugin.cli import options
from nas_plugin.errors import needs_extra
from nas_plugin.methods.table import DEFAULT_METHODS, changes_of

__all__ = ["sweep"]

NAMES = {"target": "targets", "weight": "lambdas"}
"""Options that are lists here, and one value in a setting."""


def _list_option(*names: str, of: Any = click.STRING, help: str) -> Callable[..., Any]:  # noqa: A002 (as click calls it)
    """An option that takes values between commas, each of one type of click's."""

    def read(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[Any, ...] | None:
        return None if text is None else tuple(of(part.strip(), param, ctx) for part in text.split(","))

    return click.option(*names, callback=read, metavar="A,B,...", help=help)


def _seeds(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """``0,1,2`` or ``0:5``, the end left out as in Python."""
    seeds: list[int] = []
    for part in [] if text is None else text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,9})(?::([0-9]{1,9}))?\s*", part, re.ASCII)
        if not match or (match[2] and not 0 < int(match[2]) - int(match[1]) <= 10_000):
            raise InvalidValueError("--seeds", text, "integers from 0 on, as 0,1,2, or a range as 0:5")
        seeds += range(int(match[1]), int(match[2])) if match[2] else [int(match[1])]
    return tuple(seeds) or None


@click.command()
@_list_option("--array", "arrays", of=options.ArraySize(), help="As 8x8,16x16.  [default: the arch_def's, 16x16]")
@_list_option("--methods", help=f"Methods, or latencies under darts.  [default: {','.join(DEFAULT_METHODS)}]")
@_list_option("--targets", help="As 0.5,0.75, of the reference's cycles.  [default: 0.5,0.75]")
@_list_option("--lambdas", of=click.FLOAT, help="Instead of targets, as 0.05,0.1,0.2.")
@click.option("--seeds", callback=_seeds, metavar="0,1,...|FIRST:END", help="Of the searches.  [default: 0:3]")
@click.option("--train-seeds", type=int, help="Trainings of each winner.  [default: 3]")
@click.option("--jobs", type=int, default=1, show_default=True, help="Searches and trainings at a time, a core each.")
@click.option(
    "--engine",
    metavar="NAME",
    help=f"Where they run: {', '.join(row.usage for row in ENGINES.values())}.  [default: this machine, by --jobs]",
)
@options.shared_options
def sweep(jobs: int, engine: str | None, out: Path | None, resume: Path | None, as_json: bool, **given: Any) -> None:
    """Search by many methods, targets and seeds, train every winner several times, and compare.

    Progress goes to stderr; tables go to stdout and, with a picture and JSON, into the sweep's folder. A sweep that was
    stopped continues with --resume.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if resume is not None:
        options.refuse_with_resume(given, out)
    with needs_extra("nas-plugin sweep"):
        import joblib  # type: ignore[import-untyped]  # noqa: F401  # a missing one stops the sweep before the work
        import moocore  # type: ignore[import-untyped]  # noqa: F401

        from nas_plugin import api
    folder = resume or out or options.free_folder("sweep")
    with options.of_command_line(**NAMES), options.showing("sweep", folder) as show:

        def progress(done: int, total: int, line: str) -> None:
            show("", done, total, f"[{done}/{total}] {line}")

        if resume is not None:
            found = api.resume_sweep(folder, jobs, progress, engine=engine)
        else:
            methods = given.get("methods", DEFAULT_METHODS)
            kinds = [changes_of(name)[1]["method"] for name in methods]
            options.refuse_unused(given, kinds, f"--methods {','.join(methods)}")
            arch = options.set_up_array(given)
            sizes = given.pop("arrays", ((arch.array.rows, arch.array.cols),))
            arrays = [dataclasses.replace(arch.array, rows=rows, cols=cols) for rows, cols in sizes]
            more = given | {"jobs": jobs, "engine": engine, "progress": progress}
            found = api.sweep(out=folder, arch_def=arch, arrays=arrays, **more)
    if as_json:
        click.echo(json.dumps(found.as_dict() | {"sweep": str(folder)}, indent=2))
        return
    click.echo(found.tables())
    click.echo(f"Folder: {folder} (results.json, results.md, pareto.png)")
