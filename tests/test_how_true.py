"""docs/how-true.md: every number of its tables is the one in the result files, which are read here by hand."""

from __future__ import annotations

import json
import pathlib
import re

import pytest

from hwcost.devices import read_device

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = (ROOT / "docs" / "how-true.md").read_text(encoding="utf-8")
MEASURED = json.loads((RESULTS / "agreement_measured.json").read_text(encoding="utf-8"))
SIMULATED = json.loads((RESULTS / "agreement_scalesim.json").read_text(encoding="utf-8"))["figures"]
DEFAULTS = json.loads((RESULTS / "calibrate_default.json").read_text(encoding="utf-8"))["rows"]
NETWORKS = json.loads((RESULTS / "whole_networks.json").read_text(encoding="utf-8"))
TABLES = MEASURED["tables"]
ERRORS = {"MAPE": "mape", "median": "median", "Spearman": "spearman", "Kendall": "kendall", "count": "count"}
PLAIN = ERRORS | {
    "mean": "mean",
    "largest": "max",
    "within a cycle": "within_one_cycle",
    "size": "size",
    "cost of training": "cost",
    "formula over SCALE-Sim, median": "ideal_median_ratio",
    "lowest": "ideal_lowest_ratio",
    "serial folds equal": "serial_equal",
    "share of the stair": "share",
    "model": "model",
    "layers": "layers",
}


def tables_of(page):
    """Header and rows of every table with a name."""
    found = {}
    for name, body in re.findall(r"<!-- table: ([^\n]+?) -->\n(.*?)<!-- end of table -->", page, flags=re.DOTALL):
        lines = [line for line in body.splitlines() if line.startswith("|")]
        head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
        found[name] = head, rows
    return found


ON_PAGE = tables_of(PAGE)


def check(cell, value):
    """A cell shows a value to as many digits as it has."""
    if isinstance(value, str):
        assert cell == value
        return
    shown = cell.removesuffix(" %").replace(",", "")
    digits = len(shown.partition(".")[2])
    assert float(shown) == pytest.approx(value * (100 if cell.endswith("%") else 1), abs=0.5001 * 10**-digits)


def test_every_table_is_there():
    assert len(ON_PAGE) == PAGE.count("<!-- table:") == PAGE.count("<!-- end of table -->")
    assert all(rows for _, rows in ON_PAGE.values())
    known = {"simulated", "default", "whole", "by hand in short", "larger in short", *TABLES}
    assert set(ON_PAGE) <= known


@pytest.mark.parametrize("name", [name for name in ON_PAGE if name in TABLES])
def test_numbers_are_those_of_the_results(name):
    head, rows = ON_PAGE[name]
    assert len(rows) == len(TABLES[name])
    checked = 0
    for cells, row in zip(rows, TABLES[name], strict=True):
        for title, cell in zip(head, cells, strict=True):
            if title == "by seed":
                for part, each in zip(cell.split(", "), row["by_seed"], strict=True):
                    check(f"{part} %", each["mape"])
            elif title in PLAIN:
                key = PLAIN[title]
                check(cell, row[key] if key in row else row[f"ideal_{key}"])  # of the formula and SCALE-Sim
            elif title == "array":
                assert cell == f"{row['size']} x {row['size']}"
            elif title == "number":
                assert cell == f"`{row['number']}`"
            elif title == "goes with":
                assert cell.strip("`") == row["goes_with"]
            elif title == "value":
                assert float(cell.replace(",", "")) == pytest.approx(row["value"], rel=0.006)
            elif title == "deviation":
                check(cell, row["deviation"])
            elif title == "size: folds":
                assert dict(part.split(": ") for part in cell.split(", ")) == {
                    k: str(v) for k, v in row["chosen"].items()
                }
            else:
                assert title == "data"
                continue
            checked += 1
    assert checked >= len(rows)


def test_numbers_of_forms_chosen_by_hand():
    head, rows = ON_PAGE["by hand in short"]
    sets = [TABLES[name] for name in ("best", "auto", "edge")]
    sets += [
        [row for row in TABLES["rtl"] if row["tiler"] == tiler] for tiler in ("orig_tiler", "fsm_tiler", "hw_tiler")
    ]
    assert len(rows) == len(sets)
    for of_set, (_, *cells) in zip(sets, rows, strict=True):
        models = {row["model"]: row for row in of_set}
        for title, cell in zip(head[1:], cells, strict=True):
            own = {"Spearman of hwcost": "spearman", "count": "count"}
            check(cell, models["hwcost"][own[title]] if title in own else models[title]["mape"])


def test_numbers_of_default_settings():
    head, rows = ON_PAGE["default"]
    assert [row[0] for row in rows] == list(DEFAULTS)
    for name, *cells in rows:
        row = DEFAULTS[name]
        values = row["rivals"] | {
            "measurements": row["count"], "form": row["form"], "hwcost": row["scores"]["mape"],
            "Spearman of hwcost": row["scores"]["spearman"], "within the 90 % interval": row["coverage_90"],
        }  # fmt: skip
        for title, cell in zip(head[1:], cells, strict=True):
            check(cell, values[title])


def test_numbers_of_whole_networks():
    assert [row[0] for row in ON_PAGE["whole"][1]] == list(NETWORKS["figures"])
    for name, cell in ON_PAGE["whole"][1]:
        check(cell, NETWORKS["figures"][name])


def test_numbers_of_larger_layers():
    head, rows = ON_PAGE["larger in short"]
    sets = list(dict.fromkeys(row["data"] for row in TABLES["larger"]))
    assert len(rows) == len(sets)
    for data, (_, *cells) in zip(sets, rows, strict=True):
        models = {row["model"]: row for row in TABLES["larger"] if row["data"] == data}
        for title, cell in zip(head[1:], cells, strict=True):
            if title == "without stairs":
                (name,) = {"hwcost without stairs", "the same without stairs"} & set(models)
                check(cell, models[name]["mape"])
            elif title in models:
                check(cell, models[title]["mape"])
            else:
                check(cell, models["hwcost"][{"Spearman of hwcost": "spearman", "count": "count"}[title]])


def test_numbers_of_scalesim():
    for figure, cell in ON_PAGE["simulated"][1]:
        check(cell, SIMULATED[figure])


def test_the_check_notices():
    check("9.7 %", 0.09732)
    with pytest.raises(AssertionError):
        check("9.8 %", 0.09732)


def test_goals_are_met():
    assert MEASURED["met"]
    assert all(MEASURED["met"].values())
    assert not MEASURED["settings"]["left out"]


def test_the_shipped_gemmini_is_that_of_the_results():
    errors = read_device("gemmini-firesim").fit.errors
    (row,) = (row for row in TABLES["best"] if row["model"] == "hwcost")
    for figure in ERRORS.values():
        assert errors[figure] == pytest.approx(row[figure], rel=1e-3), figure
