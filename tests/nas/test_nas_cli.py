from __future__ import annotations

import dataclasses
import importlib
import json
import os
import pkgutil
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from documents import checked_document

import nas_plugin
from hwcost import load_device
from nas_plugin import LATENCIES, METHODS, SWEEP_METHODS, load_arch_def
from nas_plugin.cli import group, main


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capfd.readouterr()
    if code == 0 and "--json" in arguments:
        checked_document(captured.out)
    return code, captured.out, captured.err


def test_search_prints_its_result_and_progress_apart(
    small_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["search", "--arch-def", small_file, "--method", "darts", "--epochs", 4, "--train-epochs", 2]
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


@pytest.mark.usefixtures("no_pictures")
def test_runs_get_folders_next_to_each_other(
    small_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert (
            run(capfd, "search", "--arch-def", small_file, "--latency", "shifted", "--epochs", 1, "--train-epochs", 1)[
                0
            ]
            == 0
        )
    name = "small-4x4-darts-shifted-lambda0.1-seed0"
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [name, f"{name}-2"]


def test_a_sweep_may_name_methods_and_latencies() -> None:
    assert set(SWEEP_METHODS) == {*METHODS, *LATENCIES, "flops-snap"} - {"darts"}


LINES = {  # what one step of a method is on stderr
    "one-shot": ["super-network: loss widest ", "scored 4 of ", *[" trained: held-out loss "] * 4],
    "prune": ["super-network: loss widest ", "scored 4 of ", *[" fine-tuned: held-out loss "] * 4],
    "random": [" trained: held-out loss "],
    "most-macs": [],
}


@pytest.mark.usefixtures("no_pictures")
def test_the_first_final_fine_tunes(small_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--method", "one-shot", "--candidates", 5, "--finalists", 5, "--epochs", 1, "--train-epochs", 1]
    code, _, err = run(
        capfd, "search", "--arch-def", small_file, "--images", 60, *options, "--out", tmp_path / "a", "--seed", 2
    )
    assert code == 0
    assert err.count(" fine-tuned: held-out loss ") == 5
    assert err.count(" trained: held-out loss ") == 4


@pytest.mark.parametrize("method", LINES)
def test_every_method_shows_its_steps(
    small_file: Path, tmp_path: Path, method: str, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["--method", method, "--target", "970 cycles", "--train-epochs", 1, "--images", 100]
    options += [] if method == "most-macs" else ["--epochs", 1]
    options += ["--candidates", 4, "--finalists", 4] if method in ("one-shot", "prune") else []
    options += ["--arch-def", small_file]
    code, out, err = run(capfd, "search", *options, "--out", tmp_path / "a")
    assert code == 0
    steps = [line for line in err.splitlines() if line.startswith("searching: ")]
    assert len(steps) == len(LINES[method])
    for number, (line, part) in enumerate(zip(steps, LINES[method], strict=True), 1):
        assert line.startswith(f"searching: step {number}/{len(steps)}  ")
        assert part in line
    assert "of the reference's cycles" in out
    assert "Target 970cycles = 970 cycles: the winner takes 9" in out or "970 cycles: the winner takes 100.0 %" in out
    assert "The largest alphas" not in out
    code, out, _ = run(capfd, "search", "--resume", tmp_path / "a", "--json")
    assert code == 0
    result = json.loads(out)
    assert result["settings"]["method"] == method
    assert result["settings"]["target"] == "970cycles"
    assert result["settings"]["images"] == 100
    assert 0.97 * 970 <= result["winner"]["cycles"] <= 970
    assert result["target"] == {
        "cycles": 970,
        "share_of_target": result["winner"]["cycles"] / 970,
        "largest_alphas_cycles_ratio": None,
    }
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "a").glob("*.png")}
    assert set(pictures) == ({"winner.png"} if method == "most-macs" else {"search.png", "winner.png"})
    assert all(content.startswith(b"\x89PNG") for content in pictures.values())


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("method", ["one-shot", "random"])
def test_what_candidates_are_ranked_by_is_shown(
    small_file: Path, tmp_path: Path, method: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without a target that is the sum of loss and latency: the best of it never gets worse, and is what wins."""
    options = ["--method", method, "--lambda", 3, "--images", 100, "--epochs", 8, "--train-epochs", 1, "--seed", 1]
    options += ["--candidates", 90, "--finalists", 4] if method in ("one-shot", "prune") else []
    _, out, err = run(capfd, "search", "--arch-def", small_file, "--out", tmp_path / "a", "--json", *options)
    name = "held-out loss + lambda * latency"
    log = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    tried = [record for record in log if "objective" in record]
    lines = [line for line in err.splitlines() if f"trained: {name} " in line]
    assert [f"{record['objective']:.4f}" for record in tried] == [line.split(name)[1].split()[0] for line in lines]
    so_far = [float(line.rsplit(" so far ")[1]) for line in lines]
    for ends in ("fine-tuned so far ", "from scratch so far ", "best so far "):
        own = [best for line, best in zip(lines, so_far, strict=True) if ends in line]
        assert own == sorted(own, reverse=True)
    assert so_far[-1] == round(min(record["objective"] for record in tried), 4)
    assert json.loads(out)["derived"] == min(tried, key=lambda record: record["objective"])["tried"]
    if method == "one-shot":
        best = [record["best_objective"] for record in log if "scored" in record]
        assert len(best) >= 2
        assert best == sorted(best, reverse=True)
        assert f"best {name} {best[-1]:.4f}" in err
        (found,) = (tmp_path / "a" / "searches").glob("*/search.json")
        scores = json.loads(found.read_text())["scores"]
        assert min(score["held_out_loss"] + score["lambda_latency"] for score in scores) == pytest.approx(best[-1])


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--latency", "none", "--target", "0.9", "--epochs", "1"], "small-4x4-darts-none-target0.9-seed0"),
        (
            ["--method", "one-shot", "--seed", "3", "--epochs", "1", "--candidates", "1", "--finalists", "1"],
            "small-4x4-one-shot-lambda0.1-seed3",
        ),
        (["--method", "most-macs", "--target", "970 cycles"], "small-4x4-most-macs-target970cycles-seed0"),
    ],
)
def test_the_name_of_a_run(
    small_file: Path,
    tmp_path: Path,
    options: list[str],
    name: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    few = ["--train-epochs", 1, "--images", 50]
    assert run(capfd, "search", "--arch-def", small_file, *few, *options)[0] == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [name]


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("latency", ["shifted", "none"])
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


@pytest.mark.usefixtures("no_pictures")
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
    (["--device", "gemini"], "--device is 'gemini' (did you mean 'gemmini'?); allowed: one of: "),
    (["--device", "nowhere.toml"], "nowhere.toml"),
    (["--array", "16"], "--array is '16'; allowed: ROWSxCOLS"),
    (["--array", "0x4"], "--array is '0x4'; allowed"),
    (["--lambda", "1e300"], "--lambda is 1e+300; allowed: a finite number of at least 0, up to 1e9"),
    (["--threads", "100000"], "--threads is 100000; allowed: an integer from 1 to 1024"),
    (["--array", "axb"], "--array"),
    (["--lambda", "-1"], "--lambda is -1.0; allowed: a finite number of at least 0"),
    (["--lambda", "nan"], "--lambda is nan"),
    (["--lambda", "much"], "lambda"),
    (["--epochs", "0"], "--epochs is 0; allowed: an integer of at least 1"),
    (["--train-epochs", "-3"], "--train-epochs is -3"),
    (["--seed", "-1"], "--seed is -1"),
    (["--threads", "0"], "--threads is 0"),
    (["--target", "2100"], "--target is '2100'; allowed: at least 993 cycles (0.352 of the reference's)"),
    (["--method", "most-macs", "--target", "2100"], "write 2100cycles for cycles"),
    (["--method", "x"], "--method is 'x'; allowed: one of: darts, one-shot, prune, random, most-macs"),
    (["--target", "0"], "--target is '0'; allowed: a positive number (of the reference's cycles), or one with"),
    (["--target", "-0.5"], "--target is '-0.5'; allowed: a positive number"),
    (["--target", "nan"], "--target is 'nan'; allowed: a positive number"),
    (["--target", "0,75"], "--target is '0,75'; allowed: a positive number"),
    (
        ["--target", "1e-9"],
        "--target is '1e-09'; allowed: at least 993 cycles (0.352 of the reference's), as the small",
    ),
    (["--target", "5ms"], "that is 0.000993ms to "),
    (["--target", "992cycles", "--method", "one-shot"], "--target is '992cycles'; allowed: at least 993 cycles"),
    (["--target", "992cycles", "--method", "random"], "--target is '992cycles'; allowed: at least 993 cycles"),
    (["--target", "992cycles", "--method", "most-macs"], "--target is '992cycles'; allowed: at least 993 cycles"),
    (
        ["--method", "most-macs"],
        "--target is missing; needed: a limit like 0.75 or 2000cycles for method 'most-macs'",
    ),
    (["--images", "0"], "--images is 0; allowed: an integer of at least 2, below 2**63"),
    (["--images", "1000000000"], "--images is 1000000000; allowed: an integer from 2 to 4000, the training images in"),
    (["--method", "one-shot", "--candidates", "0"], "--candidates is 0; allowed: an integer of at least 1"),
    (["--method", "one-shot", "--finalists", "0"], "--finalists is 0; allowed: an integer of at least 1"),
    (["--utilization", "-1"], "--utilization is -1.0; allowed: a finite number of at least 0"),
    (["--utilization", "nan"], "--utilization is nan; allowed: a finite number of at least 0"),
    (["--resume", ".", "--target", "0.5"], "--target cannot be used: --resume keeps the settings of the run"),
    (["--latency", "fast"], "--latency is 'fast'; allowed: one of: "),
    (["--dataflow", "xs"], "--dataflow is 'xs'; allowed: one of: ws, os, is"),
    (["--fold-timing", "xs"], "--fold-timing is 'xs'; allowed: one of: ideal, serial, double-buffered"),
    (["--data", "nowhere"], "nowhere is not a folder"),
    (["--arch-def", "nowhere.toml"], "--arch-def 'nowhere.toml' cannot be read"),
    (
        ["--resume", "nowhere"],
        "--resume 'nowhere' cannot be read: it is not the folder of a search or sweep, which has a file sweep.json",
    ),
    (
        ["--resume", ".", "--lambda", "0.2"],
        "--lambda cannot be used: --resume keeps the settings of the run; leave it out",
    ),
    (["--resume", ".", "--out", "x"], "--out cannot be used: --resume keeps the settings of the run"),
    (
        ["--latency", "none", "--candidates", "9"],
        "--candidates cannot be used: darts does not use it; leave it out",
    ),
    (["--method", "one-shot", "--latency", "none"], "--latency cannot be used: one-shot does not use it"),
    (
        ["--method", "one-shot", "--latency", "flops"],
        "--latency cannot be used: one-shot does not use it; leave it out, or choose darts",
    ),
    (["--method", "random", "--utilization", "0.1"], "--utilization cannot be used: random does not use it"),
    (
        ["--method", "most-macs", "--target", "1", "--epochs", "2"],
        "--epochs cannot be used: most-macs does not use it; leave it out, or choose darts, one-shot, prune or r",
    ),
    (
        ["--method", "one-shot", "--target", "1", "--lambda", "0.1"],
        "--lambda cannot be used: one-shot does not use it with a target; leave it out, or choose darts",
    ),
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
    assert len(err.splitlines()) == 1 + ("--resume" in arguments and len(arguments) > 2)
    assert message in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["search", "sweep"])
def test_help_is_whole(
    command: str, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short summary that is not cut, every option explained, and examples that the command takes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("class Net: ...\ndef set(): ...\n")
    (tmp_path / "w.safetensors").write_bytes(b"")
    (line,) = [line for line in run(capfd, "--help")[1].splitlines() if line.startswith(f"  {command} ")]
    summary = line.removeprefix(f"  {command}").strip()
    assert 0 < len(summary) <= 60
    assert summary.endswith(".")
    assert not summary.endswith("..")
    found = group.get_command(click.Context(group), command)
    assert found is not None
    for option in found.params:
        if isinstance(option, click.Argument):
            continue
        assert isinstance(option, click.Option)
        words = (option.help or "").partition("  [default")[0]
        assert words[:1].isupper() or words.startswith("fashion-mnist"), option.name
        assert words.endswith((".", "none")), option.name
    _, examples = run(capfd, command, "--help")[1].split("Examples:\n")
    lines = examples.strip().splitlines()
    assert len(lines) >= 3
    for line in lines:
        program, name, *arguments = shlex.split(line)
        assert (program, name) == ("nas-plugin", command)
        found.make_context(name, arguments)


def test_the_space_that_ships_can_be_changed(tmp_path: Path) -> None:
    """By the line of docs/nas.md, in a folder without the sources."""
    page = (Path(__file__).parents[2] / "docs" / "nas.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith("python -c ") and "load_arch_def" in line]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(line, shell=True, check=True, cwd=tmp_path, env=environment)
    assert load_arch_def(tmp_path / "my.toml").space == load_arch_def().space


def modules() -> list[str]:
    return [module.name for module in pkgutil.walk_packages(nas_plugin.__path__, "nas_plugin.")]


@pytest.mark.parametrize("name", [name for name in modules() if name != "nas_plugin.__main__"])
def test_one_name_is_one_thing(name: str) -> None:
    """A module is what its package holds under its name, and no folder has the same name."""
    module = importlib.import_module(name)
    package, _, own = name.rpartition(".")
    assert getattr(sys.modules[package], own) is module
    assert module.__file__ is not None
    assert module.__file__.endswith("__init__.py") or not Path(module.__file__).with_suffix("").exists()


def test_without_torch_the_command_names_what_to_install() -> None:
    script = (
        "import sys\nsys.modules['torch'] = None\n"
        "from nas_plugin.cli import main\nsys.exit(main(['search', '--epochs', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'pip install "hwcost[nas]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_torch_the_package_names_what_to_install() -> None:
    script = "import sys\nsys.modules['torch'] = None\nimport nas_plugin\nnas_plugin.search()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith("hwcost.errors.MissingDependencyError: nas_plugin needs torch")


def test_importing_the_package_loads_no_torch() -> None:
    script = "import sys, nas_plugin, nas_plugin.cli\nassert not {'torch', 'matplotlib', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
