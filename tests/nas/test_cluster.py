"""A sweep of searches on a Dask cluster: the same results, also if a worker is killed within a task."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import clusters
import pytest

from hwcost import InvalidValueError
from nas_plugin import ArchDef, resume_sweep, sweep

from .conftest import Ended

pytestmark = pytest.mark.usefixtures("no_pictures")

GIVEN: dict[str, Any] = {
    "methods": ["one-shot", "expectation"],
    "targets": ["0.5", "0.9"],
    "seeds": [0],
    "train_seeds": 1,
    "images": 80,
    "epochs": 30,
    "train_epochs": 2,
    "candidates": 4,
    "finalists": 2,
    "finalist_epochs": 1,
}


def results(folder: Path) -> bytes:
    return (folder / "results.json").read_bytes()


def test_a_worker_is_killed_within_a_task(small: ArchDef, tmp_path: Path) -> None:
    sweep(out=tmp_path / "whole", arch_def=small, **GIVEN)
    folder, killed = tmp_path / "run", threading.Event()

    with clusters.cluster(tmp_path, 2) as (address, workers), clusters.client_of(address) as client:
        client.wait_for_workers(2, timeout=60)
        processes = {worker.pid: worker for worker in workers}
        places = {place: processes[pid] for place, pid in client.run(os.getpid).items()}

        def kill_one_at_work() -> None:
            """Kills a worker once a task that it has begun has a checkpoint and is not done."""
            while not killed.is_set():
                for place, keys in client.processing().items():
                    if keys and list(folder.glob("*/*/checkpoint.pt")) and not killed.is_set():
                        os.kill(places[place].pid, signal.SIGKILL)
                        places[place].wait(timeout=60)
                        killed.set()
                time.sleep(0.01)

        killer = threading.Thread(target=kill_one_at_work, daemon=True)
        killer.start()
        lines = Ended()
        sweep(out=folder, arch_def=small, engine=f"dask://{address}", progress=lines, **GIVEN)
        assert killed.is_set()
        killer.join()
        assert sorted(worker.poll() is None for worker in workers) == [False, True]
    assert lines[-1][0] == lines[-1][1] == len(lines)
    assert results(folder) == results(tmp_path / "whole")
    assert not list(folder.rglob("checkpoint.pt"))
    assert [path.name for path in folder.rglob(".*")] == [".lock"]


def test_an_engine_that_cannot_be_used_makes_no_folder(small: ArchDef, tmp_path: Path) -> None:
    for given in ({"engine": "slurm"}, {"engine": "dask://127.0.0.1:9", "jobs": 2}, {"engine": "serial", "jobs": 2}):
        with pytest.raises(InvalidValueError) as caught:
            sweep(out=tmp_path / "run", arch_def=small, **given, **GIVEN)
        assert caught.value.field in ("engine", "jobs")
    assert not list(tmp_path.iterdir())


def test_a_sweep_may_change_its_engine(small: ArchDef, tmp_path: Path) -> None:
    given = GIVEN | {"epochs": 2}

    def stop(done: int, *_: object) -> None:
        if done == 2:
            raise KeyboardInterrupt

    sweep(out=tmp_path / "whole", arch_def=small, **given)
    with pytest.raises(KeyboardInterrupt):
        sweep(out=tmp_path / "run", arch_def=small, progress=stop, **given)
    resume_sweep(tmp_path / "run", engine="processes")
    assert results(tmp_path / "run") == results(tmp_path / "whole")
