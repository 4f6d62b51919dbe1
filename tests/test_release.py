"""A release has one version."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
    for name in ("README.md", "docs/quick-start.md"):
        assert set(re.findall(r"hwcost-(\d+\.\d+\.\d+)-py3-none-any.whl", text(name))) == {hwcost.__version__}


def test_nothing_stands_twice_in_the_changelog():
    items = re.findall(r"^- .*(?:\n  .*)*", text("CHANGELOG.md"), flags=re.MULTILINE)
    assert len(items) > 100
    assert [each for each in items if items.count(each) > 1] == []


NEEDED = {
    r"\.py:\w+ ": "torch",
    r"\.onnx ": "onnx",
    r" --(plot|html) |^hwcost plot ": "plot",
    r" --engine ": "cluster",
    r"^hwcost calibrate ": "fit",
    r"^nas-plugin ": "nas",
}
"""The extra that a command line needs."""


@pytest.mark.parametrize("name", ["README.md", "docs/quick-start.md"])
def test_what_a_page_installs_is_enough_for_its_commands(name):
    installed = set()
    commands = 0
    for line in text(name).splitlines():
        for extras in re.findall(r"pip install \"[^\"]*\[([\w,]+)\]\"", line):
            installed |= set(extras.split(","))
        command = line.removeprefix("$ ")
        if command.startswith(("hwcost ", "nas-plugin ")):
            commands += 1
            assert {extra for mark, extra in NEEDED.items() if re.search(mark, command)} <= installed, command
    assert commands
