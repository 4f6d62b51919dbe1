from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from documents import checked_document

from hwcost import load_device
from nas_plugin import read_sweep
from nas_plugin.cli import main
from nas_plugin.methods.table import DEFAULT_METHODS

pytestmark = pytest.mark.usefixtures("no_pictures")

NO_SEARCH = ["--images", 60, "--train-epochs", 1, "--train-seeds", 1]
DARTS = [*NO_SEARCH, "--epochs", 1]
FEW = [*DARTS, "--candidates", 2, "--finalists", 1]


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["sweep", *map(str, arguments)])
    captured = capfd.readouterr()
    if code == 0 and "--json" in arguments:
        checked_document(captured.out)
    return code, captured.out, captured.err


def test_a_sweep_prints_tables_and_progress_apart(
    small_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["--arch-def", small_file, "--methods", "one-shot, most-macs,flops-snap", "--targets", "0.5,970 cycles"]
    options += ["--seeds", "0:2", *FEW]
    code, out, err = run(capfd, *options, "--out", tmp_path / "a")
    assert code == 0, err
    lines = err.splitlines()
    total = lines[-1].split("]")[0].split("/")[1]
    assert lines[-1].startswith(f"[{total}/{total}] training ")
    assert len(lines) == int(total), err
    assert any("super-network, seed 1" in line for line in lines)
    found = read_sweep(tmp_path / "a")
    assert out.startswith(found.tables())
    assert out.splitlines()[-1] == f"Folder: {tmp_path / 'a'} (results.json, results.md, pareto.png)"
    assert {f.limit for f in found.found} == {"0.5", "970cycles"}
    assert found.sweep.settings.seeds == (0, 1)
    code, out, err = run(capfd, "--resume", tmp_path / "a", "--json")
    assert code == 0
    assert all(line.endswith(": was done") for line in err.splitlines())
    printed = json.loads(out)
    assert printed.pop("sweep") == str(tmp_path / "a")
    assert printed == json.loads((tmp_path / "a" / "results.json").read_text())


def test_options_reach_the_sweep(small_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--arch-def", small_file, "--methods", "expectation", "--lambdas", "0.05,0.2", "--seeds", "3,5:7"]
    options += ["--array", "4x4,8X2", "--fold-timing", "serial", "--dataflow", "os", "--utilization", 0.1, *DARTS]
    code, out, _ = run(capfd, *options, "--out", tmp_path / "a", "--json")
    assert code == 0
    results = json.loads(out)
    assert [(a["rows"], a["cols"], a["fold_timing"], a["dataflow"]) for a in results["arrays"]] == [
        (4, 4, "serial", "os"),
        (8, 2, "serial", "os"),
    ]
    settings = results["settings"]
    assert (settings["weights"], settings["targets"], settings["seeds"]) == ([0.05, 0.2], [], [3, 5, 6])
    assert settings["train_seeds"] == 1
    assert settings["given"] == {
        "images": 60,
        "epochs": 1,
        "train_epochs": 1,
        "utilization": 0.1,
    }
    assert len(results["searches"]) == 2 * 2 * 3
    task = json.loads((tmp_path / "a" / "searches" / "8x2-expectation-lambda0.2-seed6" / "search.json").read_text())
    assert task["settings"]["utilization"] == 0.1
    assert task["settings"]["weight"] == 0.2


def test_a_device_and_lambdas_alone(small_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--arch-def", small_file, "--device", "gemmini", "--lambdas", "0.1", "--seeds", "0", *FEW]
    code, out, _ = run(capfd, *options, "--out", tmp_path / "a", "--json")
    assert code == 0
    results = json.loads(out)
    assert results["arrays"] == [load_device("gemmini").as_dict()]
    assert results["settings"]["methods"] == [name for name in DEFAULT_METHODS if name != "most-macs"]


def test_sweeps_get_folders_next_to_each_other(
    small_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--arch-def", small_file, "--methods", "most-macs", "--targets", "0.5", "--seeds", "0", *NO_SEARCH]
    for _ in range(2):
        assert run(capfd, *options)[0] == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["sweep", "sweep-2"]


def test_ctrl_c_shows_how_to_go_on(
    small_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--arch-def", small_file, "--methods", "most-macs", "--targets", "0.5", "--seeds", "0", *NO_SEARCH]

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("torch.save", stopped)
    code, out, err = run(capfd, *options, "--out", tmp_path / "a")
    assert (code, out) == (130, "")
    assert f"Stopped. Go on with: nas-plugin sweep --resume {tmp_path / 'a'}" in err.splitlines()
    monkeypatch.undo()
    assert run(capfd, "--resume", tmp_path / "a")[0] == 0
    assert run(capfd, *options, "--out", tmp_path / "b")[0] == 0
    results = [json.loads((tmp_path / name / "results.json").read_text()) for name in "ab"]
    assert results[0] == results[1]


ALLOWED_TARGET = "allowed: a positive number (of the reference's cycles), or one with a unit"
BAD = [
    (["--methods", "x"], "--methods is 'x'; allowed: one of: one-shot, prune, random, most-macs, logistic"),
    (["--methods", "darts"], "--methods is 'darts'; allowed: one of: one-shot"),
    (["--methods", ""], "--methods is ''; allowed: one of: one-shot"),
    (["--methods", "one-shot,"], "--methods is ''; allowed: one of: one-shot"),
    (["--methods", "random,random"], "--methods is ['random', 'random']; allowed: at least one, each once"),
    (["--targets", "0"], f"--targets is '0'; {ALLOWED_TARGET}"),
    (["--targets", "0.5,abc"], f"--targets is 'abc'; {ALLOWED_TARGET}"),
    (["--targets", ""], f"--targets is ''; {ALLOWED_TARGET}"),
    (["--targets", "0.5,0.50"], "--targets is ['0.5', '0.5']; allowed: at least one, each once"),
    (["--targets", "0.5,1e-9"], "--targets is '1e-09'; allowed: at least 993 cycles (0.352 of the reference's)"),
    (
        ["--targets", "0.5", "--lambdas", "0.1"],
        "--targets cannot be used: there are lambdas as well; leave one of them out",
    ),
    (["--lambdas", "-1"], "--lambdas is -1.0; allowed: a finite number of at least 0"),
    (["--lambdas", "nan"], "--lambdas is nan; allowed"),
    (["--lambdas", "much"], "--lambdas"),
    (
        ["--lambdas", "0.1", "--methods", "most-macs"],
        "--methods cannot be used: 'most-macs' needs targets, and there are lambdas; leave it out",
    ),
    (["--seeds", "a"], "--seeds is 'a'; allowed: integers from 0 on, like 0,1,2, or a range like 0:5"),
    (["--seeds", ""], "--seeds is ''; allowed"),
    (["--seeds", "3:1"], "--seeds is '3:1'; allowed"),
    (["--seeds", "1:1"], "--seeds is '1:1'; allowed"),
    (["--seeds", "-1"], "--seeds is '-1'; allowed"),
    (["--seeds", "0:100000"], "--seeds is '0:100000'; allowed"),
    (["--seeds", "0:2,1"], "--seeds is [0, 1, 1]; allowed: at least one, each once"),
    (["--train-seeds", "0"], "--train-seeds is '0'; allowed: an integer from 1 to 100"),
    (["--array", "8x8,8x8"], "--array is ['8x8', '8x8']; allowed: at least one, each once"),
    (["--array", "8x8,8"], "--array is '8'; allowed: ROWSxCOLS"),
    (["--jobs", "0"], "--jobs is '0'; allowed: an integer of at least 1"),
    (["--jobs", "two"], "--jobs"),
    (["--images", "0"], "--images is 0; allowed: an integer of at least 2, below 2**63"),
    (["--images", "1000000000"], "--images is 1000000000; allowed: an integer from 2 to 4000, the training images in"),
    (["--methods", "one-shot", "--candidates", "0"], "--candidates is 0; allowed: an integer of at least 1"),
    (["--methods", "one-shot", "--finalists", "0"], "--finalists is 0; allowed: an integer of at least 1"),
    (
        ["--methods", "random,flops", "--candidates", "9"],
        "--candidates cannot be used: random and flops do not use it; leave it out, or choose one-shot",
    ),
    (["--methods", "most-macs,flops", "--finalists", "9"], "leave it out, or choose one-shot"),
    (["--methods", "random", "--utilization", "0.1"], "--utilization cannot be used: random does not use it"),
    (["--methods", "most-macs", "--epochs", "9"], "leave it out, or choose one-shot, prune, random, logistic, "),
    (["--utilization", "-1"], "--utilization is -1.0; allowed: a finite number of at least 0"),
    (["--epochs", "0"], "--epochs is 0; allowed: an integer of at least 1"),
    (["--train-epochs", "0"], "--train-epochs is 0; allowed: an integer of at least 1"),
    (["--data", "nowhere"], "nowhere is not a folder"),
    (["--arch-def", "nowhere.toml"], "--arch-def 'nowhere.toml' cannot be read"),
    (["--device", "gemini"], "--device is 'gemini' (did you mean 'gemmini'?); allowed: one of: "),
    (["--out", "/proc/nowhere/run"], "/proc/nowhere/run cannot be made"),
    (
        ["--resume", "nowhere"],
        "--resume 'nowhere' cannot be read: it is not the folder of a search or sweep, which has a file sweep.json",
    ),
    (["--resume", ".", "--targets", "0.5"], "--targets cannot be used: "),
    (
        ["--resume", ".", "--methods", ",".join(DEFAULT_METHODS)],
        "--methods cannot be used: --resume keeps the settings",
    ),
    (["--resume", ".", "--seeds", "0:3"], "--seeds cannot be used: --resume keeps the settings of the run"),
    (["--resume", ".", "--out", "x"], "--out cannot be used: --resume keeps the settings of the run"),
    (["--unknown"], "--unknown"),
    (["extra"], "extra"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capfd, *arguments)
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1 + ("--resume" in arguments and len(arguments) > 2)
    assert message in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["torch", "joblib", "moocore"])
def test_a_missing_library_is_named_before_the_work(missing: str, tmp_path: Path) -> None:
    script = (
        f"import sys\nsys.modules[{missing!r}] = None\n"
        "from nas_plugin.cli import main\nsys.exit(main(['sweep', '--epochs', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert 'pip install "hwcost[nas]"' in done.stderr
    assert missing in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
