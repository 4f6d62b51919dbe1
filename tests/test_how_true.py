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
    known = {"simulated", "further", "rtl in short", "rtl by build in short", "larger in short", *TABLES}
    assert set(ON_PAGE) <= known


@pytest.mark.parametrize("name", [name for name in ON_PAGE if name in TABLES and name != "further"])
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


@pytest.mark.parametrize("name", ["rtl", "rtl by build"])
def test_numbers_by_tiler(name):
    head, rows = ON_PAGE[f"{name} in short"]
    by_place = {(row["model"], row["tiler"]): row for row in TABLES[name]}
    for model, *cells in rows:
        for title, cell in zip(head[1:], cells, strict=True):
            figure, tiler = title.split(", ")
            check(cell, by_place[model, tiler][ERRORS[figure]])
    assert len(rows) * 4 == len(by_place)


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


def test_numbers_over_further_seeds():
    ((seeds, *shown),) = ON_PAGE["further"][1]
    errors = [each["mape"] for each in TABLES["further"][0]["by_seed"]]
    assert int(seeds) == len(errors)
    for cell, value in zip(shown, (sum(errors) / len(errors), min(errors), max(errors)), strict=True):
        check(cell, value)


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
