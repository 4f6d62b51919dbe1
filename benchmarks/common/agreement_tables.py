"""The tables of agreement_measured.json and agreement_scalesim.json as Markdown.

Running this writes benchmarks/results/agreement_measured.md with all of them, and puts some, and short ones of other
result files, into docs/how-true.md, between ``<!-- table: NAME -->`` and ``<!-- end of table -->``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
PAGE = Path(__file__).parents[2] / "docs" / "how-true.md"

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], str]]
_OTHERS = ("agreement_scalesim", "calibrate_default", "whole_networks")
_PLACE = re.compile(r"<!-- table: ([^\n]+?) -->\n(?:(?!<!-- ).)*<!-- end of table -->", flags=re.DOTALL)

NAMES = {
    "best": "Gemmini, best mappings",
    "auto": "Gemmini, default tiler",
    "edge": "Edge TPU",
    "orig_tiler": "Gemmini builds, orig_tiler",
    "fsm_tiler": "Gemmini builds, fsm_tiler",
    "hw_tiler": "Gemmini builds, hw_tiler",
}


# ---------------------------------------------------------------- cells


def per_cent(name: str, digits: int = 1) -> Callable[[Row], str]:
    return lambda row: f"{100 * row[name]:.{digits}f} %"


def number(name: str, digits: int) -> Callable[[Row], str]:
    return lambda row: f"{row[name]:.{digits}f}"


def plain(name: str) -> Callable[[Row], str]:
    return lambda row: str(row[name])


def seeds(name: str, digits: int = 1) -> Callable[[Row], str]:
    return lambda row: ", ".join(f"{100 * each[name]:.{digits}f}" for each in row["by_seed"])


def significant(name: str) -> Callable[[Row], str]:
    """Three digits, with a separator for thousands."""

    def cell(row: Row) -> str:
        value = float(f"{row[name]:.3g}")
        return f"{value:,.0f}" if value >= 1000 else f"{value:g}"

    return cell


def _counted(chosen: Mapping[str, int]) -> str:
    return ", ".join(f"{size}: {times}" for size, times in chosen.items())


def deviation(row: Row) -> str:
    return "not determined" if row["deviation"] is None else f"{row['deviation']:.2f}"


# ---------------------------------------------------------------- tables

ERRORS: tuple[Column, ...] = (
    ("MAPE", per_cent("mape")),
    ("by seed", seeds("mape")),
    ("median", per_cent("median")),
    ("Spearman", number("spearman", 4)),
    ("Kendall", number("kendall", 4)),
    ("count", plain("count")),
)
ONE_SPLIT: tuple[Column, ...] = tuple(column for column in ERRORS if column[0] != "by seed")
FITTED: tuple[Column, ...] = (("model", plain("model")), *ERRORS)
SPLIT_ONCE: tuple[Column, ...] = (("model", plain("model")), *ONE_SPLIT)
TILERS: tuple[Column, ...] = (("tiler", plain("tiler")), ("model", plain("model")))

TABLES: Mapping[str, tuple[str, tuple[Column, ...]]] = {
    "best": ("Gemmini, best mapping of each layer, 5 folds", FITTED),
    "few": ("Gemmini, best mappings, fitted to 16 layers and tested on the others", FITTED),
    "network": ("Gemmini, best mappings, each network predicted from the other", SPLIT_ONCE),
    "auto": ("Gemmini, default tiler, 5 folds", FITTED),
    "edge": ("Edge TPU, weights on the chip, 5 folds", FITTED),
    "edge sizes": (
        "Edge TPU: what each size of the array would explain",
        (
            ("size", plain("size")),
            ("cost of training", number("cost", 3)),
            ("MAPE", per_cent("mape", 2)),
            ("median", per_cent("median", 2)),
        ),
    ),
    "edge session 2": ("Edge TPU, the second session, by fits to the first", FITTED),
    "rtl": ("Gemmini builds, folds by shape", (*TILERS, *ERRORS)),
    "rtl by build": ("Gemmini builds, each build predicted from the others", (*TILERS, *ONE_SPLIT)),
    "larger": (
        "Layers of four times the MACs of any that was seen, and more; seen was the smaller half",
        (("data", lambda row: NAMES[row["data"]]), *SPLIT_ONCE),
    ),
    "stairs": (
        "What share of the stair the data ask for, without priors; deviation in log-odds",
        (
            ("data", lambda row: NAMES[row["data"]]),
            ("share of the stair", number("share", 2)),
            ("deviation", number("deviation", 2)),
            ("MAPE", per_cent("mape")),
            ("Spearman", number("spearman", 4)),
            ("count", plain("count")),
        ),
    ),
    "edge chosen": (
        "Edge TPU: the size that is chosen in each of the folds",
        (("model", plain("model")), ("size: folds", lambda row: _counted(row["chosen"]))),
    ),
    "uboost": (
        "U-Boost NAS's cycle simulator, nothing fitted",
        (
            ("layers", plain("layers")),
            ("model", plain("model")),
            ("median", per_cent("median", 3)),
            ("mean", per_cent("mean", 2)),
            ("largest", per_cent("max")),
            ("within a cycle", per_cent("within_one_cycle")),
            ("Spearman", number("spearman", 4)),
            ("count", plain("count")),
        ),
    ),
    "scalesim": (
        "SCALE-Sim 3.0.0: the author's formula and serial folds, by size of the array",
        (
            ("array", lambda row: f"{row['size']} x {row['size']}"),
            ("formula over SCALE-Sim, median", number("ideal_median_ratio", 3)),
            ("lowest", number("ideal_lowest_ratio", 3)),
            ("Spearman", number("ideal_spearman", 4)),
            ("serial folds equal", per_cent("serial_equal")),
            ("count", plain("count")),
        ),
    ),
    "estimates": (
        "Fitted numbers: SI units and cycles; the deviation is that of the logarithm, of the log-odds for shares",
        (
            ("data", lambda row: NAMES[row["data"]]),
            ("number", lambda row: f"`{row['number']}`"),
            ("value", significant("value")),
            ("deviation", deviation),
            ("goes with", lambda row: f"`{row['goes_with']}`" if row["goes_with"] else ""),
        ),
    ),
}


def markdown(columns: Iterable[Column], rows: Iterable[Row]) -> str:
    columns = list(columns)
    lines = [[title for title, _ in columns], ["---"] * len(columns)]
    lines += [[cell(row) for _, cell in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def goals(content: Row) -> str:
    """A row for each figure that has a goal."""
    rows = []
    for key, goal in content["goals"].items():
        value = content["figures"][key]
        shown = f"{value:g}" if isinstance(value, int) else f"{value:.4f}"
        rows.append({"figure": key, "value": shown, "goal": goal, "met": "yes" if content["met"][key] else "NO"})
    return markdown([(name, plain(name)) for name in ("figure", "value", "goal", "met")], rows)


def further(content: Row) -> str:
    """The spread of MAPE over further fold seeds, in one row."""
    by_seed = [each["mape"] for each in content["tables"]["further"][0]["by_seed"]]
    row = {"count": len(by_seed), "mean": sum(by_seed) / len(by_seed), "lowest": min(by_seed), "highest": max(by_seed)}
    columns = (
        ("further fold seeds", plain("count")),
        *((f"{n} MAPE", per_cent(n)) for n in ("mean", "lowest", "highest")),
    )
    return markdown(columns, [row])


def by_tiler(rows: Iterable[Row]) -> str:
    """One row for each model, with its errors for each tiler."""
    models: dict[str, dict[str, Row]] = {}
    for row in rows:
        models.setdefault(row["model"], {})[row["tiler"]] = row
    tilers = list(next(iter(models.values())))
    columns: list[Column] = [("model", plain("model"))]
    for figure, shown in (("mape", per_cent("mape")), ("spearman", number("spearman", 3))):
        title = {"mape": "MAPE", "spearman": "Spearman"}[figure]
        columns += [(f"{title}, {tiler}", lambda row, t=tiler, shown=shown: shown(row[t])) for tiler in tilers]
    return markdown(columns, [{"model": model} | each for model, each in models.items()])


LARGER = {
    "hwcost": ("hwcost",),
    "without stairs": ("hwcost without stairs", "the same without stairs"),
    "roofline and a constant": ("roofline and a constant",),
    "line through MACs": ("line through MACs",),
    "gradient boosting": ("gradient boosting",),
}
"""What the short table of larger layers shows of each data set, and what that is called there."""


def larger_in_short(rows: Iterable[Row]) -> str:
    """One row for each data set, with the errors of its models."""
    sets: dict[str, dict[str, Row]] = {}
    for row in rows:
        sets.setdefault(row["data"], {})[row["model"]] = row
    columns: list[Column] = [("data", lambda row: NAMES[row["data"]])]
    columns += [(title, lambda row, title=title: row[title]) for title in (*LARGER, "Spearman of hwcost", "count")]
    cells = []
    for data, models in sets.items():
        found = {
            title: next((models[name] for name in names if name in models), None) for title, names in LARGER.items()
        }
        shown = {title: per_cent("mape")(row) if row else "" for title, row in found.items()}
        own = models["hwcost"]
        cells.append({"data": data, "Spearman of hwcost": f"{own['spearman']:.3f}", "count": str(own["count"])} | shown)
    return markdown(columns, cells)


BY_HAND = ("hwcost", "roofline and a constant", "gradient boosting")
"""The models of the short table of forms chosen by hand."""


def by_hand_in_short(tables: Mapping[str, Any]) -> str:
    """One row for each data set, with the errors of some models."""
    sets = {NAMES[name]: {row["model"]: row for row in tables[name]} for name in ("best", "auto", "edge")}
    for tiler in ("orig_tiler", "fsm_tiler", "hw_tiler"):
        sets[NAMES[tiler]] = {row["model"]: row for row in tables["rtl"] if row["tiler"] == tiler}
    columns: list[Column] = [(title, plain(title)) for title in ("data", *BY_HAND, "Spearman of hwcost", "count")]
    rows = [
        {"data": data, "Spearman of hwcost": f"{own['hwcost']['spearman']:.3f}", "count": own["hwcost"]["count"]}
        | {name: per_cent("mape")(own[name]) for name in BY_HAND}
        for data, own in sets.items()
    ]
    return markdown(columns, rows)


def of_defaults(content: Row) -> str:
    """One row for each data set that the default settings were tried on."""
    columns: list[Column] = [
        ("data", plain("data")),
        ("measurements", plain("count")),
        ("form", plain("form")),
        ("hwcost", lambda row: per_cent("mape")(row["scores"])),
        ("roofline and a constant", lambda row: per_cent("roofline and a constant")(row["rivals"])),
        ("line through MACs", lambda row: per_cent("line through MACs")(row["rivals"])),
        ("Spearman of hwcost", lambda row: f"{row['scores']['spearman']:.3f}"),
        ("within the 90 % interval", per_cent("coverage_90", 0)),
    ]
    return markdown(columns, [{"data": name} | row for name, row in content["rows"].items()])


def of_networks(content: Row) -> str:
    """One row for each figure of whole networks."""

    def shown(row: Row) -> str:
        value = row["value"]
        return str(value) if isinstance(value, int) else f"{100 * value:.1f} %"

    rows = [{"figure": name, "value": value} for name, value in content["figures"].items()]
    return markdown([("figure", plain("figure")), ("value", shown)], rows)


SIMULATED = (
    "layers simulated",
    "share of report values that are equal",
    "recorded rows",
    "recorded rows with equal total_cycles",
    "recorded rows with equal overall_util",
    "recorded rows with equal sram_ifmap_reads",
    "recorded rows with equal sram_filter_reads",
    "recorded rows with equal sram_ofmap_writes",
    "times faster, over all",
    "times faster, median of cases",
)


def with_scalesim(figures: Row) -> str:
    """The agreement with SCALE-Sim itself: shares in per cent, everything else to the nearest whole number."""

    def shown(row: Row) -> str:
        value = figures[row["figure"]]
        return f"{100 * value:.1f} %" if row["figure"].startswith(("share", "recorded rows with")) else f"{value:.0f}"

    return markdown([("figure", plain("figure")), ("value", shown)], [{"figure": name} for name in SIMULATED])


def made(content: Row) -> dict[str, str]:
    """Every table that the results have, by name."""
    tables = content["tables"]
    found = {name: markdown(columns, tables[name]) for name, (_, columns) in TABLES.items() if name in tables}
    if "further" in tables:
        found["further"] = further(content)
    short = {f"{name} in short": by_tiler(tables[name]) for name in ("rtl", "rtl by build") if name in tables}
    if "larger" in tables:
        short["larger in short"] = larger_in_short(tables["larger"])
    if {"best", "auto", "edge", "rtl"} <= set(tables):
        short["by hand in short"] = by_hand_in_short(tables)
    return found | short | {"goals": goals(content)}


# ---------------------------------------------------------------- files


def put_in(text: str, tables: Mapping[str, str]) -> str:
    """A page with its tables made again; one that the results lack stays."""

    def made_anew(found: re.Match[str]) -> str:
        if found[1] not in tables:
            return found[0]
        return f"<!-- table: {found[1]} -->\n\n{tables[found[1]]}\n\n<!-- end of table -->"

    return _PLACE.sub(made_anew, text)


def write(results: Path = RESULTS, page: Path = PAGE) -> None:
    """Writes the tables next to the results, and into the page if it exists."""
    content = json.loads((results / "agreement_measured.json").read_text())
    tables = made(content)
    titles = {name: title for name, (title, _) in TABLES.items()}
    titles |= {"further": "Gemmini, best mappings: further fold seeds", "goals": "Goals"}
    order = ["goals", "best", "further", *(name for name in TABLES if name != "best")]
    parts = [f"## {titles[name]}\n\n{tables[name]}" for name in order if name in tables]
    head = "# Agreement with measurements\n\nWritten by benchmarks/agreement_measured.py. Errors: held-out rows."
    _write_whole(results / "agreement_measured.md", "\n\n".join([head, *parts]) + "\n")
    if page.is_file():
        read = {name: json.loads((results / f"{name}.json").read_text()) for name in _OTHERS}
        more = {
            "simulated": with_scalesim(read["agreement_scalesim"]["figures"]),
            "default": of_defaults(read["calibrate_default"]),
            "whole": of_networks(read["whole_networks"]),
        }
        _write_whole(page, put_in(page.read_text(), tables | more))


def _write_whole(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    part.replace(path)


if __name__ == "__main__":
    write()
    print("written", file=sys.stderr)
