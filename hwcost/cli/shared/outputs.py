"""The files that a command writes: checked before the work starts, named on stderr once they are written."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from hwcost.cli.shared.options import Decorator, parsed_by, value_of
from hwcost.cli.shared.progress import waiting
from hwcost.errors import Faults, InvalidValueError, require

__all__ = [
    "CSV", "HTML", "PICTURE", "check_outputs", "free_folder", "output_option", "parse_output", "write_output",
]  # fmt: skip

PICTURE = ("png", "svg", "pdf")
CSV = ("csv",)
HTML = ("html", "htm")


def output_option(*names: str, ends: tuple[str, ...] = PICTURE, words: str, **more: Any) -> Decorator:
    """An option for a file to write, whose ending is one of ``ends`` and whose folder is there."""
    metavar = more.pop("metavar", "FILE")
    return click.option(*names, metavar=metavar, callback=parsed_by(parse_output, ends), help=words, **more)


def parse_output(option: str, path: str, endings: tuple[str, ...]) -> str:
    """A path that can be written, with one of some endings; raises if the library that draws it is missing."""
    if os.path.splitext(path)[1].lower().removeprefix(".") not in endings:
        *first, last = (f".{ending}" for ending in endings)
        allowed = f"{', '.join(first)} or {last}" if first else last
        raise InvalidValueError(option, path, f"a file name ending in {allowed}")
    folder = os.path.dirname(path) or "."
    if "\0" in path or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise InvalidValueError(option, path, "a file in a folder that exists and can be written to")
    if os.path.exists(path) and not os.path.isfile(path):
        raise InvalidValueError(option, path, "a regular file")
    if endings in (PICTURE, HTML):
        require("matplotlib", "plot", "a picture")
    return path


def check_outputs(sources: Iterable[str], outputs: Mapping[str, str | None]) -> None:
    """Raises for each output that would overwrite another output or a source.

    Args:
        sources: the models as given; of ``FILE.py:NAME`` the file counts.
        outputs: for each option the path given.
    """
    taken, faults = {}, Faults()
    for source in sources:
        before, colon, _ = source.rpartition(":")
        file = before if colon and before.lower().endswith(".py") else source
        taken[os.path.realpath(file.replace("\0", ""))] = "the model"
    for option, path in outputs.items():
        if path is None:
            continue
        place = os.path.realpath(path)
        if place in taken:
            faults.add(InvalidValueError(option, path, f"a file other than that of {taken[place]}"))
        taken[place] = option
    faults.check()


@contextlib.contextmanager
def write_output(option: str, path: str, *, quiet: bool = False) -> Iterator[None]:
    """Names the file on stderr once the body has written it, unless ``quiet``; errors name the option.

    On a terminal a line says what is written, since drawing takes seconds.
    """
    try:
        with value_of(option, path), waiting(f"writing {path}"):
            yield
    except InvalidValueError:
        raise
    except (OSError, ValueError) as error:
        from hwcost.files import unusable

        raise unusable(option, path, "written", error) from None
    if not quiet:
        click.echo(f"wrote {path}", err=True)


def free_folder(name: str) -> Path:
    """runs/NAME, or the first of NAME-2, NAME-3, ... that does not exist."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(folder for folder in map(Path("runs").joinpath, names) if not folder.exists())
