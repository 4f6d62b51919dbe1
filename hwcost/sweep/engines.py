"""Where calls run: in this process, in several processes of this machine, or on the workers of a Dask cluster.

A call is any picklable callable without arguments, a :func:`functools.partial` for example. Results stream back as
calls finish, in any order. A call whose process or worker is killed runs again elsewhere; it must therefore give the
same result however often it starts.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import gc
import importlib
import itertools
import logging
import math
import os
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from hwcost.arrays import Table, as_size
from hwcost.errors import HwcostError, InvalidValueError, MissingDependencyError

__all__ = ["ENGINES", "MOST_SECONDS", "Engine", "engine_of", "every", "run", "started"]

Result = TypeVar("Result")
Call = Callable[[], Any]

MOST_SECONDS = 10.0
"""Time limit for a scheduler and its first worker to answer."""
MOST_SECONDS_ALONE = 60.0
"""How long a sweep waits for a new worker once all are gone."""
MOST_LOSSES = 3
"""The number of times that processes of this machine are killed before a run gives up."""
_STARTS = 3
_CALLS_A_THREAD = 4
_SECONDS_BETWEEN_COUNTS = 2.0


class Engine(NamedTuple):
    """A row of :data:`ENGINES`.

    Attributes:
        name: as people write it, before ``://`` if an address follows.
        run: takes calls, their number, and the address, jobs and patience of :func:`run`; yields each result as its
            call finishes.
        takes_address: whether an address follows the name; the calls then run on other machines.
        takes_jobs: whether the caller chooses the number of jobs.
        summary: one line for people.
    """

    name: str
    run: Callable[[Iterable[Call], int, str, int | None, float | None], Generator[Any, None, None]]
    takes_address: bool
    takes_jobs: bool
    summary: str

    @property
    def usage(self) -> str:
        """The name, with a placeholder for the address if it takes one."""
        return f"{self.name}://ADDRESS" if self.takes_address else self.name


def engine_for(engine: str | None, jobs: int) -> tuple[str, int | None]:
    """Where a number of jobs runs by default, and the number of processes if the engine takes one.

    >>> engine_for(None, 1), engine_for(None, 4), engine_for("dask://10.0.0.1:8786", 1)
    (('serial', None), ('processes', 4), ('dask://10.0.0.1:8786', None))

    Raises:
        InvalidValueError: as :func:`engine_of`.
    """
    engine = engine or ("serial" if jobs == 1 else "processes")
    workers = jobs if jobs != 1 or engine == "processes" else None
    engine_of(engine, workers)
    return engine, workers


def engine_of(engine: str, jobs: int | None = None) -> tuple[Engine, str]:
    """The row and the address that a text names.

    Raises:
        InvalidValueError: an unknown engine, a missing or superfluous address, jobs that the engine does not take.

    >>> row, address = engine_of("dask://10.0.0.1:8786")
    >>> row.name, address
    ('dask', '10.0.0.1:8786')
    """
    name, colon, address = engine.partition("://")
    row = ENGINES.get(name)
    if row is None or bool(colon) != row.takes_address or (colon and not address):
        raise InvalidValueError("engine", engine, (each.usage for each in ENGINES.values()))
    port = address.rpartition(":")[2]
    if colon and not (address.endswith(".json") or (port.isascii() and port.isdecimal())):
        allowed = f"an address with its port, like {name}://10.0.0.1:8786, or the JSON file of a scheduler"
        raise InvalidValueError("engine", engine, allowed)
    if jobs is not None:
        as_size(jobs, "jobs")
        if not row.takes_jobs:
            those = ", ".join(each.usage for each in ENGINES.values() if each.takes_jobs)
            reason = f"engine {name} takes no number of processes"
            raise InvalidValueError("jobs", jobs, f"leave it out, or take one of: {those}", reason=reason)
    return row, address


def run(
    engine: str,
    calls: Iterable[Callable[[], Result]],
    count: int,
    jobs: int | None = None,
    patience: float | None = None,
) -> Generator[Result, None, None]:
    """Runs calls on an engine and yields their results in any order.

    Args:
        engine: a name in :data:`ENGINES`, followed by ``://`` and an address if the engine takes one.
        calls: picklable callables without arguments; taken from the iterable a few at a time.
        count: the number of calls.
        jobs: the number that run at once, if the engine takes it; by default one per core.
        patience: seconds to wait for a scheduler, its first worker, and a new worker once all are gone; by default
            ``MOST_SECONDS``, and 60 for a new worker.

    Raises:
        InvalidValueError: as :func:`engine_of`; a scheduler that does not answer; processes or workers that are killed
            again and again.
        MissingDependencyError: joblib or distributed is needed and not installed.

    >>> import functools
    >>> sorted(run("serial", [functools.partial(pow, 2, n) for n in range(4)], 4))
    [1, 2, 4, 8]
    """
    row, address = engine_of(engine, jobs)
    return row.run(calls, count, address, jobs, patience)


@contextlib.contextmanager
def every(seconds: float, call: Callable[[], None]) -> Iterator[None]:
    """Calls a function from a second thread while the block runs; raises at its end what the function raised."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(seconds):
            call()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        watcher = pool.submit(watch)
        try:
            yield
        finally:
            over.set()
    watcher.result()


