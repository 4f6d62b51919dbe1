from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import shutil
import threading
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from hwcost import FOLD_TIMINGS, InvalidValueError, SystolicArray, network_cost
from hwcost.machine import Dataflow, Lowering, Term, Transfer
from hwcost.machine.rows import Row
from nas_plugin import LATENCIES, ArchDef, Comparison, read_run, read_sweep, resume, resume_sweep, search, sweep
from nas_plugin.errors import RunError
from nas_plugin.methods.settings import ROWS as SETTING_ROWS
from nas_plugin.methods.settings import SearchSettings
from nas_plugin.methods.table import DEFAULT_METHODS, METHODS, SWEEP_METHODS
from nas_plugin.methods.training import SuperNetworkTraining
from nas_plugin.runs.folders import only_one, save_checkpoint, save_json, threads
from nas_plugin.runs.settings import SweepSettings
from nas_plugin.runs.sweep import ROWS as MACHINE_ROWS
from nas_plugin.runs.sweep import SearchSweep, run_sweep
from nas_plugin.runs.task import images_of, key_of, perform, read_weights

from .conftest import Ended, used, write_images

ARRAYS = (SystolicArray(4, 4), SystolicArray(8, 2, fold_timing="serial"))
FEW = {"images": 80, "epochs": 2, "train_epochs": 2, "candidates": 4, "finalists": 2, "finalist_epochs": 1}
TINY: dict[str, Any] = {
    "methods": ["one-shot", "expectation", "flops", "most-macs"],
    "targets": ["0.5", "0.9"],
    "seeds": [0, 1],
    "train_seeds": 2,
    "arrays": ARRAYS,
    **FEW,
}
ONE: dict[str, Any] = TINY | {"methods": ["one-shot", "most-macs"], "targets": [0.5], "arrays": ARRAYS[:1]}
OUTPUTS = ("results.json", "results.md")


@pytest.fixture(scope="module")
def tiny(
    small: ArchDef, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Comparison, list[tuple[int, int, str]]]:
    folder, lines = tmp_path_factory.mktemp("sweeps") / "tiny", Ended()
    found = sweep(out=folder, arch_def=small, progress=lines, **TINY)
    return folder, found, lines


