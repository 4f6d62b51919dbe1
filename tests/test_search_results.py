"""The page on what the searches find says what its result files say, and those hold what can be counted again."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from hwcost import SystolicArray, network_cost
from nas_plugin import load_arch_def
from nas_plugin.candidates import Costs
from nas_plugin.comparison import TOLERANCE

PROJECT = Path(__file__).parents[1]
RESULTS = PROJECT / "benchmarks" / "results"
FULL = json.loads((RESULTS / "search_full.json").read_text(encoding="utf-8"))
PAGE = (PROJECT / "docs" / "results" / "search.md").read_text(encoding="utf-8")
LENET = load_arch_def()


def rows(marker: str) -> list[list[str]]:
    block = PAGE.partition(f"<!-- {marker} -->\n\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in block.splitlines()[2:]]


def test_the_table_is_that_of_the_result_file() -> None:
    shown = rows("full")
    assert len(shown) == len(FULL["winners"])
    for row, kept in zip(shown, FULL["winners"], strict=True):
        low, high = kept["accuracy_range"]
        assert row == [
            kept["array"],
            kept["method"],
            kept["limit"],
            f"{kept['cycles_ratio']:.3f}",
            f"{100 * kept['accuracy']:.2f} %",
            f"{100 * low:.2f} to {100 * high:.2f} %",
            f"{kept['within_tolerance']} of {kept['seeds']}",
            str(kept["different_winners"]),
        ]


def test_the_rows_follow_from_the_single_searches() -> None:
    reference = statistics.fmean(FULL["reference"]["accuracies"])
    for kept in FULL["winners"]:
        key = ("array", "method", "limit")
        group = [f for f in FULL["searches"] if all(f[name] == kept[name] for name in key)]
        accuracies = [statistics.fmean(found["accuracies"]) for found in group]
        assert kept["accuracy"] == pytest.approx(statistics.fmean(accuracies))
        assert kept["within_tolerance"] == sum(a >= reference - TOLERANCE for a in accuracies)
        assert len(group) == kept["seeds"] >= 5
        assert all(len(found["accuracies"]) == 3 for found in group)


def test_every_winner_keeps_its_target_and_uses_all_that_it_pays_for() -> None:
    for found in FULL["searches"]:
        rows_, cols = map(int, found["array"].split("x"))
        array = SystolicArray(rows_, cols)
        cycles = network_cost(LENET.space.at(found["choice"]), array).total.cycles
        limit = float(found["limit"]) * network_cost(LENET.space.at(LENET.reference), array).total.cycles
        assert found["cycles"] == cycles
        assert 0.97 * limit <= cycles <= limit
        costs = Costs(LENET, array)
        row = costs.rows([found["choice"]])
        assert (costs.saturated(row) == row).all()


def test_the_simulator_counted_every_winner_alike() -> None:
    counted = json.loads((RESULTS / "search_full_recount.json").read_text(encoding="utf-8"))
    networks = {(f"{n['array']['rows']}x{n['array']['cols']}", *n["choice"].values()): n for n in counted["networks"]}
    for found in FULL["searches"]:
        network = networks[(found["array"], *found["choice"].values())]
        rows_, cols = map(int, found["array"].split("x"))
        serial = network_cost(LENET.space.at(found["choice"]), SystolicArray(rows_, cols, fold_timing="serial"))
        assert network["equal"]
        assert network["cycles by SCALE-Sim"] == serial.total.cycles


def test_targets_were_met() -> None:
    met = json.loads((RESULTS / "targets_met.json").read_text(encoding="utf-8"))
    assert all(met["met"].values())
    assert met["settings"]["runs"] >= 20
    for run in met["runs"]:
        rows_, cols = map(int, run["array"].split("x"))
        array = SystolicArray(rows_, cols)
        choice = {name: run[name] for name in LENET.decisions}
        cycles = network_cost(LENET.space.at(choice), array).total.cycles
        reference = network_cost(LENET.space.at(LENET.reference), array).total.cycles
        assert 0.97 * run["target"] <= cycles / reference <= run["target"]