def _serial(
    calls: Iterable[Call], count: int, address: str, jobs: int | None, patience: float | None
) -> Generator[Any, None, None]:
    for call in calls:
        yield call()


# ---------------------------------------------------------------- processes


def _processes(
    calls: Iterable[Call], count: int, address: str, jobs: int | None, patience: float | None
) -> Generator[Any, None, None]:
    """By joblib. If one process is killed, joblib ends them all, and the calls under way start again."""
    try:
        joblib = importlib.import_module("joblib")
    except ImportError:
        raise MissingDependencyError("joblib", "cluster", "a sweep in several processes") from None
    if not count:
        return
    killed = importlib.import_module("joblib.externals.loky.process_executor").TerminatedWorkerError
    at_once = min(count, joblib.cpu_count() if jobs is None else jobs)
    under_way: dict[int, Call] = {}
    fresh = enumerate(calls)

    def note(pairs: Iterable[tuple[int, Call]]) -> Iterator[Any]:
        for number, call in pairs:
            under_way[number] = call
            yield joblib.delayed(_run_numbered)(number, call)

    for loss in itertools.count(1):
        again = list(under_way.items())
        try:
            with joblib.parallel_config(backend="loky"):
                parallel = joblib.Parallel(at_once, batch_size=1, return_as="generator_unordered")
            with _closing_quietly(parallel(note(itertools.chain(again, fresh)))) as results:
                for number, result in results:
                    del under_way[number]
                    yield result
        except killed:
            if loss >= MOST_LOSSES:
                allowed = "processes that run to the end; some were killed, perhaps for lack of memory"
                raise InvalidValueError("engine", "processes", allowed) from None
        else:
            return


def _run_numbered(number: int, call: Call) -> tuple[int, Any]:
    return number, call()


@contextlib.contextmanager
def _closing_quietly(results: Any) -> Iterator[Any]:
    """Closes the results without the warning that calls under way are lost: a caller that stops early intends it."""
    try:
        yield results
    finally:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*tasks", UserWarning)
            results.close()


# ---------------------------------------------------------------- a cluster


def _dask(
    calls: Iterable[Call], count: int, address: str, jobs: int | None, patience: float | None
) -> Generator[Any, None, None]:
    """By distributed itself: joblib's Dask backend sends nothing to a one-thread cluster, nor to late workers."""
    try:
        distributed = importlib.import_module("distributed")
    except ImportError:
        raise MissingDependencyError("distributed", "cluster", "a sweep on a Dask cluster") from None
    where = f"dask://{address}"
    first, alone = (MOST_SECONDS, MOST_SECONDS_ALONE) if patience is None else (patience, patience)
    with _quiet(), _client(distributed, address, first) as client:
        try:
            yield from _from_workers(distributed, client, iter(calls), alone)
        except HwcostError:  # of a call
            raise
        except distributed.KilledWorker:
            allowed = "workers that run to the end; one call ended several of them, perhaps for lack of memory"
            raise InvalidValueError("engine", where, allowed) from None
        except (concurrent.futures.CancelledError, OSError, TimeoutError):
            raise InvalidValueError("engine", where, "a scheduler that runs to the end; this one is gone") from None
        except (ImportError, RuntimeError) as error:
            reason = str(error).partition(". ")[0].rstrip(".")
            allowed = f"a scheduler and workers with the same versions of hwcost and dask as here ({reason})"
            raise InvalidValueError("engine", where, allowed) from None


