"""How far something long has come, on stderr: a bar on a terminal where rich is installed, else a line a tenth."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

import click

__all__ = ["plain_progress", "progress_of"]


@contextlib.contextmanager
def progress_of(whole: int, what: str, *, only_on_terminals: bool = False) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of things that were finished.

    Args:
        whole: the number of all.
        what: they are, in words.
        only_on_terminals: say nothing where stderr is no terminal; else there is a line for every tenth.
    """
    if not sys.stderr.isatty():
        yield (lambda count: None) if only_on_terminals else plain_progress(whole, what)
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield plain_progress(whole, what)
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=whole)
        yield lambda count: bar.advance(task, count)


def plain_progress(whole: int, what: str = "rows") -> Callable[[int], None]:
    """A function that prints a line whenever another tenth is done."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        before, done = done, min(done + count, whole)
        if 10 * done // whole > 10 * before // whole:
            click.echo(f"{100 * done // whole} % of {whole} {what}", err=True)

    return advance
