"""The recipes of CONTRIBUTING.md for the search, read from the page and followed to the letter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_recipes import PROJECT, blocks_of, follow


@pytest.mark.parametrize("recipe", ["A search method", "A latency term", "A block kind"])
def test_a_recipe(recipe: str, tmp_path: Path) -> None:
    """Blocks that name a file are written to that file; the others are run next to it, and assert."""
    checks = [block for block in blocks_of(recipe) if not follow(block, tmp_path)]
    assert checks
    path = os.pathsep.join([str(tmp_path), str(PROJECT)])
    for check in checks:
        assert "assert " in check
        command = [sys.executable, "-c", check]
        environment = os.environ | {"PYTHONPATH": path}
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
