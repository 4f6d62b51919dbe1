"""A Dask cluster of processes on this machine, which tests may kill."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hwcost.sweep import engines

distributed = pytest.importorskip("distributed")

PATIENCE = 300
"""Seconds for what a busy machine does late: only a failure takes as long."""


def started(*command):
    """A program of Dask in a process of its own, with this folder's package on its path."""
    root = str(Path(__file__).parent.parent)
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "distributed.cli." + command[0], *command[1:]],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def worker(address, folder):
    options = ["--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    options += ["--death-timeout", str(PATIENCE)]
    return started("dask_worker", f"tcp://{address}", *options, "--local-directory", str(folder))


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def client_of(address):
    """A client, which a busy machine may start late."""
    return engines.started(
        functools.partial(distributed.Client, f"tcp://{address}", timeout=PATIENCE, set_as_default=False)
    )


@contextlib.contextmanager
def cluster(folder, workers):
    """A scheduler, and workers that nobody starts again when they end."""
    address = f"127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    file = str(folder / "scheduler.json")
    running = [
        started("dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", "--scheduler-file", file)
    ]
    try:
        running += [worker(address, folder) for _ in range(workers)]
        with client_of(address) as client:  # a sweep waits for 10 seconds only
            if workers:
                client.wait_for_workers(workers, timeout=PATIENCE)
        yield address, running[1:]
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait(timeout=PATIENCE)
