"""Every recipe of CONTRIBUTING.md, followed to the letter in a test that is named after its heading."""

from __future__ import annotations

import ast
import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

import hwcost
from hwcost import Conv2d, Linear, SystolicArray, from_onnx, from_torch, layer_cost, network_cost, smooth_ceil

PROJECT = Path(__file__).parents[1]
PACKAGE = Path(hwcost.__file__).parent


def test_every_recipe_has_a_test():
    tests = "".join(
        (PROJECT / "tests" / name).read_text("utf-8") for name in ("test_recipes.py", "nas/test_recipes.py")
    )
    recipes = (PROJECT / "CONTRIBUTING.md").read_text("utf-8").partition("## Recipes")[2].partition("\n## ")[0]
    headings = re.findall(r"^### (.*)$", recipes, flags=re.MULTILINE)
    assert len(headings) >= 14
    for heading in headings:
        function = f"def test_{heading.lower().replace(' ', '_')}("
        assert function in tests or f'"{heading}"' in tests, heading


@pytest.mark.parametrize(
    "heading", ["A layer", "A dataflow", "A device", "A term of the model", "A number that can be fitted"]
)
def test_a_recipe_of_blocks(heading, tmp_path):
    """Blocks that name a file go into a copy of the package, in order; the others are run on the copy, and assert."""
    shutil.copytree(PACKAGE, tmp_path / "hwcost", ignore=shutil.ignore_patterns("__pycache__"))
    section = (
        (PROJECT / "CONTRIBUTING.md")
        .read_text(encoding="utf-8")
        .partition(f"### {heading}\n")[2]
        .partition("\n### ")[0]
    )
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", section, flags=re.DOTALL)
    checks = [block for block in blocks if not follow(block, tmp_path)]
    assert len(blocks) > len(checks) > 0
    if any("hwcost.torch" in check for check in checks):
        pytest.importorskip("torch")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    for check in checks:
        command = [sys.executable, "-c", f"{check}\nimport hwcost\nprint(hwcost.__file__)"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(tmp_path / "hwcost" / "__init__.py")


def follow(block, folder):
    """Does what the first line of a block says: "# FILE", "# FILE, a row of NAME" or "# FILE, a field of NAME"."""
    head = re.match(r"# (\S+?\.(?:py|toml))(?:, a (?:row|field) of (\w+))?\n", block)
    if head is None:
        return False
    path, rest = folder / head[1], block[head.end() :].rstrip()
    if head[2] is None:
        path.write_text(block, encoding="utf-8")
        return True
    rest += "," if " row of " in head[0] else ""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    end = end_of(ast.parse(text), head[2])
    path.write_text("".join([*lines[:end], *(f"    {line}\n" for line in rest.splitlines()), *lines[end:]]))
    return True


def end_of(tree, name):
    """The last line of the last field of a class, or of the last row of a table."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return max(each.end_lineno for each in node.body if isinstance(each, ast.AnnAssign))
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = node.value
            return max(each.end_lineno for each in (value.args if isinstance(value, ast.Call) else value.elts))
    raise AssertionError(f"no {name}")


def test_a_relaxation():
    """A straight line half a step up, with the height as its option; it is passed as an argument, as any row is."""
    from hwcost.relaxation import Relaxation, SmoothCeiling

    def lifted(height):
        return SmoothCeiling(lambda x: x + height, lambda x: 0 * x + 1)

    row = Relaxation("lifted", "a line above the stairs", lifted, {"height": 0.5})
    assert smooth_ceil(2.25, kind=row) == 2.75
    assert smooth_ceil(2.25, kind=row.with_options(height=1.0)) == 3.25
    found = layer_cost(Linear(12, 16), SystolicArray(8, 8), relaxation=row)
    assert found.cycles == (12 / 8 + 0.5) * (16 / 8 + 0.5)


def test_a_backend(tmp_path):
    """A library with a faster sigmoid: arrays of it are found by their module, and its sigmoid is used."""
    shutil.copytree(PACKAGE, tmp_path / "hwcost", ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "hwcost" / "arrays" / "backends.py"
    last = '        "array_api_strict": Backend(_strict),\n'
    text = file.read_text(encoding="utf-8")
    assert text.count(last) == 1
    own = '        "mine": Backend(lambda: __import__("mine"), sigmoid=lambda x: __import__("mine").sigmoid(x)),\n'
    file.write_text(text.replace(last, last + own), encoding="utf-8")
    (tmp_path / "mine.py").write_text(
        "import numpy\nfrom numpy import *\n\ncalls = 0\n\n"
        "class Array(numpy.ndarray): ...\n\n"
        "def sigmoid(x):\n    global calls\n    calls += 1\n    return 1 / (1 + exp(-x))\n"
    )
    check = (
        "import hwcost, mine, numpy\nx = numpy.array([0.3, 2.25])\nfound = hwcost.smooth_ceil(x.view(mine.Array))\n"
        "assert mine.calls and isinstance(found, mine.Array)\n"
        "assert numpy.allclose(found, hwcost.smooth_ceil(x), rtol=1e-12)\n"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_an_adapter():
    """A host that holds, for each layer, logits over its output widths."""
    torch = pytest.importorskip("torch")
    from hwcost.torch import check_gradient, cost_table, expected_cost

    array = SystolicArray(8, 8)
    layers = {"conv": Conv2d(3, 8, 3, height=8, width=8, padding=1), "head": Linear(8, 10)}
    widths = [4, 8, 12]

    def latency_of_logits(logits, reference):
        """Cycles of all layers in units of a reference, from one vector of logits for each layer."""
        total, inputs, sizes = 0.0, torch.ones(1), None
        for name, layer in layers.items():
            table = cost_table(layer, sizes or [getattr(layer, layer.WIDTHS[0])], widths, array=array)
            outputs = logits[name].softmax(0)
            total = total + expected_cost(table, {"in": inputs, "out": outputs})
            inputs, sizes = outputs, widths
        return total / reference

    reference = network_cost(layers, array).total.cycles
    logits = {name: torch.zeros(3, requires_grad=True) for name in layers}
    assert check_gradient(latency_of_logits(logits, reference), logits)

    one_hot = {name: torch.tensor([-1e9, -1e9, 0.0]) for name in layers}
    found = latency_of_logits(one_hot, 1.0).item()
    twelve = layer_cost(Conv2d(3, 12, 3, height=8, width=8, padding=1), array).cycles
    assert found == twelve + layer_cost(Linear(12, 12), array).cycles


def test_a_page(tmp_path):
    """A Markdown file in a toctree, with a table of what the package contains and a line that is tested."""
    pytest.importorskip("myst_parser")
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("conf.py", "page_tables.py"):
        shutil.copy(PROJECT / "docs" / name, docs)
    (docs / "index.md").write_text("# Index\n\n[How](mine.md)\n\n```{toctree}\n:caption: How-to guides\n\nmine\n```\n")
    table = "```{table-of} relaxations\n```"
    (docs / "mine.md").write_text(f"# Mine\n\n{table}\n\n```python\n>>> 40 + 2\n42\n\n```\n")
    options = ["-q", "-W", "--keep-going", "-n", "-d", str(tmp_path / "doctrees")]
    subprocess.run([sys.executable, "-m", "sphinx", *options, str(docs), str(tmp_path / "site")], check=True)
    page = (tmp_path / "site" / "mine.html").read_text(encoding="utf-8")
    assert "generalized" in page
    assert doctest.testfile(str(docs / "mine.md"), module_relative=False) == (0, 1)


def test_an_operator(tmp_path):
    """A product of one's own and a free operator behind it, in PyTorch and in ONNX."""
    torch, onnx = pytest.importorskip("torch"), pytest.importorskip("onnx")
    from hwcost.importers import rules

    library = torch.library.Library("recipe", "DEF")
    library.define("product(Tensor x, Tensor weight) -> Tensor")
    library.define("shuffle(Tensor x) -> Tensor")
    library.impl("product", lambda x, weight: x.new_empty(len(x), weight.shape[1]), "Meta")
    library.impl("shuffle", torch.empty_like, "Meta")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.last = torch.nn.Parameter(torch.zeros(8, 16)), torch.nn.Linear(16, 4)

        def forward(self, x):
            return self.last(torch.ops.recipe.shuffle(torch.ops.recipe.product(x, self.weight)))

    operators = {
        "recipe::product": lambda call: rules.matmul(call, call["x"], call["weight"]),
        "recipe::shuffle": rules.same,
    }
    assert len(from_torch(Net(), (5, 8)).unsupported) == 2
    network = from_torch(Net(), (5, 8), operators=operators)
    assert not network.unsupported
    assert network["weight"] == Linear(8, 16, batch=5)
    assert network.at({"weight": 12})["last"] == Linear(12, 4, batch=5)

    make = onnx.helper
    nodes = [
        make.make_node("Product", ["x", "first"], ["a"], name="a", domain="recipe"),
        make.make_node("Shuffle", ["a"], ["b"], name="b", domain="recipe"),
        make.make_node("MatMul", ["b", "last"], ["y"], name="c"),
    ]
    shapes = {"first": (8, 16), "last": (16, 4)}
    weights = [
        make.make_tensor(name, 1, shape, bytes(4 * shape[0] * shape[1]), raw=True) for name, shape in shapes.items()
    ]
    x, y = make.make_tensor_value_info("x", 1, [5, 8]), make.make_tensor_value_info("y", 1, None)
    opsets = [make.make_opsetid("", 21), make.make_opsetid("recipe", 1)]
    model = make.make_model(make.make_graph(nodes, "net", [x], [y], weights), opset_imports=opsets)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    operators = {
        "recipe::Product": lambda call: rules.matmul(call, call[0], call[1]),
        "recipe::Shuffle": rules.same,
    }
    assert len(from_onnx(path).unsupported) == 3
    network = from_onnx(path, operators=operators)
    assert not network.unsupported
    assert network["a"] == Linear(8, 16, batch=5)
    assert network.at({"a": 12})["c"] == Linear(12, 4, batch=5)


def test_a_command(networks, hwcost, refused):
    """The MACs of a network, next to the peak of an array."""
    from hwcost.cli import cli
    from hwcost.cli.shared.documents import json_document
    from hwcost.cli.shared.machines import array_options
    from hwcost.cli.shared.networks import model_options
    from hwcost.cli.shared.options import form_options

    @click.command()
    @click.argument("source", metavar="MODEL")
    @model_options
    @array_options
    @form_options()
    def peak(*, source, options, array, form):
        """MACs of a network, and the cycles that an array takes at its peak."""
        machine, macs = array.read(), options.read(source).macs
        content = {"macs": macs, "cycles": -(-macs // machine.array.pes)}
        click.echo(
            json_document("peak/1", content) if form == "json" else f"{machine.label}: {content['cycles']} cycles"
        )

    @cli.on_use("peak")
    def _():
        return peak

    try:
        expected = "16 x 16, weight stationary, ideal folds: 1628 cycles\n"
        assert hwcost("peak", "lenet.csv", "--s1", 16, "--s2", 16) == (0, expected, "")
        assert '"macs": 416520' in hwcost("peak", "lenet.csv", "--device", "gemmini", "--json")[1]
        assert "--s2" in refused("peak", "lenet.csv", "--s1", 16)
        assert "--csv" in refused("peak", "lenet.csv", "--device", "gemmini", "--json", "--csv")
        assert "peak" in hwcost("--help")[1]
    finally:
        del cli.loaders["peak"], cli.commands["peak"]
