"""Progress on stderr: a bar on a terminal if rich is installed, otherwise a line per tenth."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

import click

__all__ = ["progress_of"]


@contextlib.contextmanager
def progress_of(whole: int, what: str, *, only_on_terminals: bool = False) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of items that were finished since the last call.

    Args:
        whole: the number of all items.
        what: their name.
        only_on_terminals: print nothing if stderr is not a terminal, instead of a line per tenth.
    """
    if not sys.stderr.isatty():
        yield (lambda count: None) if only_on_terminals else _lines(whole, what)
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


def _lines(whole: int, what: str) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        before, done = done, min(done + count, whole)
        if 10 * done // whole > 10 * before // whole:
            click.echo(f"{100 * done // whole} % of {whole} {what}", err=True)

    return advance
