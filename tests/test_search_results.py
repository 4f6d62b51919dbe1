"""The page on what the searches find says what its result files say, and those hold what can be counted again."""

from __future__ import annotations

import importlib
import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from hwcost import SystolicArray, network_cost
from nas_plugin import SWEEP_METHODS, load_arch_def
from nas_plugin.runs.comparison import TOLERANCE

PROJECT = Path(__file__).parents[1]
RESULTS = PROJECT / "benchmarks" / "results"
FILES = {
    name: json.loads((RESULTS / f"search_{name}.json").read_text(encoding="utf-8"))
    for name in ("full", "breadth", "full_seeds_0_to_4")
}
FULL, BREADTH, _ = FILES.values()
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


def test_the_table_of_all_rivals_is_that_of_the_result_file() -> None:
    winners = {(row["array"], row["method"], row["limit"]): row for row in BREADTH["winners"]}
    for array in ("16x16", "8x8"):
        shown = rows(f"breadth {array}")
        assert {row[0] for row in shown} == set(BREADTH["settings"]["methods"])
        assert set(SWEEP_METHODS) - {"prune"} == {row[0] for row in shown}
        for method, *cells in shown:
            (kept,) = (row for row in BREADTH["methods"] if (row["array"], row["method"]) == (array, method))
            reached = kept["iso_accuracy_cycles_by_seed"]
            expected = [f"{kept['hypervolume']:.3f} ± {kept['hypervolume_deviation']:.3f}"]
            for limit in ("0.5", "0.75"):
                row = winners[array, method, limit]
                low, high = row["accuracy_range"]
                expected.append(f"{100 * row['accuracy']:.1f} % ({100 * low:.1f} to {100 * high:.1f})")
            expected.append(f"{kept['iso_accuracy_cycles']:.2f}")
            expected.append(f"{sum(ratio is not None for ratio in reached)} of {len(reached)}")
            assert cells == expected
        volumes = [float(row[1].split()[0]) for row in shown]
        assert volumes == sorted(volumes, reverse=True)


@pytest.mark.parametrize("kept", FILES.values(), ids=FILES)
def test_the_rows_follow_from_the_single_searches(kept: dict[str, Any]) -> None:
    reference = statistics.fmean(kept["reference"]["accuracies"])
    for row in kept["winners"]:
        key = ("array", "method", "limit")
        group = [f for f in kept["searches"] if all(f[name] == row[name] for name in key)]
        accuracies = [statistics.fmean(found["accuracies"]) for found in group]
        assert row["accuracy"] == pytest.approx(statistics.fmean(accuracies))
        assert row["within_tolerance"] == sum(a >= reference - TOLERANCE - 1e-9 for a in accuracies)
        assert len(group) == row["seeds"] >= 5
        assert all(len(found["accuracies"]) == 3 for found in group)


@pytest.mark.parametrize("kept", FILES.values(), ids=FILES)
def test_every_winner_keeps_its_target_and_uses_all_that_it_pays_for(kept: dict[str, Any]) -> None:
    for found in kept["searches"]:
        rows_, cols = map(int, found["array"].split("x"))
        array = SystolicArray(rows_, cols)
        cycles = network_cost(LENET.space.at(found["choice"]), array).total.cycles
        limit = float(found["limit"]) * network_cost(LENET.space.at(LENET.reference), array).total.cycles
        assert found["cycles"] == cycles
        if found["method"] == "flops":
            continue  # knows nothing of the array
        assert 0.97 * limit <= cycles <= limit
        costs = LENET.costs(array)
        row = costs.rows([found["choice"]])
        assert (costs.saturated(row) == row).all()


def test_networks_cut_from_the_widest_one_keep_their_limits_and_are_those_of_the_page() -> None:
    kept = json.loads((RESULTS / "lenet_pruned.json").read_text(encoding="utf-8"))
    lenet = statistics.fmean(FULL["reference"]["accuracies"])
    shown = rows("pruned")
    assert len(shown) == len(kept["networks"]) > 0
    for row, own in zip(shown, kept["networks"], strict=True):
        assert row == [
            own["array"],
            own["target"],
            str(own["seed"]),
            "-".join(map(str, own["choice"].values())),
            f"{own['cycles_ratio']:.3f}",
            f"{100 * own['accuracy']:.2f} %",
            f"{100 * (own['accuracy'] - lenet):+.2f}",
            f"{own['trainings_of_lenet']:.1f}",
        ]
        rows_, cols = map(int, own["array"].split("x"))
        array = SystolicArray(rows_, cols)
        cycles = network_cost(LENET.space.at(own["choice"]), array).total.cycles
        limit = float(own["target"]) * network_cost(LENET.space.at(LENET.reference), array).total.cycles
        assert own["cycles"] == cycles
        assert 0.97 * limit <= cycles <= limit


def test_the_simulator_counted_every_winner_alike() -> None:
    counted = json.loads((RESULTS / "search_full_recount.json").read_text(encoding="utf-8"))
    networks = {(f"{n['array']['rows']}x{n['array']['cols']}", *n["choice"].values()): n for n in counted["networks"]}
    for found in FULL["searches"]:
        network = networks[(found["array"], *found["choice"].values())]
        rows_, cols = map(int, found["array"].split("x"))
        serial = network_cost(LENET.space.at(found["choice"]), SystolicArray(rows_, cols, fold_timing="serial"))
        assert network["equal"]
        assert network["cycles by SCALE-Sim"] == serial.total.cycles


def test_the_simulator_s_command_reads_every_result_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(RESULTS.parent)
    benchmark = importlib.import_module("recount_scalesim")
    for path in sorted(RESULTS.glob("search_full*.json")):
        if "recount" in path.name:
            continue
        kept = json.loads(path.read_text(encoding="utf-8"))
        networks = {(found["array"], *found["choice"].values()) for found in kept["searches"]}
        networks |= {(array, *LENET.reference.values()) for array in ("8x8", "16x16")}
        read = [(f"{n.rows}x{n.cols}", *n.choice.values()) for n in benchmark.winners(path)]
        assert len(read) == len(set(read))
        assert set(read) == networks


def test_the_compute_on_the_page_is_that_of_the_result_files() -> None:
    for name, phrase in (
        ("breadth", "uses {over the sweep:.2f} times"),
        ("full", "[{over the sweep:.2f} times its compute]"),
    ):
        content = json.loads((RESULTS / f"search_compute_{name}.json").read_text(encoding="utf-8"))
        figures = {key.partition(", ")[2] or key: share for key, share in content["figures"].items()}
        assert phrase.format(**figures) in PAGE
    breadth = json.loads((RESULTS / "search_compute_breadth.json").read_text(encoding="utf-8"))["figures"]
    shared = breadth["super-network / the author's search"]
    alone = [shared + share for key, share in breadth.items() if "choice" in key]
    assert f"uses {min(alone):.1f} to {max(alone):.1f} times as many" in PAGE


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
