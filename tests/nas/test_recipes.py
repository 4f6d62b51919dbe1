"""The recipes of CONTRIBUTING.md for the search, read from the page and followed to the letter."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import printed
from test_recipes import PROJECT, blocks_of, follow


@pytest.mark.parametrize("recipe", ["A search method", "A latency term", "A block kind"])
def test_a_recipe(recipe: str, tmp_path: Path) -> None:
    """Blocks that name a file are written to that file; the others are run next to it, and assert."""
    checks = [block for block in blocks_of(recipe) if not follow(block, tmp_path)]
    assert checks
    for number, check in enumerate(checks):
        assert "assert " in check
        script = tmp_path / f"check{number}.py"
        script.write_text(check, encoding="utf-8")
        printed(script, out=tmp_path / "out", path=[tmp_path, PROJECT], warn="default")
