"""How far a sweep is: each task that ends, and what is under way when none has ended for a while."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

__all__ = ["QUIET", "Report", "SweepProgress"]

SweepProgress = Callable[[int, int, str], None]
"""Called after each task with the number done, the number in all, and a line about it.

The number of trainings is exact once all searches have ended; until then each search is assumed to find a network of
its own. While no task ends, a second thread calls it with a line about what is under way, though never twice at once.
"""

QUIET = 20.0
"""Seconds without an ended task after which a report shows what is under way."""


class Report:
    """Counts tasks.

    Args:
        progress: to call; None for nobody.
        total: the number of tasks.
        quiet: seconds without an ended task after which :meth:`watching` reports what is under way.
    """

    def __init__(self, progress: SweepProgress | None, total: int = 0, quiet: float = QUIET) -> None:
        self.progress, self.total, self.quiet = progress, total, quiet
        self._done, self._last = 0, time.monotonic()
        self._lock = threading.Lock()
        self._broken: BaseException | None = None

    def ended(self, line: str) -> None:
        """A task ended. Raises what the caller's function raised in the second thread."""
        self._last = time.monotonic()
        self._tell(1, line)
        if self._broken is not None:
            raise self._broken

    def _tell(self, ended: int, line: str) -> None:
        with self._lock:
            self._done += ended
            if self.progress is not None:
                self.progress(self._done, self.total, line)

    @contextlib.contextmanager
    def watching(self, under_way: Callable[[], str]) -> Iterator[None]:
        """Reports ``under_way()``, unless it is empty, whenever no task has ended for a while."""
        over = threading.Event()

        def watch() -> None:
            while self._broken is None and not over.wait(max(0.0, self._last + self.quiet - time.monotonic())):
                if time.monotonic() - self._last < self.quiet:
                    continue
                self._last = time.monotonic()
                try:
                    if line := under_way():
                        self._tell(0, line)
                except BaseException as error:  # of the caller's function; raised again in its own thread
                    self._broken = error

        watcher = threading.Thread(target=watch, daemon=True)
        if self.progress is not None:
            watcher.start()
        try:
            yield
        finally:
            over.set()
            if watcher.ident is not None:
                watcher.join()
        if self._broken is not None:
            raise self._broken
