from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hwcost import load_device
from nas_plugin.cli import LATENCY_NAMES, main


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capfd.readouterr()
    return code, captured.out, captured.err


def test_search_prints_its_result_and_progress_apart(
    small_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["search", "--arch-def", small_file, "--epochs", 4, "--train-epochs", 2]
    code, out, err = run(capfd, *arguments, "--out", tmp_path / "a")
    assert code == 0
    lines = err.splitlines()
    assert len(lines) == 8
    assert lines[0].startswith("searching: epoch 1/4  latency ")
    assert "entropy" in lines[0]
    assert "accuracy" in lines[0]
    assert lines[-1].startswith("training the reference: epoch 2/2")
    assert "test accuracy" in out
    assert str(tmp_path / "a") in out
    code, out, _ = run(capfd, *arguments, "--out", tmp_path / "b", "--json")
    assert code == 0
    printed = json.loads(out)
    assert printed.pop("run") == str(tmp_path / "b")
    assert printed == json.loads((tmp_path / "a" / "result.json").read_text())
    code, out, err = run(capfd, "search", "--resume", tmp_path / "b", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["winner"] == printed["winner"]


def test_runs_are_put_beside_each_other(
    small_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run(capfd, "search", "--arch-def", small_file, "--epochs", 1, "--train-epochs", 1)[0] == 0
    name = "small-4x4-shifted-lambda0.1-seed0"
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [name, f"{name}-2"]


@pytest.mark.parametrize("latency", LATENCY_NAMES)
def test_options_reach_the_run(
    small_file: Path, tmp_path: Path, latency: str, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["--latency", latency, "--lambda", 0.3, "--seed", 4, "--array", "8x2", "--dataflow", "is"]
    options += ["--fold-timing", "serial", "--epochs", 2, "--train-epochs", 1, "--threads", 1]
    code, out, _ = run(capfd, "search", "--arch-def", small_file, "--out", tmp_path / "run", "--json", *options)
    assert code == 0
    result = json.loads(out)
    assert result["settings"]["latency"] == latency
    assert result["settings"]["weight"] == 0.3
    assert result["seed"] == 4
    assert result["array"] == {"rows": 8, "cols": 2, "clock_hz": 1e9, "dataflow": "is", "fold_timing": "serial"}


def test_a_device_by_name(small_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--device", "gemmini", "--array", "8x8", "--epochs", 1, "--train-epochs", 1, "--json"]
    code, out, _ = run(capfd, "search", "--arch-def", small_file, "--out", tmp_path / "run", *options)
    assert code == 0
    result = json.loads(out)
    assert result["array"] == dataclasses.replace(load_device("gemmini"), rows=8, cols=8).as_dict()
    assert (tmp_path / "run" / "winner.toml").exists()
    code, again, _ = run(capfd, "search", "--resume", tmp_path / "run", "--json")
    assert code == 0
    assert json.loads(again)["winner"] == result["winner"]


BAD = [
    (["--device", "gemini"], "--device is 'gemini'; allowed: one of: "),
    (["--device", "nowhere.toml"], "nowhere.toml"),
    (["--array", "16"], "--array is '16'; allowed: ROWSxCOLS"),
    (["--array", "0x4"], "--array is '0x4'; allowed"),
    (["--lambda", "1e300"], "--lambda is 1e+300; allowed: a number from 0 to 1e9"),
    (["--threads", "100000"], "--threads is 100000; allowed: an integer from 1 to 1024"),
    (["--array", "axb"], "--array"),
    (["--lambda", "-1"], "--lambda is -1.0; allowed: a finite number of at least 0"),
    (["--lambda", "nan"], "--lambda is nan"),
    (["--lambda", "much"], "lambda"),
    (["--epochs", "0"], "--epochs is 0; allowed: an integer of at least 1"),
    (["--train-epochs", "-3"], "--train-epochs is -3"),
    (["--seed", "-1"], "--seed is -1"),
    (["--threads", "0"], "--threads is 0"),
    (["--latency", "fast"], "--latency is 'fast'; allowed: one of: "),
    (["--dataflow", "xs"], "--dataflow is 'xs'; allowed: one of: ws, os, is"),
    (["--fold-timing", "xs"], "--fold-timing is 'xs'; allowed: one of: ideal, serial, double-buffered"),
    (["--data", "nowhere"], "nowhere is no folder"),
    (["--arch-def", "nowhere.toml"], "nowhere.toml cannot be read"),
    (["--resume", "nowhere"], "nowhere is no run folder"),
    (["--resume", "nowhere", "--lambda", "0.2"], "--lambda is '0.2'; allowed: nothing beside --resume"),
    (["--resume", "nowhere", "--out", "x"], "--out is 'x'; allowed: nothing beside --resume"),
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
    code, out, err = run(capfd, "search", *arguments)
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert message in err
    assert not list(tmp_path.iterdir())


def test_without_torch_the_command_says_what_to_install() -> None:
    script = (
        "import sys\nsys.modules['torch'] = None\n"
        "from nas_plugin.cli import main\nsys.exit(main(['search', '--epochs', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'pip install "hwcost[nas]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_torch_the_package_says_what_to_install() -> None:
    script = "import sys\nsys.modules['torch'] = None\nimport nas_plugin\nnas_plugin.search()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith("hwcost.errors.MissingDependencyError: nas_plugin needs torch")


def test_importing_the_package_loads_no_torch() -> None:
    script = "import sys, nas_plugin, nas_plugin.cli\nassert not {'torch', 'matplotlib', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
