"""Progress on stderr, if that is a terminal: a bar if rich is installed, otherwise a line per tenth."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

from hwcost.units import number

__all__ = ["Show", "progress_of", "progress_of_unknown", "showing", "waiting"]

Show = Callable[[str, int, int, str], None]
"""Shows progress: what has a bar, steps done, steps in all, and a line with both and more."""


@contextlib.contextmanager
def progress_of(whole: int, what: str) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of items that were finished since the last call.

    Args:
        whole: the number of all items.
        what: their name.
    """
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield _lines(whole, what)
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=whole)
        yield lambda count: bar.advance(task, count)


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """A line that says what takes its time, with a turning sign; on a terminal alone, and gone when it is done."""
    if not sys.stderr.isatty():
        yield
        return
    try:
        from rich.console import Console
    except ImportError:
        click.echo(f"{what} ...", err=True)
        yield
        return
    with Console(stderr=True).status(what):
        yield


def _lines(whole: int, what: str) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        before, done = done, min(done + count, whole)
        if 10 * done // whole > 10 * before // whole:
            click.echo(f"{100 * done // whole} % of {number(whole)} {what}", err=True)

    return advance


@contextlib.contextmanager
def progress_of_unknown(what: str, least: int = 1) -> Iterator[Callable[[int, int], None]]:
    """A function to call with the number of items that are finished and that of all, which the work finds out.

    Args:
        what: their name.
        least: print nothing if there are fewer.
    """
    finished = 0
    advance: Callable[[int], None] | None = None
    with contextlib.ExitStack() as stack:

        def show(done: int, whole: int) -> None:
            nonlocal finished, advance
            if whole < least:
                return
            if advance is None:
                advance = stack.enter_context(progress_of(whole, what))
            advance(done - finished)
            finished = done

        yield show


@contextlib.contextmanager
def showing(stopped: str) -> Iterator[Show]:
    """Progress on stderr: a bar for each title on a terminal, lines elsewhere; after a stop the text ``stopped``."""
    from rich.console import Console
    from rich.progress import Progress

    bars, titles = Progress(console=Console(stderr=True)), dict[str, Any]()

    def show(title: str, done: int, total: int, line: str) -> None:
        if not sys.stderr.isatty():
            click.echo(line, err=True)
            return
        if title not in titles:
            titles[title] = bars.add_task(line)
        bars.update(titles[title], completed=done, total=total, description=line)

    with bars if sys.stderr.isatty() else contextlib.nullcontext():
        try:
            yield show
        except KeyboardInterrupt:
            click.echo(stopped, err=True)
            raise
