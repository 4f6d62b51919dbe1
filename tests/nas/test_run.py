from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from running import started

import nas_plugin
from hwcost import InvalidValueError, SystolicArray, network_cost
from nas_plugin import ArchDef, TrainableNetwork, read_run, read_sweep, resume, search
from nas_plugin.errors import RunError
from nas_plugin.runs.folders import only_one

from .conftest import used

SHORT: dict[str, Any] = {"method": "darts", "epochs": 6, "train_epochs": 4, "batch": 32, "alpha_batch": 16}
RESULTS = ["arch_def.toml", "log.jsonl", "result.json", "sweep.json", "winner.toml"]
WEIGHTS = ["winner.safetensors", "reference.safetensors"]


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in RESULTS + WEIGHTS}


@pytest.fixture(scope="module")
def finished(small: nas_plugin.ArchDef, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    search(arch_def=small, out=folder, **SHORT)
    return folder


def test_the_run_folder_holds_all_of_the_result(finished: Path, small: nas_plugin.ArchDef) -> None:
    assert {path.name for path in finished.iterdir()} == {
        *RESULTS,
        *WEIGHTS,
        ".lock",
        "searches",
        "trainings",
        "search.png",
        "winner.png",
    }
    in_memory = search(arch_def=small, **SHORT)
    read = read_run(finished)
    assert read.as_dict() == in_memory.as_dict() == json.loads((finished / "result.json").read_text())
    lines = (finished / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == in_memory.log == read.log
    assert str(read) == str(in_memory)
    assert "of the reference's cycles at" in str(read).splitlines()[-1]
    assert repr(read).startswith("<SearchResult: ")
    assert repr(read).count("\n") == 0
    assert [record["stage"] for record in in_memory.log] == ["search"] * 6 + ["winner"] * 4 + ["reference"] * 4
    for stage, outcome in in_memory.outcomes.items():
        weights = safetensors.torch.load_file(finished / f"{stage}.safetensors")
        network = TrainableNetwork(small, outcome.choice)
        network.load_state_dict(weights)
        images = torch.randn(4, 1, 12, 12)
        assert torch.equal(network(images), outcome.network(images))


def test_the_result_holds_what_it_depends_on(finished: Path, small: nas_plugin.ArchDef) -> None:
    result = json.loads((finished / "result.json").read_text())
    assert result["schema"] == "nas_plugin.result/1"
    assert result["made_with"]["hwcost"] == nas_plugin.__version__
    assert result["made_with"]["torch"] == torch.__version__
    assert result["made_with"]["device"] == "cpu"
    assert result["seed"] == 0
    assert result["settings"]["epochs"] == 6
    assert result["array"] == {"rows": 4, "cols": 4, "clock_hz": 1e9, "dataflow": "ws", "fold_timing": "ideal"}
    for name in ("winner", "reference"):
        report = network_cost(small.space.at(result[name]["choice"]), small.array)
        assert result[name]["cycles"] == report.total.cycles
        assert result[name]["cycles_by_layer"] == {layer: cost.cycles for layer, cost in report.layers.items()}
        assert result[name]["parameters"] == TrainableNetwork(small, result[name]["choice"]).parameter_count
    assert result["reference"]["choice"] == small.reference
    winner = tomllib.loads((finished / "winner.toml").read_text())
    assert winner["choice"] == result["winner"]["choice"]
    assert winner["winner"]["cycles"] == result["winner"]["cycles"]


def test_rounding_is_reported(finished: Path) -> None:
    result = read_run(finished)
    grown = {name for name, size in result.winner.choice.items() if size > result.derived[name]}
    assert set(result.rounded) == grown
    derived = network_cost(result.arch.space.at(result.derived), result.arch.array).total.cycles
    assert derived == result.cost(result.winner).total.cycles


@pytest.mark.parametrize("name", ["search.png", "winner.png"])
def test_pictures_are_pictures(finished: Path, name: str) -> None:
    content = (finished / name).read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 20_000


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("after", [1, 3, 6, 7, 9, 10, 12])
def test_a_stop_after_any_epoch_changes_nothing(
    finished: Path, small: nas_plugin.ArchDef, tmp_path: Path, after: int
) -> None:
    seen = 0

    def stop(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(arch_def=small, out=tmp_path / "run", progress=stop, **SHORT)
    with pytest.raises(RunError, match="has not ended"):
        read_run(tmp_path / "run")
    torch.manual_seed(after)
    result = resume(tmp_path / "run")
    assert contents(tmp_path / "run") == contents(finished)
    assert result.as_dict() == read_run(finished).as_dict()


WAYS = {
    "darts": {"method": "darts", "weight": 0.2},
    "darts, target": {"method": "darts", "target": "0.5"},
    "darts, MACs": {"method": "darts", "target": "0.5", "latency": "flops", "snaps": False, "utilization": 0.1},
    "one-shot": {"method": "one-shot", "weight": 0.2, "candidates": 32},
    "one-shot, target": {"method": "one-shot", "target": "500cycles", "candidates": 3},
    "prune": {"method": "prune", "weight": 0.2, "candidates": 3},
    "prune, target": {"method": "prune", "target": "500cycles", "candidates": 3},
    "random": {"method": "random", "weight": 0.2},
    "random, target": {"method": "random", "target": "500cycles"},
    "most-macs": {"method": "most-macs", "target": "500cycles"},
}


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("way", WAYS)
def test_every_method_can_stop_after_every_step(small: nas_plugin.ArchDef, tmp_path: Path, way: str) -> None:
    few = {"epochs": 3, "train_epochs": 2, "batch": 64, "alpha_batch": 16, "finalists": 2, "finalist_epochs": 1}
    given = {"arch_def": small, "images": 100} | used(**few | WAYS[way])
    whole = search(out=tmp_path / "whole", **given)
    steps = len(whole.log)
    assert steps >= 4
    seen = 0

    def stop(*_: object) -> None:
        nonlocal seen
        seen += 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(out=tmp_path / "run", progress=stop, **given)
    while seen < steps:  # one step at a time, each as if in a process of its own
        torch.manual_seed(seen)
        with pytest.raises(KeyboardInterrupt):
            resume(tmp_path / "run", stop)
    assert resume(tmp_path / "run").as_dict() == whole.as_dict() == read_run(tmp_path / "run").as_dict()
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


@pytest.mark.usefixtures("no_pictures")
def test_two_processes_do_not_work_in_one_folder(finished: Path) -> None:
    with (
        only_one(finished),
        pytest.raises(RunError, match=r"whole cannot be written to: another process works in it; wait"),
    ):
        resume(finished)
    assert resume(finished).as_dict() == read_run(finished).as_dict()


def test_a_target_and_what_the_largest_alphas_alone_take(small: nas_plugin.ArchDef, finished: Path) -> None:
    array = SystolicArray(4, 4, clock_hz=1e6)
    result = search(arch_def=small, array=array, target="0.97ms", **SHORT)
    assert result.target_cycles == pytest.approx(970)
    assert 0.97 * 970 <= result.cost(result.winner).total.cycles <= 970
    last = [record for record in result.log if record["stage"] == "search"][-1]
    cycles = network_cost(small.space.at(last["choice"]), array).total.cycles
    assert result.largest_alphas == pytest.approx(cycles / result.cost(result.reference).total.cycles)
    assert read_run(finished).target_cycles is None


@pytest.mark.parametrize("array", ["8x8", (8, 8)])
def test_an_array_is_a_systolic_array(array: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"allowed: (a SystolicArray|one of: edge-tpu)"):
        search(array=array)


def test_an_unreachable_target_or_a_missing_one_leaves_no_folder(small: nas_plugin.ArchDef, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"target is '0.2'; allowed: at least 201 cycles \(0.206 of the ref"):
        search(arch_def=small, out=tmp_path / "run", target=0.2, **SHORT)
    with pytest.raises(InvalidValueError, match=r"target is missing; needed: .* 'most-macs'"):
        search(arch_def=small, out=tmp_path / "run", method="most-macs")
    with pytest.raises(InvalidValueError, match="images is 241; allowed: an integer from 2 to 240"):
        search(arch_def=small, out=tmp_path / "run", images=241, **SHORT)
    assert not list(tmp_path.iterdir())


def test_as_few_images_as_can_be(small: nas_plugin.ArchDef) -> None:
    """One for the weights, one held out."""
    for method in ("darts", "one-shot", "prune", "random", "most-macs"):
        few = used(method=method, epochs=1, train_epochs=1, finalist_epochs=1, candidates=2)
        result = search(arch_def=small, images=2, target="500cycles", **few)
        assert 485 <= result.cost(result.winner).total.cycles <= 500


WAITS_TO_BE_KILLED = """
import sys, threading, nas_plugin
small, out, most = sys.argv[1:]
def progress(*epoch):
    print("epoch", file=sys.stderr, flush=True)
    progress.seen += 1
    if progress.seen > int(most):
        threading.Event().wait()
progress.seen = 0
settings = {"method": "darts", "epochs": 30, "train_epochs": 30}
nas_plugin.search(arch_def=nas_plugin.load_arch_def(small), out=out, progress=progress, **settings)
"""
"""A search that never ends, however late the signal comes: it stops a few epochs after those that the test reads."""


def wait_until(is_so: Callable[[], bool], is_alive: Callable[[], bool]) -> None:
    while not is_so():
        assert is_alive()
        time.sleep(0.001)


@pytest.fixture(scope="module")
def never_killed(small: nas_plugin.ArchDef, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "never-killed"
    search(arch_def=small, out=folder, method="darts", epochs=30, train_epochs=30)
    return folder


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(("lines", "pause"), [(0, 0.0), (3, 0.011), (30, 0.004), (47, 0.007)])
def test_a_killed_process_resumes_to_the_same_bits(
    never_killed: Path, small_file: Path, tmp_path: Path, lines: int, pause: float
) -> None:
    killed, script, shows = tmp_path / "killed", tmp_path / "script.py", tmp_path / "out.err"
    script.write_text(WAITS_TO_BE_KILLED)
    second = started(script, small_file, killed, lines + 3, out=tmp_path / "out", folder=tmp_path)
    wait_until(killed.exists, second.is_alive)
    wait_until(lambda: shows.read_text().count("epoch\n") >= lines, second.is_alive)
    time.sleep(pause)
    second.kill()
    second.join()
    assert second.exitcode == -signal.SIGKILL
    assert not (killed / "result.json").exists()
    shown: list[object] = []
    resume(killed, lambda *epoch: shown.append(epoch))
    assert len(shown) <= 90 - lines
    assert contents(killed) == contents(never_killed)


@pytest.mark.usefixtures("deliverable_sigint")
def test_ctrl_c_shows_how_to_go_on(small_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ("--arch-def", str(small_file), "--method", "darts", "--epochs", "3000", "--out", str(out))
    command = [sys.executable, "-m", "nas_plugin", "search", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    wait_until(out.exists, lambda: process.poll() is None)
    for _ in range(2):
        assert "epoch" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.split("\n\n")[0].splitlines()[-1] == f"Stopped. Go on with: nas-plugin search --resume {out}"
    assert "Traceback" not in errors


@pytest.mark.usefixtures("no_pictures")
def test_a_full_disk_leaves_the_last_checkpoint(
    finished: Path, small: nas_plugin.ArchDef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = os.fsync, 0

    def full(handle: int) -> None:
        nonlocal written
        written += 1
        if written == 8:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot be written: No space left on device"):
        search(arch_def=small, out=tmp_path / "run", **SHORT)
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(".")] == [".lock"]
    resume(tmp_path / "run")
    assert contents(tmp_path / "run") == contents(finished)


@pytest.mark.usefixtures("no_pictures")
def test_a_finished_run_can_be_resumed_and_shows_its_result(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    shown: list[object] = []
    assert resume(copy, lambda *epoch: shown.append(epoch)).as_dict() == read_run(finished).as_dict()
    assert shown == []
    assert contents(copy) == contents(finished)


def test_folders_that_cannot_be_used(finished: Path, small: nas_plugin.ArchDef, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"exists and is not empty; .* resume what it holds with --resume"):
        search(arch_def=small, out=finished, **SHORT)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        search(arch_def=small, out=tmp_path / "file" / "run", **SHORT)
    with pytest.raises(
        RunError, match=r"not the folder of a search or sweep: .*sweep.json cannot be read: No such file or directory"
    ):
        resume(tmp_path)
    (row,) = read_sweep(finished).found  # a run is a sweep of one search
    assert row.winner == read_run(finished).winner.choice


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("sweep.json", b"{", "not the folder of a search or sweep"),
        ("sweep.json", b"{}", "not of schema"),
        ("sweep.json", b'{"schema": "nas_plugin.sweep/5", "sweep": {"data": "x"}}', "was changed after it was written"),
        ("searches/*/search.json", b"{}", "is not of schema 'nas_plugin.sweep/5/search'"),
        ("trainings/*/weights.safetensors", b"nothing", "was changed after it was written"),
    ],
)
def test_damaged_runs(finished: Path, tmp_path: Path, file: str, content: bytes, message: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    next(copy.glob(file)).write_bytes(content)
    with pytest.raises(RunError, match=message) as caught:
        resume(copy)
    assert "\n" not in str(caught.value)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("exploded"),)  # type: ignore[return-value]


def test_a_checkpoint_is_never_executed(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    result = next(copy.glob("searches/*/search.json"))
    result.unlink()
    torch.save({"work": {}, "log": Bomb()}, result.parent / "checkpoint.pt")
    with pytest.raises(RunError, match="cannot be read"):
        resume(copy)
    assert not (tmp_path / "exploded").exists()


def test_threads_are_put_back(small: nas_plugin.ArchDef) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        search(arch_def=small, threads=1, **SHORT | {"epochs": 3, "train_epochs": 1})
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_another_array_and_bad_settings(small: nas_plugin.ArchDef) -> None:
    array = SystolicArray(8, 2, dataflow="os", fold_timing="serial")
    result = search(arch_def=small, array=array, **SHORT)
    assert result.arch.array == array
    assert result.cost(result.reference).total == network_cost(small.space.at(small.reference), array).total
    with pytest.raises(InvalidValueError, match="latency is 'fast'; allowed: one of: logistic, shifted"):
        search(arch_def=small, latency="fast", **SHORT)


def test_a_run_whose_search_space_was_edited_is_refused(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    text = (copy / "arch_def.toml").read_text()
    (copy / "arch_def.toml").write_text(text.replace("[2, 3, 5, 8]", "[2, 3, 5, 7]"))
    with pytest.raises(RunError, match="is not the one that the run began with"):
        resume(copy)


@pytest.mark.usefixtures("no_pictures")
def test_a_run_goes_on_from_another_folder_without_its_device_file(
    small_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    device = resources.files("hwcost").joinpath("devices", "gemmini.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(device)
    (tmp_path / "space.toml").write_text(small_text.replace("{ rows = 4, cols = 4 }", '{ device = "mine.toml" }'))
    found = search(arch_def="space.toml", out="run", epochs=2, train_epochs=1, weight_only_epochs=1)
    (tmp_path / "mine.toml").unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert resume("../run").as_dict() == found.as_dict()


def test_a_training_that_diverges_is_an_error(small: ArchDef) -> None:
    with pytest.raises(RunError, match=r"the training diverged: .*; lower lr"):
        search(arch_def=small, epochs=2, train_epochs=1, lr=1e20, clip=1e20)
