"""A sweep on a Dask cluster of processes gives the same bits, also where a worker is killed in the middle."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import machines
import nets
import pytest

from hwcost import Gemm, InvalidValueError
from hwcost.sweep import engines, pricing, sweep

distributed = pytest.importorskip("distributed")

SPACE = {"rows": range(1, 41), "cols": range(1, 41), "dataflows": ("ws", "os"), "base": machines.RICH["by position"]}
NETWORK = nets.residual()
PATIENCE = 300
"""Seconds for what a busy machine does late: only a failure takes as long."""


def _started(*command):
    """A program of Dask in a process of its own, with this folder's package on its path."""
    root = str(Path(__file__).parent.parent)
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "distributed.cli." + command[0], *command[1:]],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _worker(address, folder):
    options = (
        "--host",
        "127.0.0.1",
        "--nthreads",
        "1",
        "--no-nanny",
        "--no-dashboard",
        "--death-timeout",
        str(PATIENCE),
    )
    return _started("dask_worker", f"tcp://{address}", *options, "--local-directory", str(folder))


def _free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def client_of(address):
    """A client; distributed gives up on its own thread after 10 seconds, which a busy machine can take."""
    for _ in range(3):
        with contextlib.suppress(AssertionError):
            return distributed.Client(f"tcp://{address}", timeout=PATIENCE, set_as_default=False)
    raise AssertionError("no client could be started")


@contextlib.contextmanager
def cluster(folder, workers):
    """A scheduler, and workers that nobody starts again when they end."""
    address = f"127.0.0.1:{_free_port()}"
    port = address.rpartition(":")[2]
    file = str(folder / "scheduler.json")
    running = [
        _started("dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", "--scheduler-file", file)
    ]
    try:
        running += [_worker(address, folder) for _ in range(workers)]
        with client_of(address) as client:  # a sweep waits for 10 seconds only
            if workers:
                client.wait_for_workers(workers, timeout=PATIENCE)
        yield address, running[1:]
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait(timeout=PATIENCE)


@pytest.fixture
def two_workers(tmp_path):
    """The address of a scheduler, a client of it, and the processes of its workers by their addresses."""
    with (
        cluster(tmp_path, 2) as (address, workers),
        client_of(address) as client,
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
        victim.wait(timeout=PATIENCE)

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
    kept = len(list((tmp_path / "kept").glob("chunk-*.npz")))
    assert kept == 1
    found = sweep(NETWORK, **SPACE, engine=engine, keep=tmp_path / "kept", chunk=200)
    assert found.cycles.tobytes() == sweep(NETWORK, **SPACE).cycles.tobytes()
    assert len(list((tmp_path / "kept").glob("chunk-*.npz"))) == 16


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:{port}", "tcp://127.0.0.1:{port}", "127.0.0.1", "nonsense://x:1", "host.invalid:8786", "no.json", "::"],
)
def test_nobody_answers(address, monkeypatch):
    monkeypatch.setattr(engines, "MOST_SECONDS", 1.0)
    with pytest.raises(InvalidValueError, match=r"^engine is 'dask://"):
        sweep(NETWORK, rows=8, cols=8, engine="dask://" + address.format(port=_free_port()))


def test_a_scheduler_without_workers(tmp_path, monkeypatch):
    with cluster(tmp_path, 0) as (address, _):
        monkeypatch.setattr(engines, "MOST_SECONDS", 5.0)
        with pytest.raises(InvalidValueError, match="at least one worker; there was none for 5 s"):
            sweep(NETWORK, rows=8, cols=8, engine=f"dask://{address}")


@pytest.mark.parametrize(
    ("victim", "text"),
    [("scheduler", "a scheduler that goes on to the end; this one is gone"), ("workers", "there was none for 0.5 s")],
)
def test_nobody_is_left(tmp_path, monkeypatch, victim, text):
    monkeypatch.setattr(engines, "MOST_SECONDS_ALONE", 0.5)
    with cluster(tmp_path, 1) as (address, workers):
        with client_of(address) as client:
            scheduler = client.run_on_scheduler(os.getpid)
        monkeypatch.setattr(engines, "MOST_SECONDS", 5.0)
        killed = []

        def progress(points):
            if not killed:
                killed.append(scheduler if victim == "scheduler" else workers[0].pid)
                os.kill(killed[0], signal.SIGKILL)

        with pytest.raises(InvalidValueError, match=text):
            sweep(NETWORK, **SPACE, chunk=10, engine=f"dask://{address}", keep=tmp_path / "kept", progress=progress)
    found = sweep(NETWORK, **SPACE, chunk=10, keep=tmp_path / "kept")
    assert found.cycles.tobytes() == sweep(NETWORK, **SPACE).cycles.tobytes()


def test_a_worker_that_comes_later_is_used(tmp_path):
    with (
        cluster(tmp_path, 1) as (address, workers),
        client_of(address) as client,
    ):
        (first,) = client.nthreads()
        used = False

        def progress(points):
            nonlocal used
            if len(workers) < 2:
                workers.append(_worker(address, tmp_path))
                client.wait_for_workers(2, timeout=PATIENCE)
            used = used or any(keys for place, keys in client.processing().items() if place != first)

        try:
            found = sweep(NETWORK, **SPACE, chunk=8, engine=f"dask://{address}", progress=progress)
        finally:
            workers[-1].kill()
            workers[-1].wait(timeout=PATIENCE)
    assert used
    assert found.cycles.tobytes() == sweep(NETWORK, **SPACE).cycles.tobytes()


def _unknown_there(chunk):
    raise AssertionError("nobody there can import this module")


def test_what_goes_wrong_on_a_worker(two_workers, monkeypatch):
    address, *_ = two_workers
    with pytest.raises(InvalidValueError, match=r"the cycles is .*; allowed: at most 9223372036854775807"):
        sweep([Gemm(2**40, 2**20, 2**20)], rows=[1, 2], cols=[1, 2], engine=f"dask://{address}")
    monkeypatch.setattr(engines, "price", _unknown_there)
    with pytest.raises(InvalidValueError, match="the same versions of hwcost and dask as here"):
        sweep(NETWORK, **SPACE, engine=f"dask://{address}")


def test_one_worker_does_all_the_work(tmp_path, monkeypatch):
    with cluster(tmp_path, 1) as (address, _):
        monkeypatch.setattr(pricing, "gemm_cycles", None)  # in this process alone
        found = sweep(NETWORK, **SPACE, chunk=100, engine=f"dask://{address}")
        monkeypatch.undo()
    assert found.cycles.tobytes() == sweep(NETWORK, **SPACE).cycles.tobytes()
