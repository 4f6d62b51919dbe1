"""The examples and the README's commands run as they stand."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import pytest
from running import printed

PROJECT = Path(__file__).parent.parent
EXAMPLES = sorted((PROJECT / "examples").glob("*.py"))


ELSEWHERE = {
    "in_other_nas": "test_adapters.py",
    "resnet_search": "test_adapters.py",
    "resnet_search_lightning": "test_adapters.py",
    "search_the_array": "test_search_the_array.py",
    "search_the_buffer": "test_search_the_buffer.py",
}
"""Examples that other tests run, and what they print there."""
FEW = {"prune_resnet18": ("--images", "64"), "prune_lightning": ("--images", "128")}
"""Smaller data: what these print does not depend on how well they learn."""


@pytest.mark.parametrize(
    "script", [path for path in EXAMPLES if path.stem not in ELSEWHERE], ids=lambda path: path.stem
)
def test_examples_run(script: Path, tmp_path: Path) -> None:
    assert printed(script, *FEW.get(script.stem, ()), out=tmp_path / "out").count("\n") > 3


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_other_examples_run_elsewhere(name: str) -> None:
    assert name in {path.stem for path in EXAMPLES}
    assert re.search(rf"\b{name}\b", (PROJECT / "tests" / ELSEWHERE[name]).read_text(encoding="utf-8"))


def test_the_priced_network_is_lenet_5(tmp_path: Path) -> None:
    assert "2,822" in printed(PROJECT / "examples" / "price_a_network.py", out=tmp_path / "out")


def test_the_shape_of_an_array_is_the_best_of_all(tmp_path: Path) -> None:
    from hwcost import SystolicArray, network_cost
    from price_a_network import LENET_5

    first = printed(PROJECT / "examples" / "shape_of_an_array.py", out=tmp_path / "out").splitlines()[1]
    rows, cols = (int(part) for part in first.split(":")[0].split("x"))
    cycles = int(first.split(":")[1].split()[0].replace(",", ""))
    assert network_cost(LENET_5, SystolicArray(rows, cols)).total.cycles == cycles
    others = ((r, 1024 // r) for r in range(4, 257))  # no smaller shape is faster than the widest of its height
    assert cycles == min(network_cost(LENET_5, SystolicArray(r, c)).total.cycles for r, c in others if 4 <= c <= 256)


def test_the_notebook_runs_and_its_page_has_what_it_prints() -> None:
    for library in ("nbclient", "ipykernel", "torch", "matplotlib", "pandas"):
        pytest.importorskip(library)
    import nbformat

    spec = importlib.util.spec_from_file_location("run_notebook", PROJECT / "tools" / "run_notebook.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    kept = nbformat.read(tool.NOTEBOOK, as_version=4)
    cells = [cell for cell in kept.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)  # they are not kept
    assert "hwcost.importers" not in str(kept)  # public names alone
    notebook = tool.executed()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"execute_result", "display_data", "stream"}
    assert not any(output.get("name") == "stderr" for output in outputs)
    assert sum("text/html" in output.get("data", {}) for output in outputs) == 5
    text, pictures = tool.page_of(notebook)
    before, after = (part.partition("## Pruned") for part in (tool.PAGE.read_text(encoding="utf-8"), text))
    assert before[0] == after[0], "python tools/run_notebook.py writes the page"
    steady = (re.sub(r"[\d.,]+| {2,}", "#", part[2]) for part in (before, after))  # training differs between machines
    assert next(steady) == next(steady)
    assert len(pictures) == 2
    assert all((PROJECT / "docs" / "images" / name).is_file() for name in pictures)
    shares = re.findall(r"([\d.]+)%'?$", text, re.MULTILINE)
    assert len(shares) == 3
    assert min(map(float, shares)) > 90


def test_the_readme_has_commands_that_are_run_elsewhere() -> None:
    spec = importlib.util.spec_from_file_location("readme_commands", PROJECT / ".ci" / "readme_commands.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.commands((PROJECT / "README.md").read_text(encoding="utf-8"))
    assert "hwcost estimate --k 5 --c 6 --f 16 --s1 8 --s2 8" in found
    assert sum(command.startswith("nas-plugin search") for command in found) == 3
    assert os.access(PROJECT / ".ci" / "run", os.X_OK)


def test_the_readme_s_commands_for_networks_run_from_the_checkout(capsys, monkeypatch, tmp_path) -> None:
    import shlex

    from hwcost.cli import main

    for library in ("torch", "scipy", "matplotlib"):
        pytest.importorskip(library)
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ hwcost (.*)$", text, flags=re.MULTILINE)
    assert len(commands) >= 4
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(PROJECT / "examples")
    for command in commands:
        assert main(shlex.split(command)) == 0, capsys.readouterr().err
        shown = capsys.readouterr()
        assert "extrapolation" not in shown.err
        assert not shown.err or "compare" not in command
    assert {path.suffix for path in tmp_path.iterdir()} >= {".png", ".html"}
