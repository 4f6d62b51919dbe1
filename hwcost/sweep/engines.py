"""Where chunks run: in this process, in several processes of this machine, or on the workers of a Dask cluster."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import importlib
import itertools
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from hwcost.arrays import as_size
from hwcost.errors import InvalidValueError, MissingDependencyError
from hwcost.sweep.pricing import Chunk, Column, price

__all__ = ["ENGINES", "MOST_SECONDS", "Engine", "run"]

Priced: TypeAlias = Generator[tuple[int, Column], None, None]

MOST_SECONDS = 10.0
"""That a scheduler and its first worker have to answer."""
MOST_SECONDS_ALONE = 60.0
"""That a sweep waits for another worker where all have gone."""
_CHUNKS_A_THREAD = 4
_SECONDS_BETWEEN_COUNTS = 2.0


class Engine(NamedTuple):
    """A row of :data:`ENGINES`.

    Attributes:
        name: as people write it, before ``://`` where an address follows.
        run: chunks, their number, the address and the number of jobs in; indices and cycles out, as they are finished.
        takes_address: whether an address follows the name.
        takes_jobs: whether the number of jobs is one's to choose.
        summary: one line for people.
    """

    name: str
    run: Callable[[Iterable[Chunk], int, str, int | None], Priced]
    takes_address: bool
    takes_jobs: bool
    summary: str

    @property
    def written(self) -> str:
        """The name, and the address if there is one."""
        return f"{self.name}://ADDRESS" if self.takes_address else self.name


def run(engine: str, chunks: Iterable[Chunk], count: int, jobs: int | None = None) -> Priced:
    """Prices chunks where the engine says; they come back in any order.

    Args:
        engine: a name in :data:`ENGINES`, with an address behind ``://`` where it takes one.
        chunks: made as they are asked for.
        count: how many there are.
        jobs: how many at once, where the engine leaves that open.

    Raises:
        InvalidValueError: an engine or address that is not known, jobs that it does not take.
        MissingDependencyError: joblib or distributed is needed and not installed.
    """
    name, colon, address = engine.partition("://")
    row = ENGINES.get(name)
    if row is None or bool(colon) != row.takes_address or (colon and not address):
        raise InvalidValueError("engine", engine, f"one of: {', '.join(each.written for each in ENGINES.values())}")
    if jobs is not None:
        as_size(jobs, "jobs")
        if not row.takes_jobs:
            allowed = ", ".join(each.written for each in ENGINES.values() if each.takes_jobs)
            raise InvalidValueError("jobs", jobs, f"only with engine {allowed}")
    return row.run(chunks, count, address, jobs)


def _serial(chunks: Iterable[Chunk], count: int, address: str, jobs: int | None) -> Priced:
    yield from map(price, chunks)


def _processes(chunks: Iterable[Chunk], count: int, address: str, jobs: int | None) -> Priced:
    joblib = _joblib()
    if not count:
        return
    ended = importlib.import_module("joblib.externals.loky.process_executor").TerminatedWorkerError
    at_once = min(count, joblib.cpu_count() if jobs is None else jobs)
    try:
        with joblib.parallel_config(backend="loky"):
            parallel = joblib.Parallel(at_once, batch_size=1, return_as="generator_unordered")
        yield from _as_finished(joblib, parallel, chunks)
    except ended:
        allowed = "processes that go on to the end; one was ended from outside, perhaps for want of memory"
        raise InvalidValueError("engine", "processes", allowed) from None


def _as_finished(joblib: Any, parallel: Any, chunks: Iterable[Chunk]) -> Priced:
    results = parallel(map(joblib.delayed(price), chunks))
    try:
        # "yield from" would close the results outside of the filter below
        for result in results:  # noqa: UP028
            yield result
    finally:
        with warnings.catch_warnings():
            # whoever breaks a sweep off knows that some chunks at work are lost
            warnings.filterwarnings("ignore", ".*tasks", UserWarning)
            results.close()


def _joblib() -> Any:
    try:
        return importlib.import_module("joblib")
    except ImportError:
        raise MissingDependencyError("joblib", "cluster", "a sweep in several processes") from None


# ---------------------------------------------------------------- a cluster


def _dask(chunks: Iterable[Chunk], count: int, address: str, jobs: int | None) -> Priced:
    """By distributed itself: joblib's way to Dask sends nothing to a cluster of one thread, nor to late workers."""
    try:
        distributed = importlib.import_module("distributed")
    except ImportError:
        raise MissingDependencyError("distributed", "cluster", "a sweep on a Dask cluster") from None
    where = f"dask://{address}"
    with _quiet(), _client(distributed, address) as client:
        try:
            yield from _from_workers(distributed, client, iter(chunks))
        except distributed.KilledWorker:
            allowed = (
                "workers that go on to the end; several were ended at work on one chunk, for want of memory perhaps"
            )
            raise InvalidValueError("engine", where, allowed) from None
        except (concurrent.futures.CancelledError, OSError, TimeoutError):
            raise InvalidValueError("engine", where, "a scheduler that goes on to the end; this one is gone") from None
        except (ImportError, RuntimeError) as error:
            reason = str(error).partition(". ")[0].rstrip(".")
            allowed = f"a scheduler and workers with the same versions of hwcost and dask as here ({reason})"
            raise InvalidValueError("engine", where, allowed) from None


