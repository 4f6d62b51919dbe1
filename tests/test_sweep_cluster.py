"""A sweep on a Dask cluster of processes gives the same bits, also where a worker is killed in the middle."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time

import clusters
import machines
import nets
import pytest
from refusals import refused

from hwcost import Gemm, InvalidValueError
from hwcost.sweep import engines, sweep

distributed = pytest.importorskip("distributed")

SPACE = {"rows": range(1, 41), "cols": range(1, 41), "dataflows": ("ws", "os"), "base": machines.RICH["by position"]}
NETWORK = nets.residual()


@pytest.fixture
def two_workers(tmp_path):
    """The address of a scheduler, a client of it, and the processes of its workers by their addresses."""
    with (
        clusters.cluster(tmp_path, 2) as (address, workers),
        clusters.client_of(address) as client,
    ):
        processes = {worker.pid: worker for worker in workers}
        yield address, client, {place: processes[pid] for place, pid in client.run(os.getpid).items()}


def test_a_worker_is_killed_in_the_middle(two_workers):
    address, client, workers = two_workers
    (place, victim), (_, other) = workers.items()
    whole = sweep(NETWORK, **SPACE, chunk=10)
    counted, lost = 0, ()

    def progress(points):
        nonlocal counted, lost
        counted += points
        if counted < 300 or lost:
            return
        # it is stopped; with chunks at hand, which it cannot finish any more, it is killed, else it goes on for a while
        os.kill(victim.pid, signal.SIGSTOP)
        patience = time.monotonic() + 0.5
        while not (lost := client.processing()[place]) and time.monotonic() < patience:
            time.sleep(0.01)
        if not lost:
            os.kill(victim.pid, signal.SIGCONT)
            return
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait(timeout=clusters.PATIENCE)

    found = sweep(NETWORK, **SPACE, chunk=10, engine=f"dask://{address}", progress=progress)
    assert lost
    assert victim.returncode == -signal.SIGKILL
    assert other.poll() is None
    assert counted == len(whole) == 3200
    assert found.cycles.tobytes() == whole.cycles.tobytes()
    assert found.front.tolist() == whole.front.tolist()


def test_the_file_of_a_scheduler_and_kept_chunks(two_workers, tmp_path):
    class Broken(Exception):
        pass

    def breaks(points):
        raise Broken

    engine = f"dask://{tmp_path / 'scheduler.json'}"
    with pytest.raises(Broken):
        sweep(NETWORK, **SPACE, engine=engine, keep=tmp_path / "kept", chunk=200, progress=breaks)
    kept = len(list((tmp_path / "kept").glob("chunk-*.bin")))
    assert kept == 1
    found = sweep(NETWORK, **SPACE, engine=engine, keep=tmp_path / "kept", chunk=200)
    assert found.cycles.tobytes() == sweep(NETWORK, **SPACE).cycles.tobytes()
    assert len(list((tmp_path / "kept").glob("chunk-*.bin"))) == 16


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:{port}", "tcp://127.0.0.1:{port}", "127.0.0.1", "nonsense://x:1", "host.invalid:8786", "no.json", "::"],
)
def test_nobody_answers(address):
    with refused("engine"):
        sweep(NETWORK, rows=8, cols=8, engine="dask://" + address.format(port=clusters.free_port()), patience=1)


def test_a_client_that_starts_late_is_started_again(monkeypatch, tmp_path):
    """Its thread may take longer than distributed waits for it, for which it has an assertion without words."""
    late, client = [1, 2], distributed.Client

    def starting(*given, **named):
        if late:
            raise AssertionError(late.pop())
        return client(*given, **named)

    with clusters.cluster(tmp_path, 1) as (address, _):
        monkeypatch.setattr(distributed, "Client", starting)
        found = sweep(NETWORK, rows=8, cols=8, engine=f"dask://{address}", patience=clusters.PATIENCE)
        late += [3, 4, 5]
        with refused("engine", allowed="(3)"):
            sweep(NETWORK, rows=8, cols=8, engine=f"dask://{address}")
    assert found.cycles.tolist() == sweep(NETWORK, rows=8, cols=8).cycles.tolist()


COLLECTING = """
import gc
from distributed.utils import LoopRunner
from hwcost import Gemm, InvalidValueError
from hwcost.sweep import sweep

real = LoopRunner._start_unlocked

def starts(runner):
    if gc.isenabled():
        gc.collect()  # as may happen at any time
    real(runner)

gc.set_threshold(0)
LoopRunner._start_unlocked = starts
for address in ("nonsense://x:1", "127.0.0.1", "nonsense://x:1"):
    try:
        sweep([Gemm(8, 8, 8)], rows=8, cols=8, engine="dask://" + address, patience=1)
    except InvalidValueError:
        print(address)
