"""A release has one version."""

from __future__ import annotations

import re
from pathlib import Path

import hwcost

PROJECT = Path(__file__).parents[1]


def text(name):
    return (PROJECT / name).read_text(encoding="utf-8")


def test_the_version_is_the_same_everywhere():
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", text("CHANGELOG.md"), flags=re.MULTILINE)
    assert released[0][0] == hwcost.__version__
    citation = text("CITATION.cff")
    assert f"\nversion: {hwcost.__version__}\n" in citation
    assert f'\ndate-released: "{released[0][1]}"\n' in citation
