"""``nas-plugin sweep``."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwcost import InvalidValueError
from hwcost.sweep.engines import ENGINES
from nas_plugin.cli import options
from nas_plugin.cli.options import ArraySize
from nas_plugin.methods.table import DEFAULT_METHODS, changes_of

if TYPE_CHECKING:
    from nas_plugin.runs.progress import SweepProgress

__all__ = ["sweep"]

NAMES = {"target": "targets", "weight": "lambdas"}
"""Options that are lists here, and one value in a setting."""


class _Each(click.ParamType):  # type: ignore[type-arg]
    """Values between commas, each of one type."""

    name = "list"

    def __init__(self, of: click.ParamType | None = None, metavar: str = "A,B,...") -> None:  # type: ignore[type-arg]
        self.of, self.metavar = of, metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """The values in order."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        return tuple(part if self.of is None else self.of.convert(part, param, ctx) for part in parts)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """As people type it."""
        return self.metavar


class _Seeds(_Each):
    """``0,1,2`` or ``0:5``, the end left out as in Python."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The seeds in order."""
        if isinstance(value, tuple):
            return value
        seeds: list[int] = []
        for part in str(value).split(","):
            match = re.fullmatch(r"\s*([0-9]{1,9})(?::([0-9]{1,9}))?\s*", part, re.ASCII)
            if not match or (match[2] and not 0 < int(match[2]) - int(match[1]) <= 10_000):
                raise InvalidValueError("--seeds", value, "integers from 0 on, as 0,1,2, or a range as 0:5")
            seeds += range(int(match[1]), int(match[2])) if match[2] else [int(match[1])]
        return tuple(seeds)


@click.command()
@options.data_options
@click.option("--array", "arrays", type=_Each(ArraySize()), help="As 8x8,16x16.  [default: the arch_def's, 16x16]")
@options.accelerator
@click.option(
    "--methods", type=_Each(), help=f"Methods, or latencies under darts.  [default: {','.join(DEFAULT_METHODS)}]"
)
@click.option("--targets", type=_Each(), help="As 0.5,0.75, of the reference's cycles.  [default: 0.5,0.75]")
@click.option("--lambdas", type=_Each(click.FLOAT), help="Instead of targets, as 0.05,0.1,0.2.")
@click.option(
    "--seeds", type=_Seeds(metavar="0,1,...|FIRST:END"), default="0:3", show_default=True, help="Of the searches."
)
@click.option("--train-seeds", type=int, default=3, show_default=True, help="Trainings of each winner.")
@options.search_options
@click.option("--jobs", type=int, default=1, show_default=True, help="Searches and trainings at a time, a core each.")
@click.option(
    "--engine",
    metavar="NAME",
    help=f"Where they run: {', '.join(row.usage for row in ENGINES.values())}.  [default: this machine, by --jobs]",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder.  [default: a new one in runs/]")
@click.option("--resume", type=click.Path(path_type=Path), metavar="SWEEP", help="Go on with the sweep in this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.pass_context
def sweep(
    context: click.Context,
    /,
    jobs: int,
    engine: str | None,
    out: Path | None,
    resume: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Search by many methods, targets and seeds, train every winner several times, and compare.

    Progress goes to stderr; tables go to stdout and, with a picture and JSON, into the sweep's folder. A sweep that was
    stopped goes on with --resume.
    """
    typed = {name: value for name, value in given.items() if not _is_default(context, name) and value is not None}
    if resume is not None:
        options.refuse_with_resume(typed | ({} if out is None else {"out": out}))
    with options.needs_extra("nas-plugin sweep"):
        import joblib  # type: ignore[import-untyped]  # noqa: F401  # a missing one stops the sweep before the work
        import moocore  # type: ignore[import-untyped]  # noqa: F401

        from nas_plugin import api
    folder = resume or out or options.free_folder("sweep")
    with options.of_command_line(**NAMES), _showing() as progress, options.resumable("sweep", folder):
        if resume is not None:
            found = api.resume_sweep(folder, jobs, progress, engine=engine)
        else:
            chosen = {name: value for name, value in given.items() if value is not None}
            methods = chosen.get("methods", DEFAULT_METHODS)
            kinds = [changes_of(name)[1]["method"] for name in methods]
            options.refuse_unused(chosen, kinds, f"--methods {','.join(methods)}")
            arch = options.set_up_array(chosen)
            sizes = chosen.pop("arrays", ((arch.array.rows, arch.array.cols),))
            arrays = [dataclasses.replace(arch.array, rows=rows, cols=cols) for rows, cols in sizes]
            chosen |= {"jobs": jobs, "engine": engine, "progress": progress}
            found = api.sweep(out=folder, arch_def=arch, arrays=arrays, **chosen)
    if as_json:
        click.echo(json.dumps(found.as_dict() | {"sweep": str(folder)}, indent=2))
        return
    click.echo(found.tables())
    click.echo(f"Folder: {folder} (results.json, results.md, pareto.png)")


def _is_default(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) in (click.core.ParameterSource.DEFAULT, None)


@contextlib.contextmanager
def _showing() -> Iterator[SweepProgress]:
    """Progress on stderr: a bar with the last line on a terminal, one line a task elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, total, line: click.echo(f"[{done}/{total}] {line}", err=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[line]}"))
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=None, line="")

        def show(done: int, total: int, line: str) -> None:
            bars.update(task, completed=done, total=total, line=line)

        yield show