"""


def test_a_client_that_failed_does_not_end_while_the_next_one_starts():
    """Both take one lock: a process that collected the first just then would wait for ever."""
    done = subprocess.run(
        [sys.executable, "-c", COLLECTING], capture_output=True, text=True, timeout=clusters.PATIENCE, check=True
    )
    assert len(done.stdout.splitlines()) == 3


def test_a_scheduler_without_workers(tmp_path):
    with clusters.cluster(tmp_path, 0) as (address, _), refused("engine", allowed="at least one worker"):
        sweep(NETWORK, rows=8, cols=8, engine=f"dask://{address}", patience=15)


@pytest.mark.parametrize(
    ("victim", "patience", "text"),
    [
        ("scheduler", clusters.PATIENCE, "a scheduler that runs to the end; this one is gone"),
        ("workers", 15, "there was none for 15 s"),
    ],
)
def test_nobody_is_left(tmp_path, victim, patience, text):
    with clusters.cluster(tmp_path, 1) as (address, workers):
        with clusters.client_of(address) as client:
            scheduler = client.run_on_scheduler(os.getpid)
        killed = []

        def progress(points):
            if not killed:
                killed.append(scheduler if victim == "scheduler" else workers[0].pid)
                os.kill(killed[0], signal.SIGKILL)

        engine, kept = f"dask://{address}", tmp_path / "kept"
        with pytest.raises(InvalidValueError, match=text):
            sweep(NETWORK, **SPACE, chunk=10, engine=engine, patience=patience, keep=kept, progress=progress)
    found = sweep(NETWORK, **SPACE, chunk=10, keep=tmp_path / "kept")
    assert found.cycles.tobytes() == sweep(NETWORK, **SPACE).cycles.tobytes()


def test_a_worker_that_comes_later_is_used(tmp_path):
    with (
        clusters.cluster(tmp_path, 1) as (address, workers),
        clusters.client_of(address) as client,
    ):
        (first,) = client.nthreads()
        used = False

        def progress(points):
            nonlocal used
            if len(workers) < 2:
                workers.append(clusters.worker(address, tmp_path))
                client.wait_for_workers(2, timeout=clusters.PATIENCE)
            used = used or any(keys for place, keys in client.processing().items() if place != first)

        try:
            found = sweep(NETWORK, **SPACE, chunk=8, engine=f"dask://{address}", progress=progress)
        finally:
            workers[-1].kill()
            workers[-1].wait(timeout=clusters.PATIENCE)
    assert used
    assert found.cycles.tobytes() == sweep(NETWORK, **SPACE).cycles.tobytes()


def test_what_goes_wrong_on_a_worker(two_workers):
    address, *_ = two_workers
    with refused("the cycles", allowed=str(2**63 - 1)):
        sweep([Gemm(2**40, 2**20, 2**20)], rows=[1, 2], cols=[1, 2], engine=f"dask://{address}")
    with refused("engine", allowed="versions"):
        list(engines.run(f"dask://{address}", [nets.residual], 1))  # no worker can import the tests' modules


def test_all_calls_run_on_the_workers(two_workers):
    address, client, _ = two_workers
    found = set(engines.run(f"dask://{address}", [os.getpid] * 20, 20))
    assert os.getpid() not in found
    assert found <= set(client.run(os.getpid).values())


def marking(folder, number):
    """A call for a worker, which cannot import this file: it leaves a folder each time it runs."""
    made = f"__import__('tempfile').mkdtemp(prefix='{number}-', dir={str(folder)!r})"
    return functools.partial(eval, f"({made} and {number}, __import__('os').getpid())")


def test_what_has_arrived_is_not_computed_again(two_workers, tmp_path):
    """The worker that still holds a result which was handed on is killed: nobody needs the result any more."""
    address, client, workers = two_workers
    processes = {worker.pid: worker for worker in workers.values()}
    (tmp_path / "runs").mkdir()
    calls = [marking(tmp_path / "runs", number) for number in range(8)]
    results = engines.run(f"dask://{address}", calls, len(calls))
    first, pid = next(results)
    while len(list((tmp_path / "runs").iterdir())) < len(calls):
        time.sleep(0.01)
    processes[pid].kill()
    while len(client.nthreads()) > 1 or any(client.processing().values()):
        time.sleep(0.01)  # until what the scheduler computes again is there
    others = dict(results)
    assert sorted([first, *others]) == list(range(8))
    assert len(list((tmp_path / "runs").glob(f"{first}-*"))) == 1
