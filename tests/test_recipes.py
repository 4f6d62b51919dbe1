"""Every recipe of CONTRIBUTING.md, read from the page and followed to the letter."""

from __future__ import annotations

import ast
import doctest
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from running import printed

import hwcost
from page_tables import filled

PROJECT = Path(__file__).parents[1]
PACKAGE = Path(hwcost.__file__).parent
PAGE = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Recipes\n")[2].partition("\n## ")[0]
RECIPES = dict(re.findall(r"^### (.*)\n((?:(?!### ).*\n?)*)", PAGE, flags=re.MULTILINE))
OF_THE_SEARCH = {"A search method", "A latency term", "A block kind"}
"""Tested in ``tests/nas/test_recipes.py``."""


def blocks_of(recipe):
    return re.findall(r"^```(?:python|toml)\n(.*?)^```", RECIPES[recipe], flags=re.MULTILINE | re.DOTALL)


def test_the_recipes_were_found():
    assert len(RECIPES) >= 14
    assert set(RECIPES) > OF_THE_SEARCH
    tests = (PROJECT / "tests" / "nas" / "test_recipes.py").read_text("utf-8")
    for recipe in OF_THE_SEARCH:
        assert f"def test_{recipe.lower().replace(' ', '_')}(" in tests or f'"{recipe}"' in tests, recipe


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name not in OF_THE_SEARCH | {"A page"}])
def test_a_recipe(recipe, tmp_path):
    """Blocks that name a file go into a copy of the package, in order; the others are run on the copy, and assert."""
    shutil.copytree(PACKAGE, tmp_path / "hwcost", ignore=shutil.ignore_patterns("__pycache__"))
    checks = [block for block in blocks_of(recipe) if not follow(block, tmp_path)]
    assert checks
    for library in ("torch", "onnx"):
        if any(f"import {library}" in check or f"hwcost.{library}" in check for check in checks):
            pytest.importorskip(library)
    for number, check in enumerate(checks):
        assert "assert " in check
        script = tmp_path / f"check{number}.py"
        script.write_text(f"{check}\nimport hwcost\nprint(hwcost.__file__)\n", encoding="utf-8")
        out = printed(script, out=tmp_path / "out", path=[tmp_path], warn="default")
        assert out.splitlines()[-1] == str(tmp_path / "hwcost" / "__init__.py")


def test_a_page(tmp_path):
    """The page is built, its table is filled in, and its lines are tested."""
    pytest.importorskip("myst_parser")
    (page,) = re.findall(r"^````markdown\n(.*?)^````", RECIPES["A page"], flags=re.MULTILINE | re.DOTALL)
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(PROJECT / "docs" / "conf.py", docs)
    shutil.copytree(PROJECT / "docs" / "_static", docs / "_static")
    (docs / "index.md").write_text("# Index\n\n```{toctree}\n:caption: How-to guides\n\nmine\n```\n")
    (docs / "mine.md").write_text(filled(page))
    options = ["-q", "-W", "--keep-going", "-n", "-d", str(tmp_path / "doctrees")]
    subprocess.run([sys.executable, "-m", "sphinx", *options, str(docs), str(tmp_path / "site")], check=True)
    assert "generalized" in (tmp_path / "site" / "mine.html").read_text(encoding="utf-8")
    assert doctest.testfile(str(docs / "mine.md"), module_relative=False) == (0, 1)


def test_an_operator_of_an_onnx_graph(tmp_path):
    """The handlers of the recipe, with the inputs by number."""
    onnx = pytest.importorskip("onnx")
    from hwcost import Linear, from_onnx
    from hwcost.importers import rules

    make = onnx.helper
    nodes = [
        make.make_node("Product", ["x", "first"], ["a"], name="a", domain="mylib"),
        make.make_node("Shuffle", ["a"], ["b"], name="b", domain="mylib"),
        make.make_node("MatMul", ["b", "last"], ["y"], name="c"),
    ]
    shapes = {"first": (8, 16), "last": (16, 4)}
    weights = [make.make_tensor(name, 1, (m, n), bytes(4 * m * n), raw=True) for name, (m, n) in shapes.items()]
    x, y = make.make_tensor_value_info("x", 1, [5, 8]), make.make_tensor_value_info("y", 1, None)
    opsets = [make.make_opsetid("", 21), make.make_opsetid("mylib", 1)]
    path = tmp_path / "net.onnx"
    onnx.save(make.make_model(make.make_graph(nodes, "net", [x], [y], weights), opset_imports=opsets), path)
    operators = {"mylib::Product": lambda call: rules.matmul(call, call[0], call[1]), "mylib::Shuffle": rules.same}
    assert len(from_onnx(path).unsupported) == 3
    network = from_onnx(path, operators=operators)
    assert not network.unsupported
    assert network["a"] == Linear(8, 16, batch=5)
    assert network.at({"a": 12})["c"] == Linear(12, 4, batch=5)


# ---------------------------------------------------------------- what a block says

HEAD = re.compile(r"# (\S+?\.(?:py|toml))(?:, (a row of|a field of|before|at the end) ?(\w*))?\n")
"""The first line of a block: "# FILE", with where in the file the block goes if it is not the file itself."""


def follow(block, folder):
    """Does what the first line of a block says; False if it says nothing."""
    head = HEAD.match(block)
    if head is None:
        return False
    path, place, name = folder / head[1], head[2], head[3]
    text, rest = block if place is None else path.read_text(encoding="utf-8"), block[head.end() :].rstrip()
    if place == "at the end":
        text += f"\n\n{rest}\n"
    elif place is not None:
        lines = text.splitlines(keepends=True)
        at, indent = place_of(ast.parse(text), place, name)
        comma = "," if place == "a row of" else ""
        lines[at:at] = [f"{' ' * indent}{line}".rstrip() + "\n" for line in f"{rest}{comma}".splitlines()]
        text = "".join(lines)
    path.write_text(text, encoding="utf-8")
    return True


def place_of(tree, place, name):
    """The line, and the indentation, of a new row of a table, field of a class, or statement before a name."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            last = [each for each in node.body if isinstance(each, ast.AnnAssign)][-1]
            return last.end_lineno, last.col_offset
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            if place == "before":
                return node.lineno - 1, 0
            rows, keys = rows_of(node.value)
            return rows[-1].end_lineno, keys[-1].col_offset
    raise AssertionError(f"no {name}")


def rows_of(value):
    """The rows of a table, and what each begins with: its key, or the row itself."""
    if isinstance(value, ast.DictComp):
        return rows_of(value.generators[0].iter)
    if isinstance(value, ast.Call) and isinstance(value.args[0], (ast.Dict, ast.DictComp)):
        return rows_of(value.args[0])
    if isinstance(value, ast.Dict):
        return value.values, value.keys
    rows = value.args if isinstance(value, ast.Call) else value.elts
    return rows, rows