def _from_workers(distributed: Any, client: Any, chunks: Iterator[Chunk]) -> Priced:
    """A few chunks for each thread of the workers are under way at once; workers that come later are counted too."""
    under_way: set[Any] = set()
    counted, most = -math.inf, 0
    while True:
        if time.monotonic() - counted > _SECONDS_BETWEEN_COUNTS:
            counted, most = time.monotonic(), _CHUNKS_A_THREAD * max(1, sum(client.nthreads().values()))
        for chunk in itertools.islice(chunks, max(0, most - len(under_way))):
            # a callable without arguments, in which Dask looks for nothing to replace
            under_way.add(client.submit(functools.partial(price, chunk), pure=False))
        if not under_way:
            return
        with client.as_current():
            first = functools.partial(distributed.wait, under_way, return_when="FIRST_COMPLETED")
            done = _patiently(client, first).done
        for future in done:
            # what a worker has finished and taken along is worked out again, so that this can last, too
            yield _patiently(client, future.result)
        under_way.difference_update(done)


def _patiently(client: Any, call: Callable[..., Any]) -> Any:
    """What a call returns, however long that takes, as long as there are workers."""
    while True:
        try:
            return call(timeout=MOST_SECONDS)
        except TimeoutError:
            _wait_for_a_worker(client, MOST_SECONDS_ALONE)


def _wait_for_a_worker(client: Any, seconds: float) -> None:
    """Returns at once where there is one."""
    try:
        client.wait_for_workers(1, timeout=seconds)
    except TimeoutError:
        where = f"dask://{client.scheduler.address}"
        allowed = f"a scheduler with at least one worker; there was none for {seconds:g} s"
        raise InvalidValueError("engine", where, allowed) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the log of distributed: what matters of it becomes an error."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _client(distributed: Any, address: str) -> Iterator[Any]:
    """A client of a scheduler that answers and has a worker."""
    where = f"dask://{address}"
    try:
        client = distributed.Client(**_place(address), timeout=MOST_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError, AssertionError) as error:  # the last: its thread did not start in time
        reason = str(error) or type(error).__name__
        raise InvalidValueError("engine", where, f"the address of a Dask scheduler that answers ({reason})") from None
    try:
        _wait_for_a_worker(client, MOST_SECONDS)
        yield client
    finally:
        client.close()


def _place(address: str) -> dict[str, str]:
    """How distributed is told of a scheduler: the file that it has written, or the address at which it listens."""
    if address.endswith(".json"):
        if not os.path.isfile(address):
            raise InvalidValueError("engine", f"dask://{address}", "a scheduler file that exists")
        return {"scheduler_file": address}
    return {"address": address if "://" in address else f"tcp://{address}"}


ENGINES: Mapping[str, Engine] = MappingProxyType(
    {
        row.name: row
        for row in (
            Engine("serial", _serial, False, False, "one chunk after the other in this process"),
            Engine("processes", _processes, False, True, "several processes of this machine, by joblib"),
            Engine("dask", _dask, True, False, "the workers of a Dask cluster: HOST:PORT, or the scheduler's file"),
        )
    }
)
"""Every engine by name. A new one is a function that prices chunks, and a row here."""