def _from_workers(distributed: Any, client: Any, calls: Iterator[Call], alone: float) -> Generator[Any, None, None]:
    """Keeps a few calls under way for each thread of the workers, including workers that join late."""
    under_way: set[Any] = set()
    counted, most = -math.inf, 0
    while True:
        if time.monotonic() - counted > _SECONDS_BETWEEN_COUNTS:
            counted, most = time.monotonic(), _CALLS_A_THREAD * max(1, sum(client.nthreads().values()))
        for call in itertools.islice(calls, max(0, most - len(under_way))):
            # a callable without arguments, in which Dask looks for nothing to replace
            under_way.add(client.submit(functools.partial(call), pure=False))
        if not under_way:
            return
        with client.as_current():
            first = functools.partial(distributed.wait, under_way, return_when="FIRST_COMPLETED")
            done = _patiently(client, first, alone).done
        under_way.difference_update(done)
        while done:
            # a result that is lost with its worker is computed again, so this can take long too
            future = done.pop()
            result = _patiently(client, future.result, alone)
            future.release()  # the scheduler would compute it again if the worker that holds it were killed
            yield result


def _patiently(client: Any, call: Callable[..., Any], alone: float) -> Any:
    """The result of a call, without a time limit while there are workers."""
    while True:
        try:
            return call(timeout=min(MOST_SECONDS, alone))
        except TimeoutError:
            _wait_for_a_worker(client, alone)


def _wait_for_a_worker(client: Any, seconds: float) -> None:
    try:
        client.wait_for_workers(1, timeout=seconds)
    except TimeoutError:
        where = f"dask://{client.scheduler.address}"
        allowed = f"a scheduler with at least one worker; there was none for {seconds:g} s"
        raise InvalidValueError("engine", where, allowed) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the log of distributed: its failures become errors."""
    levels = {logger: logger.level for logger in map(logging.getLogger, ("distributed", "distributed.client"))}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@contextlib.contextmanager
def _client(distributed: Any, address: str, seconds: float) -> Iterator[Any]:
    """A client of a scheduler that answers and has a worker."""
    where = f"dask://{address}"
    place = {"address": address if "://" in address else f"tcp://{address}"}
    if address.endswith(".json"):  # the file that the scheduler wrote
        if not os.path.isfile(address):
            raise InvalidValueError("engine", where, "a scheduler file that exists")
        place = {"scheduler_file": address}
    try:
        client = started(functools.partial(distributed.Client, **place, timeout=seconds, set_as_default=False))
    except (OSError, ValueError, TypeError, AssertionError) as error:
        reason = str(error) or type(error).__name__
        raise InvalidValueError("engine", where, f"the address of a Dask scheduler that answers ({reason})") from None
    try:
        _wait_for_a_worker(client, seconds)
        yield client
    finally:
        client.close()


def started(client: Callable[[], Any]) -> Any:
    """A client; distributed asserts that its own thread runs within 10 seconds, which a busy machine can miss.

    A client that could not be started ends when it is collected, and takes a lock then which the next one holds while
    it starts: so those are collected before, and none meanwhile, or both would wait for ever.
    """
    for _ in range(_STARTS - 1):
        with contextlib.suppress(AssertionError), _nothing_collected():
            return client()
    with _nothing_collected():
        return client()


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """Collects what is dead, and then nothing in the body."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


ENGINES: Mapping[str, Engine] = Table(
    {
        row.name: row
        for row in (
            Engine("serial", _serial, False, False, "one call after the other in this process"),
            Engine("processes", _processes, False, True, "several processes of this machine, by joblib"),
            Engine("dask", _dask, True, False, "the workers of a Dask cluster: HOST:PORT, or the scheduler's file"),
        )
    }
)
"""Every engine by name. A new one is a function that runs calls, and a row here."""
