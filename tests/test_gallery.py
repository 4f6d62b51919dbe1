"""The gallery: its code draws every kind of picture, each with a file."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

import hwcost.plot

PROJECT = Path(__file__).parent.parent
PAGE = (PROJECT / "docs" / "gallery.md").read_text(encoding="utf-8")


def test_every_kind_of_picture_is_on_the_page():
    drawn = set(re.findall(r"^figure = (\w+)\(", PAGE, flags=re.MULTILINE))
    assert drawn == {name for name in hwcost.plot.__all__ if name.endswith("_figure")}


def test_the_code_draws_the_pictures():
    for library in ("matplotlib", "scipy", "torch"):
        pytest.importorskip(library)
    spec = importlib.util.spec_from_file_location("draw_gallery", PROJECT / "tools" / "draw_gallery.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    figures = dict(module.figures())
    assert list(figures) == re.findall(r"\]\(images/gallery/(.*)\)", PAGE)
    assert {path.name for path in (PROJECT / "docs" / "images" / "gallery").iterdir()} == set(figures)
    for figure in figures.values():
        assert figure.axes