@pytest.fixture(scope="module")
def one(small: ArchDef, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps") / "one"
    sweep(out=folder, arch_def=small, **ONE)
    return folder


def copy_of(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def outputs(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in OUTPUTS]


# ---------------------------------------------------------------- end to end


def test_a_sweep_holds_every_search_and_every_training(small: ArchDef, tiny: tuple[Path, Comparison, Any]) -> None:
    folder, found, _ = tiny
    assert len(found.found) == 2 * 4 * 2 * 2
    assert {(f.array, f.method, f.limit, f.seed) for f in found.found} == {
        (array, method, limit, seed)
        for array in ("4x4", "8x2")
        for method in TINY["methods"]
        for limit in ("0.5", "0.9")
        for seed in (0, 1)
    }
    for f in found.found:
        array = ARRAYS[("4x4", "8x2").index(f.array)]
        own, reference = (network_cost(small.space.at(c), array).total.cycles for c in (f.winner, small.reference))
        assert f.cycles == own
        assert f.cycles_ratio == own / reference
        assert f.share_of_target == pytest.approx(own / (float(f.limit) * reference))
        assert f.method == "flops" or f.share_of_target <= 1
        assert len(f.accuracies) == 2
        assert all(0 <= accuracy <= 1 for accuracy in f.accuracies)
    assert {path.name for path in folder.iterdir()} == {
        *OUTPUTS,
        *(".lock", "arch_def.toml", "sweep.json", "pareto.png", "super-networks", "searches", "trainings"),
    }
    assert (folder / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "pareto.png").stat().st_size > 20_000
    assert not list(folder.rglob("checkpoint.pt"))
    assert [path.name for path in folder.rglob("*") if path.name.startswith(".")] == [".lock"]


def test_its_results_say_what_they_depend_on(tiny: tuple[Path, Comparison, Any]) -> None:
    folder, found, _ = tiny
    results = json.loads((folder / "results.json").read_text())
    assert results == json.loads(json.dumps(found.as_dict()))
    assert results["schema"] == "nas_plugin.sweep/5/results"
    assert results["made_with"]["torch"] == torch.__version__
    assert results["settings"]["seeds"] == [0, 1]
    assert results["settings"]["given"]["images"] == results["settings"]["count"] == 80
    assert [(array["rows"], array["cols"]) for array in results["arrays"]] == [(4, 4), (8, 2)]
    assert len(results["winners"]) == 2 * 4 * 2
    assert len(results["methods"]) == 2 * 4
    assert (folder / "results.md").read_text() == found.tables()
    assert read_sweep(folder).as_dict() == found.as_dict()
    for path in folder.rglob("*.json"):
        if path.name != "results.json" and path.parent != folder:
            task = json.loads(path.read_text())
            assert task["schema"].startswith("nas_plugin.sweep/5/")
            assert task["settings"]["threads"] == 1
            assert task["made_with"]["numpy"]


def test_what_winners_share_is_done_once(
    small: ArchDef, tiny: tuple[Path, Comparison, list[tuple[int, int, str]]]
) -> None:
    folder, found, lines = tiny
    networks = {key_of(small.reference), *(key_of(f.winner) for f in found.found)}
    expected = {f"{key}-seed{seed}" for key in networks for seed in (0, 1)}
    assert {path.name for path in (folder / "trainings").iterdir()} == expected
    assert {path.name for path in (folder / "super-networks").iterdir()} == {"seed0", "seed1"}
    assert len(networks) < len(found.found)  # some are shared, else nothing is tested here
    assert len(lines) == 2 + 32 + len(expected)
    assert [done for done, _, _ in lines] == list(range(1, len(lines) + 1))
    assert lines[-1][1] == len(lines)
    assert len({line for _, _, line in lines}) == len(lines)
    for f in found.found:
        accuracies = [
            json.loads((folder / "trainings" / f"{key_of(f.winner)}-seed{seed}" / "training.json").read_text())
            for seed in (0, 1)
        ]
        assert f.accuracies == tuple(a["test_accuracy"] for a in accuracies)
        assert [a["choice"] for a in accuracies] == [f.winner] * 2


@pytest.mark.parametrize("method", TINY["methods"])
def test_it_finds_what_plain_runs_find(small: ArchDef, tiny: tuple[Path, Comparison, Any], method: str) -> None:
    _, comparison, _ = tiny
    (found,) = [f for f in comparison.of("4x4", method, "0.9") if f.seed == 0]
    plain = search(arch_def=small, array=ARRAYS[0], target="0.9", seed=0, **used(**FEW, **SWEEP_METHODS[method]))
    assert plain.winner.choice == found.winner
    assert plain.winner.test_accuracy == found.accuracies[0]
    assert plain.reference.test_accuracy == comparison.reference[0]


def test_one_super_network_is_that_of_a_plain_run(small: ArchDef, tiny: tuple[Path, Comparison, Any]) -> None:
    folder, comparison, _ = tiny
    settings = comparison.sweep.settings.search("one-shot", {"target": "0.5"}, 1)
    training = SuperNetworkTraining(small, settings, images_of(small, settings)[0])
    with threads(settings.threads):
        while not training.done:
            training.run_epoch()
    kept = safetensors.torch.load_file(folder / "super-networks" / "seed1" / "weights.safetensors")
    assert kept.keys() == training.network.state_dict().keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in training.network.state_dict().items())


@pytest.mark.usefixtures("no_pictures")
def test_two_jobs_find_the_same(small: ArchDef, one: Path, tmp_path: Path) -> None:
    lines = Ended()
    sweep(out=tmp_path / "two", arch_def=small, jobs=2, progress=lines, **ONE)
    assert outputs(tmp_path / "two") == outputs(one)
    assert lines[-1][0] == lines[-1][1] == len(lines)


@pytest.mark.usefixtures("no_pictures")
def test_lambdas_in_the_place_of_targets(small: ArchDef, tmp_path: Path) -> None:
    given = {"lambdas": [0.1, 2.0], "methods": ["one-shot", "expectation", "random"], "seeds": [0], "train_seeds": 1}
    found = sweep(out=tmp_path / "a", arch_def=small, **FEW | {"candidates": 10**6, "finalists": 1} | given)
    assert [f.limit for f in found.of("4x4", "one-shot")] == ["lambda 0.1", "lambda 2"]
    assert {f.share_of_target for f in found.found} == {None}
    much, little = (found.of("4x4", "one-shot", limit)[0].cycles for limit in ("lambda 0.1", "lambda 2"))
    assert much >= little
    assert read_sweep(tmp_path / "a").as_dict() == found.as_dict()
    assert (tmp_path / "a" / "searches" / "4x4-one-shot-lambda0.1-seed0" / "search.json").exists()


# ---------------------------------------------------------------- stopping and going on


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("after", [1, 3, 6, 9])
def test_a_sweep_that_was_stopped_between_tasks(small: ArchDef, one: Path, tmp_path: Path, after: int) -> None:
    def stop(done: int, *_: object) -> None:
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(out=tmp_path / "run", arch_def=small, progress=stop, **ONE)
    with pytest.raises(RunError, match="has not ended; go on with --resume"):
        read_sweep(tmp_path / "run")
    lines = Ended()
    torch.manual_seed(after)
    resume_sweep(tmp_path / "run", progress=lines)
    assert sum(line.endswith(": was done") for _, _, line in lines) == after
    assert outputs(tmp_path / "run") == outputs(one)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("after", [2, 6, 9, 14])
def test_a_sweep_that_was_stopped_within_a_task(small: ArchDef, one: Path, tmp_path: Path, after: int) -> None:
    folder, steps = tmp_path / "run", 0

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == after:
            raise KeyboardInterrupt

    def go_on() -> None:
        with only_one(folder) as owner:
            run_sweep(SearchSweep.open(folder), owner, on_step=count)

    begun = SearchSweep.open(one)
    SearchSweep.create(folder, small, begun.arrays, begun.settings)
    with pytest.raises(KeyboardInterrupt):
        go_on()
    assert list(folder.rglob("checkpoint.pt"))
    torch.manual_seed(after)
    go_on()
    assert steps == sum(len(log.read_text().splitlines()) for log in one.rglob("log.jsonl"))  # nothing is done twice
    resume_sweep(folder)
    assert outputs(folder) == outputs(one)
    assert not list(folder.rglob("checkpoint.pt"))


@pytest.mark.usefixtures("no_pictures")
def test_a_finished_sweep_does_nothing_again(one: Path, tmp_path: Path) -> None:
    copy = copy_of(one, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in copy.glob("*/*/*")}
    lines = Ended()
    resume_sweep(copy, progress=lines)
    assert all(line.endswith(": was done") for _, _, line in lines)
    assert outputs(copy) == outputs(one)
    assert {path: path.stat().st_mtime_ns for path in copy.glob("*/*/*")} == before


@pytest.mark.parametrize("raises", [False, True])
def test_tasks_under_way_are_reported(small: ArchDef, one: Path, tmp_path: Path, *, raises: bool) -> None:
    """The second training waits after each step until its line has come; the first was stopped and is not under way."""
    copy = copy_of(one, tmp_path)
    sweep = SearchSweep.open(copy)
    first, second = sweep.trainings(small.reference)
    for task in (first, second):
        task.path.unlink()
    with only_one(copy) as owner, pytest.raises(KeyboardInterrupt):
        perform(second, owner, stop_at_once)
    seen, lines = threading.Event(), list[str]()

    def progress(done: int, total: int, line: str) -> None:
        lines.append(line)
        if "step" in line:
            seen.set()
            if raises:
                raise LookupError(line)

    def wait(*_: object) -> None:
        assert seen.wait(60)

    before = threading.active_count()
    with only_one(copy) as owner, pytest.raises(LookupError) if raises else contextlib.nullcontext():
        run_sweep(sweep, owner, progress, on_step=wait, quiet=0.01)
    assert next(line for line in lines if "step" in line) == f"{first.label}, step 1"
    assert first.done
    assert second.done
    assert threading.active_count() == before


def stop_at_once(*_: object) -> None:
    raise KeyboardInterrupt


def test_workers_stop_when_the_sweep_is_gone(small: ArchDef, one: Path, tmp_path: Path) -> None:
    copy = copy_of(one, tmp_path)
    (task, *_) = SearchSweep.open(copy).trainings({"conv1.width": 3, "conv1.kernel": 3, "fc1.width": 5})
    with only_one(copy) as gone:
        pass
    with only_one(copy) as owner:
        for other in (gone, dataclasses.replace(owner, process=-1)):
            with pytest.raises(RunError, match=r"the process that ran .* is gone"):
                perform(task, other)
        with pytest.raises(RunError, match=r"0\.0\.1 where the sweep was started"):
            perform(dataclasses.replace(task, made_with=dict(task.made_with) | {"hwcost": "0.0.1"}), owner)
        assert not task.folder.exists()
        assert perform(task, owner).startswith("training 3-3-5, seed 0: ")
        assert task.done
        written = {path.name: path.read_bytes() for path in task.folder.iterdir()}
        (task.folder / "checkpoint.pt").touch()  # of a worker that was killed before it could say that the task is done
        assert perform(task, owner) == "training 3-3-5, seed 0: was done"
    assert {path.name: path.read_bytes() for path in task.folder.iterdir()} == written


@pytest.mark.usefixtures("no_pictures")
def test_two_processes_do_not_work_in_one_folder(one: Path, tmp_path: Path) -> None:
    copy = copy_of(one, tmp_path)
    with only_one(copy), pytest.raises(RunError, match=r"copy cannot be written to: another process works in it"):
        resume_sweep(copy)
    assert outputs(copy) == outputs(one)
    resume_sweep(copy)


def swept(count: int, methods: tuple[str, ...], **given: Any) -> SweepSettings:
    return SweepSettings.of_sweep("x", count, methods, **{"train_seeds": 3, "given": {}} | given)


def test_settings_of_the_authors_search_do_not_bind_trainings() -> None:
    settings = swept(60_000, ("expectation", "one-shot"), targets=("0.5",), given={"weight_only_epochs": 8})
    assert settings.search("expectation", {"target": "0.5"}, 0).weight_only_epochs == 8
    assert settings.training(0).train_epochs == 15
    assert settings.search("one-shot", {"target": "0.5"}, 0).epochs == 6


# ---------------------------------------------------------------- what cannot be used


def first(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


@pytest.mark.parametrize(
    ("pattern", "content", "message"),
    [
        ("sweep.json", b"{", "is not the folder of a search or sweep"),
        ("sweep.json", b"[]", "is not of schema 'nas_plugin.sweep/5'; begin in another"),
        ("sweep.json", b'{"schema": "nas_plugin.sweep/5"}', r"sweep\.json cannot be read: it was changed"),
        ("sweep.json", b'{"sweep": ' + b"[" * 100_000, r"sweep\.json cannot be read"),
        ("arch_def.toml", b"x = ", "is not the one that the run began with"),
        ("searches/*/search.json", b"{", r"search\.json cannot be read: .*; delete it and resume"),
        (
            "searches/*/search.json",
            b"{}",
            r"search\.json cannot be read: it is not of schema .*5/search'; delete it and resume",
        ),
        (
            "trainings/*/training.json",
            b"[]",
            r"training\.json cannot be read: it is not of schema 'nas_plugin.sweep/5/training'; delete it and resume",
        ),
        ("trainings/*/training.json", b"\xff\xfe", r"training\.json cannot be read"),
    ],
)
def test_damaged_files_are_named(one: Path, tmp_path: Path, pattern: str, content: bytes, message: str) -> None:
    copy = copy_of(one, tmp_path)
    first(copy, pattern).write_bytes(content)
    with pytest.raises((RunError, ValueError), match=message) as caught:
        resume_sweep(copy)
    assert str(copy) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("content", [b"nothing", b"", None])
def test_a_damaged_super_network_is_named(
    tiny: tuple[Path, Comparison, Any], tmp_path: Path, content: bytes | None
) -> None:
    copy = copy_of(tiny[0], tmp_path)
    first(copy, "searches/*one-shot*seed0/search.json").unlink()
    weights = copy / "super-networks" / "seed0" / "weights.safetensors"
    weights.unlink() if content is None else weights.write_bytes(content)
    with pytest.raises(RunError, match=r"weights\.safetensors cannot be .*; delete .*seed0 and resume"):
        resume_sweep(copy)
    shutil.rmtree(copy / "super-networks" / "seed0")  # as it says
    resume_sweep(copy)
    assert outputs(copy) == outputs(tiny[0])


def test_a_damaged_checkpoint_is_named(small: ArchDef, one: Path, tmp_path: Path) -> None:
    copy = copy_of(one, tmp_path)
    result = first(copy, "trainings/*/training.json")
    result.unlink()
    (result.parent / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"checkpoint\.pt cannot be read as a checkpoint of this task"):
        resume_sweep(copy)


@pytest.mark.usefixtures("no_pictures")
def test_a_deleted_result_is_made_again(one: Path, tmp_path: Path) -> None:
    copy = copy_of(one, tmp_path)
    for pattern in ("searches/*/search.json", "trainings/*/training.json"):
        first(copy, pattern).unlink()
    resume_sweep(copy)
    assert outputs(copy) == outputs(one)


@pytest.mark.usefixtures("no_pictures")
def test_other_images_are_refused(small: ArchDef, tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    given = {"methods": ["most-macs"], "targets": [0.5], "images": 80, "train_epochs": 1, "train_seeds": 1}
    sweep(out=tmp_path / "run", arch_def=small, data=tmp_path / "images", **given)
    resume_sweep(tmp_path / "run")
    write_images(tmp_path / "images", train=230)
    with pytest.raises(RunError, match=r"was begun with other images than .* holds now; begin in another folder"):
        resume_sweep(tmp_path / "run")


def test_folders_that_cannot_be_used(small: ArchDef, one: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="exists and is not empty"):
        sweep(out=one, arch_def=small, **ONE)
    with pytest.raises(RunError, match="is not the folder of a search or sweep"):
        resume_sweep(tmp_path / "nowhere")
    with pytest.raises(RunError, match="is not the folder of a search or sweep"):
        read_sweep(tmp_path)
    with pytest.raises(
        RunError, match=r"one is not the folder of a run.*; nas-plugin sweep --resume .*one goes on with it"
    ):
        resume(one)


BAD = [
    ({"methods": []}, r"methods is \[\]; allowed: at least one, each once"),
    ({"methods": ["most-macs"] * 2}, "methods is .*; allowed: at least one, each once"),
    ({"methods": ["darts"]}, "methods is 'darts'; allowed: one of: one-shot, prune, random, most-macs, logistic"),
    ({"targets": ["0.5", 0.5]}, "targets is .*; allowed: at least one, each once"),
    ({"targets": ["0"]}, "target is '0'; allowed: a positive number"),
    ({"targets": ["0.5", "0.01"]}, r"target is '0.01'; allowed: at least 201 cycles \(0.206 of the reference's\)"),
    ({"lambdas": [0.1]}, "targets cannot be used: there are lambdas as well; leave one of them out"),
    ({"targets": [], "lambdas": [0.1, 0.1], "methods": ["one-shot"]}, "allowed: at least one, each once"),
    ({"targets": [], "lambdas": [-1.0], "methods": ["one-shot"]}, "weight is -1.0; allowed: a finite number"),
    ({"targets": [], "lambdas": [0.1]}, "methods cannot be used: 'most-macs' needs targets"),
    ({"seeds": []}, r"seeds is \[\]; allowed"),
    ({"seeds": [1, 1]}, r"seeds is \[1, 1\]; allowed"),
    ({"seeds": [-1]}, "seed is -1; allowed: an integer of at least 0"),
    ({"train_seeds": 0}, "train_seeds is 0; allowed: an integer from 1 to 100"),
    ({"train_seeds": True}, "train_seeds is True; allowed"),
    ({"arrays": []}, r"array is \[\]; allowed: at least one, each once"),
    ({"arrays": ARRAYS[:1] * 2}, "array is .*; allowed: at least one, each once"),
    ({"images": 241}, "images is 241; allowed: an integer from 2 to 240"),
    ({"images": 1}, "images is 1; allowed"),
    ({"epochs": 0}, "epochs is 0; allowed"),
    ({"speed": 3}, "speed"),
    ({"seed": 3}, "seed cannot be used: a sweep sets it for each of its searches; leave it out"),
    ({"method": "random"}, "method cannot be used: a sweep sets it for each of its searches; leave it out"),
    ({"latency": "flops"}, "latency cannot be used: a sweep sets it for each of its searches; leave it out"),
    (
        {"targets": [], "lambdas": [0.1], "methods": ["one-shot"], "weight": 1.0},
        "weight cannot be used: a sweep sets it",
    ),
    ({"weight": 1.0}, "weight cannot be used: one-shot and most-macs do not use it with a target"),
    ({"utilization": 0.5}, "utilization cannot be used: one-shot and most-macs do not use it; leave it out, or choose"),
    ({"target": "0.5"}, "target cannot be used: a sweep sets it for each of its searches; leave it out"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_settings_leave_nothing_behind(
    small: ArchDef, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValueError, match=message):
        sweep(out=tmp_path / "run", arch_def=small, **ONE | changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("lambdas", [[], [0.1]])
def test_defaults_are_methods_that_can_be_swept(small: ArchDef, tmp_path: Path, lambdas: list[float]) -> None:
    with pytest.raises(KeyboardInterrupt):
        sweep(out=tmp_path / "run", arch_def=small, lambdas=lambdas, progress=stop_at_once, epochs=1, images=10)
    begun = SearchSweep.open(tmp_path / "run")
    assert set(DEFAULT_METHODS) <= set(SWEEP_METHODS)
    useless = {name for name, method in METHODS.items() if method.needs_target} if lambdas else set()
    assert list(begun.settings.methods) == [name for name in DEFAULT_METHODS if name not in useless]
    assert begun.settings.targets == (() if lambdas else ("0.5", "0.75"))
    assert begun.settings.seeds == begun.settings.train_seeds == (0, 1, 2)
    assert begun.arrays == (small.array,)


def test_settings_of_the_parts_of_a_sweep() -> None:
    given = {"epochs": 3, "utilization": 0.2, "images": 500}
    settings = swept(500, ("one-shot", "flops"), targets=("0.50",), seeds=(7,), given=given)
    assert settings.limits == ({"target": "0.5"},)
    found = settings.search("flops", {"target": "0.5"}, 7)
    assert (found.method, found.latency, found.snaps, found.target, found.seed) == ("darts", "flops", False, "0.5", 7)
    assert (found.epochs, found.utilization, found.images) == (3, 0.2, 500)
    assert settings.training(2) == SearchSettings.for_size(500, data="x", seed=2, epochs=3, images=500)


@pytest.mark.parametrize("limit", [{"target": "0.5"}, {"weight": 0.3}])
@pytest.mark.parametrize(
    "method",
    [{"latency": "flops", "snaps": False}, {"method": "one-shot", "candidates": 7}, {"method": "random", "epochs": 4}],
)
def test_a_run_is_a_sweep_of_one_search(limit: dict[str, Any], method: dict[str, Any]) -> None:
    settings = SearchSettings.for_size(500, data="x", seed=4, lr=0.01, **limit, **method)
    run = SweepSettings.of_run(settings, 500)
    ((_, only),) = [(m, run.search(m, run.limits[0], 4)) for m in run.methods]
    assert only == settings
    assert run.train_seeds == run.seeds == (4,)
    assert (run.training(4).lr, run.training(4).seed) == (0.01, 4)


# ---------------------------------------------------------------- rows of the caller's


def charged(work: Any) -> Any:
    return 7 * work.gemm.count


def spilled(work: Any) -> Any:
    return work.gemm.m * work.gemm.n * work.gemm.count


def per_second(array: SystolicArray) -> Any:
    return array.clock_hz / 4


def same(gemm: Any) -> Any:
    return gemm


def slow(folds: Any) -> Any:
    return 2 * FOLD_TIMINGS["serial"].cycles(folds)


ROWS: list[Any] = [
    Dataflow("mine", rows="n", cols="k", time="m", row_passes=2, summary="weight stationary, transposed"),
    dataclasses.replace(FOLD_TIMINGS["serial"], name="mine", cycles=slow),
    Lowering("mine", same, "as it is"),
    Term("launch", charged, "launching a product"),
    Transfer("spills", spilled, per_second, "partial sums that do not fit", operand="outputs", level="spill"),
]
MACHINES = {
    "dataflow": {"dataflow": ROWS[0]},
    "fold_timing": {"fold_timing": ROWS[1]},
    "lowering": {"lowering": ROWS[2]},
    "terms": {"terms": tuple(ROWS[3:])},
    "all": {"dataflow": ROWS[0], "fold_timing": ROWS[1], "lowering": ROWS[2], "terms": tuple(ROWS[3:])},
}


@pytest.mark.parametrize("owner", [SystolicArray, SearchSettings])
def test_every_field_that_may_hold_a_row_is_read_from_a_folder(owner: Any) -> None:
    def rows(hint: Any) -> set[type]:
        own = {hint} if isinstance(hint, type) and issubclass(hint, Row) else set[type]()
        return own.union(*map(rows, typing.get_args(hint)))

    hints = {name: rows(hint) for name, hint in typing.get_type_hints(owner).items()}
    read = MACHINE_ROWS if owner is SystolicArray else SETTING_ROWS
    assert len(read) >= 2
    assert {name: set(kind.rows) for name, kind in read.items()} == {name: own for name, own in hints.items() if own}


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("fields", MACHINES.values(), ids=MACHINES)
def test_a_machine_with_rows_of_the_callers(small: ArchDef, tmp_path: Path, fields: dict[str, Any]) -> None:
    array = SystolicArray(4, 4, **fields)
    given: dict[str, Any] = {"images": 40, "train_epochs": 1, "method": "most-macs", "target": "0.9"}
    found = search(arch_def=small, array=array, out=tmp_path / "run", **given)
    for read in (read_run, resume):
        with pytest.raises(RunError, match="pass the rows of your own that it uses"):
            read(tmp_path / "run")
        again = read(tmp_path / "run", rows=ROWS)
        assert again.arch.array == array
        assert again.as_dict() == found.as_dict()

    methods = {"methods": ["most-macs"], "targets": ["0.9"], "seeds": [0], "train_seeds": 1}
    del given["method"], given["target"]
    compared = sweep(arch_def=small, arrays=[array], out=tmp_path / "sweep", jobs=2, **methods, **given)
    for read in (read_sweep, resume_sweep):
        with pytest.raises(RunError, match="pass the rows of your own that it uses"):
            read(tmp_path / "sweep")
        assert read(tmp_path / "sweep", rows=ROWS).as_dict() == compared.as_dict()


def test_what_is_not_a_row_is_refused(one: Path) -> None:
    with pytest.raises(InvalidValueError) as caught:
        read_sweep(one, rows=["mine"])  # type: ignore[list-item]
    assert (caught.value.field, caught.value.value) == ("rows", "mine")


@pytest.mark.parametrize(("field", "row"), [("method", METHODS["darts"]), ("latency", LATENCIES["shifted"])])
def test_a_row_of_ones_own_has_a_name_of_its_own(small: ArchDef, tmp_path: Path, field: str, row: Any) -> None:
    """A folder holds names only, so a row under the name of one that ships would be read as that one."""
    other = dataclasses.replace(row, summary="another one")
    with pytest.raises(InvalidValueError) as caught:
        search(arch_def=small, out=tmp_path / "run", epochs=3, **{field: other})
    assert (caught.value.field, caught.value.value) == (f"{field}.name", row.name)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- what was edited or comes from elsewhere


def edit(path: Path, **changes: Any) -> None:
    """Changes a JSON file as an editor would."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def forge(path: Path, **changes: Any) -> None:
    """The same, with a digest that fits."""
    content = json.loads(path.read_text()) | changes
    del content["digest"]
    save_json(path, content)


EDITS: dict[str, tuple[str, dict[str, Any]]] = {
    "an accuracy": ("trainings/*/training.json", {"test_accuracy": 7.0}),
    "no number": ("trainings/*/training.json", {"test_accuracy": math.nan}),
    "a winner": ("searches/*/search.json", {"winner": {"conv1.width": 10**6, "conv1.kernel": 3, "fc1.width": 5}}),
    "no winner": ("searches/*/search.json", {"winner": 5}),
    "no arrays": ("sweep.json", {"arrays": []}),
    "versions": ("sweep.json", {"made_with": {"hwcost": "9"}}),
    "settings": ("sweep.json", {"sweep": {"data": "x"}}),
}


@pytest.mark.parametrize("change", [edit, forge])
@pytest.mark.parametrize("what", EDITS)
def test_an_edited_folder_is_refused_and_the_file_named(
    one: Path, tmp_path: Path, what: str, change: Callable[..., None]
) -> None:
    pattern, changes = EDITS[what]
    if change is forge and not pattern.startswith("sweep"):
        changes = {"settings": {"epochs": 99}}  # a figure with a digest that fits is believed
    copy = copy_of(one, tmp_path)
    change(file := first(copy, pattern), **changes)
    with pytest.raises((RunError, ValueError)) as caught:
        resume_sweep(copy)
    assert str(file if file.name != "sweep.json" else copy) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "pattern",
    [
        "searches/*/search.json",
        "trainings/*/training.json",
        "trainings/*/weights.safetensors",
        "searches/*one-shot*/log.jsonl",
    ],
)
def test_the_file_of_another_task_is_refused(one: Path, tmp_path: Path, pattern: str) -> None:
    copy = copy_of(one, tmp_path)
    own, other = sorted(copy.glob(pattern))[:2]
    shutil.copy(other, own)

    def read_all() -> None:
        found = resume_sweep(copy)
        for task in (task for row in found.found for task in found.sweep.trainings(row.winner)):
            read_weights(task)
        for _, task in found.sweep.searches():
            task.log()

    with pytest.raises(RunError) as caught:
        read_all()
    assert str(own.parent) in str(caught.value)


def test_the_checkpoint_of_another_task_is_refused(one: Path, tmp_path: Path) -> None:
    copy = copy_of(one, tmp_path)
    sweep = SearchSweep.open(copy)
    mine, other = (task for _, task in list(sweep.searches())[:2])
    mine.path.unlink()
    save_checkpoint(mine.folder, {"kind": "search"} | other.identity, work={}, log=[])
    with pytest.raises(RunError, match="damaged or another's"):
        resume_sweep(copy)


def test_a_folder_goes_on_with_the_versions_that_it_began_with(one: Path, tmp_path: Path) -> None:
    copy = copy_of(one, tmp_path)
    made_with = json.loads((copy / "sweep.json").read_text())["made_with"] | {"numpy": "1.0"}
    forge(copy / "sweep.json", made_with=made_with)
    with pytest.raises(RunError, match=r"numpy here is .*, and 1\.0 where"):
        resume_sweep(copy)
