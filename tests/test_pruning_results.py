"""The page on pruning says what its result files say, and those keep the limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.pruning_summary import TABLES, differences, means, table

PROJECT = Path(__file__).parents[1]
RESULTS = PROJECT / "benchmarks" / "results"
PAGE = (PROJECT / "docs" / "results" / "pruning.md").read_text(encoding="utf-8")
LINES = [json.loads(line) for line in (RESULTS / "pruning_runs.jsonl").read_text(encoding="utf-8").splitlines()]
RESULT = json.loads((RESULTS / "pruning.json").read_text(encoding="utf-8"))
RECOUNT = json.loads((RESULTS / "recount_pruned.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_that_of_the_result_file(name):
    block = PAGE.partition(f"<!-- {name} -->\n\n")[2].partition("\n\n")[0]
    assert block.splitlines() == table(RESULT["rows"], *TABLES[name])


def test_the_result_file_is_that_of_the_runs():
    assert RESULT["rows"] == means(LINES)
    assert RESULT["figures"] == pytest.approx(differences(RESULT["rows"]))
    assert len({(line["run"], line.get("method")) for line in LINES}) == len(LINES)


def test_every_network_is_within_its_limit_and_ours_use_it():
    for line in LINES:
        if "cycles" in line:
            target = float(line["run"].split("/")[2])
            assert line["cycles"] <= target
            if line["method"] in ("curves", "taylor"):
                assert line["cycles"] >= 0.97 * target


def test_the_networks_that_were_counted_again_are_those_of_the_runs():
    ours = {line["run"]: line["sizes"] for line in LINES if line.get("method") == "curves"}
    counted = {row["origin"]: row["choice"] for row in RECOUNT["networks"]}
    assert counted == {run: sizes for run, sizes in ours.items() if run.split("/")[1] != "gemmini"}
    assert all(row["equal"] for row in RECOUNT["networks"])


def test_the_table_of_searches_is_that_of_its_result_file():
    found = json.loads((RESULTS / "network_searches.json").read_text(encoding="utf-8"))["rows"]
    block = PAGE.partition("<!-- searches -->\n\n")[2].partition("\n\n")[0].splitlines()[2:]
    shown = [
        f"| {row['for']} | {row['method']} | {row['accuracy']:.1f} ({row['least']:.1f} to {row['most']:.1f}) "
        f"| {row['epochs of the original']:.1f} |"
        for row in found
    ]
    assert block == shown


def test_the_table_of_dropped_blocks_is_that_of_its_result_file():
    found = json.loads((RESULTS / "pruning_depth.json").read_text(encoding="utf-8"))
    figures, networks = found["figures"], [each for each in found["networks"] if "cycles" in each]
    block = PAGE.partition("<!-- depth -->\n\n")[2].partition("\n\n")[0].splitlines()[2:]
    stages, name = ("cut", "short", "long"), "blocks - widths alone"
    rows = [
        [method, *(f"{figures[f'{method}, {each}']:.1f}" for each in stages)]
        for method in ("widths", "widths and blocks")
    ]
    ends = [" to ".join(f"{figures[f'{name}, {each}, {end}']:+.1f}" for end in ("min", "max")) for each in stages]
    assert block == [f"| {' | '.join(row)} |" for row in (*rows, ["difference, least to most", *ends])]
    assert all(0.97 * 0.5 <= each["cycles"] <= 0.5 for each in networks)
    assert {len(each["dropped"]) for each in networks} == {0, 3}
