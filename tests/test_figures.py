"""The figures of a column: one number of decimals, points that line up, and nothing that is shown as zero but zero."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hwcost
from hwcost import Conv2d, Linear, Network, SystolicArray
from hwcost.cli import main
from hwcost.devices import device_names, read_device
from hwcost.machine.energies import with_energy
from hwcost.sweep import sweep
from hwcost.tables.figures import even, even_percent, even_unit, lined_up
from hwcost.units import BYTES, ENERGIES, TIMES

ROOT = Path(__file__).parent.parent
FIGURES = st.one_of(st.just(0.0), st.floats(1e-9, 1e12), st.integers(0, 10**12))
COLUMNS = st.lists(FIGURES, min_size=1, max_size=12)
SMALL_NEXT_TO_LARGE = [
    ([66.06, 75, 85.5], ["66.06", "75.00", "85.50"]),
    ([0.4165, 9.16, 0.05013], ["0.416", "9.160", "0.050"]),
    ([671.4, 8826], ["671", "8826"]),
    ([32.25, 17408], ["32", "17,408"]),
    ([0.25, 17408], ["0.25", "17,408"]),
    ([2.51, 4.819], ["2.510", "4.819"]),
    ([1, 2.5, 0], ["1.0", "2.5", "0"]),
    ([3, 400], ["3", "400"]),
    ([1, 84, 106.2, 8.6], ["1.0", "84.0", "106.2", "8.6"]),
    ([0.8, 2.7], ["0.8", "2.7"]),
    ([1e-8, 1], ["1.0e-08", "1"]),
]


def value_of(text):
    return float(text.replace(",", ""))


@pytest.mark.parametrize(("values", "shown"), SMALL_NEXT_TO_LARGE)
def test_the_decimals_are_those_of_the_column(values, shown):
    assert list(map(even(values), values)) == shown


@given(COLUMNS, st.sampled_from([3, 4]))
def test_only_zero_is_shown_as_zero_and_figures_have_two_digits(values, digits):
    text = even(values, digits)
    for value in values:
        found = value_of(text(value))
        assert (found == 0) == (value == 0)
        whole = 0.5 if max(values) >= 1000 or all(value == round(value) for value in values) else 0.0
        assert abs(found - value) <= max(0.051 * value, whole)


@given(COLUMNS)
def test_figures_have_the_same_number_of_decimals_or_two_digits_of_their_own(values):
    text = even(values)
    cells = {value: text(value) for value in values if value}
    decimals = {cell: len(cell.partition(".")[2]) for cell in cells.values()}
    common = decimals[cells[max(cells)]] if cells else 0
    for value, cell in cells.items():
        own = len(re.sub(r"e.*|[.]", "", cell).lstrip("0")) <= 2 and decimals[cell] > common
        assert decimals[cell] == common or (value < 10.0 ** (1 - common) and own)
    assert max(values) < 1000 or common == 0
    usual = [cell for cell in decimals if decimals[cell] == common]
    assert not common or any(cell[-1] != "0" for cell in usual)


@given(COLUMNS)
def test_points_line_up(values):
    text = even(values)
    cells = [text(value) for value in values]
    placed = lined_up(cells)
    assert [cell.rstrip() for cell in placed] == cells
    wide = max(map(len, placed))
    plain = [cell.rjust(wide) for cell in placed if "e" not in cell]
    assert len({re.search(r"\d(?=\.|[ ]*$)", cell).start() for cell in plain}) <= 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_shares_have_a_decimal_and_small_ones_are_no_zeros(shares):
    text = even_percent(shares)
    for share in shares:
        shown = text(share)
        assert float(shown.strip("<")) == pytest.approx(100 * share, abs=0.0501 if share > 5e-4 else 0.01)
        assert (shown == "0") == (share < 1e-11) or float(shown.strip("<"))


@pytest.mark.parametrize("units", [TIMES, BYTES, ENERGIES])
def test_the_unit_is_that_of_the_largest(units):
    for scale, unit in units:
        found, text = even_unit([2.5 * scale, 0.0], units)
        assert (found, text(2.5 * scale), text(0.0)) == (unit, "2.5", "0")
    assert even_unit([], units)[0] == units[-1][1]


# ---------------------------------------------------------------- what is printed


UNGROUPED = re.compile(r"(?<![\w.,/(>-])(?<!> )\d{5,}(?![\w.)/-]| ->)|\de\+\d")
"""Five digits or more without a comma, unless they are a size in a shape, or a part of a name or an address."""
BLOCKS = re.compile(r"^```\w*\n(\$ hwcost.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LIST = "name,kind,k,c,f,h,w\nfirst,conv2d,7,3,64,224,224\nsecond,conv2d,3,64,128,112,112\nlast,linear,,50176,10000,,\n"
POINT = ("estimate", "--k", "3", "--c", "64", "--h", "224", "--w", "224", "--s1", "8", "--s2", "8")
COMMANDS = [
    (*POINT, "--f", "640"),
    (*POINT, "--f", "64,6400"),
    (*POINT[:-4], "--f", "640", "--device", "gemmini-firesim", "--explain"),
    (*POINT[:-4], "--f", "640", "--device", "edge-tpu", "--explain"),
    ("model", "net.csv", "--device", "gemmini-firesim", "--extrapolate"),
    ("model", "net.csv", "--device", "tpu-v5e", "--buffer", "64k,1M"),
    ("compare", "net.csv", "--devices", "all"),
    ("sweep", "net.csv", "--rows", "8:256:8", "--cols", "8:256:8", "--dataflow", "ws,os"),
    ("advise", "net.csv", "--device", "tpu-v5e", "--budget", "0.9"),
]


def lines_without_commands(text):
    left_out = ("$", "hwcost", "nas-plugin", '"', "{", "#", "formula")
    return [line for line in text.splitlines() if not line.lstrip().startswith(left_out)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_outputs_on_the_pages_group_their_digits(page):
    for block in BLOCKS.findall(page.read_text(encoding="utf-8")):
        found = [line for line in lines_without_commands(block) if UNGROUPED.search(line)]
        assert found == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_group_their_digits(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.csv").write_text(LIST, encoding="utf-8")
    assert main(list(command)) == 0
    out = capsys.readouterr().out
    assert re.search(r"\d,\d{3}", out)
    assert [line for line in lines_without_commands(out) if UNGROUPED.search(line)] == []


@pytest.mark.parametrize("name", device_names())
def test_numbers_of_devices_are_in_peoples_units(name):
    file = read_device(name)
    shown = [entry.in_words for entries in (file.entries, file.facts) for entry in entries.values()]
    assert [text for text in shown if UNGROUPED.search(text)] == []


LAYERS = {
    "tiny": Linear(3, 2),
    "conv": Conv2d(3, 64, 3, height=56, width=56, padding=1),
    "wide": Conv2d(64, 300, 3, height=56, width=56, padding=1, groups=4),
    "fc": Linear(2048, 1000),
}
NETWORK = Network.of_layers("sizes", LAYERS)
MEMORY = with_energy(SystolicArray(16, 16, dram_bytes_per_s=3e9), "45nm-textbook", memory_bytes=65536.0)
DOCUMENTS = {
    "report": hwcost.report(NETWORK, MEMORY).document(),
    "network_cost": hwcost.network_cost(NETWORK, MEMORY).document(),
    "comparison": hwcost.compare(NETWORK, ["tpu-v5e", "gemmini", "gemmini-firesim", MEMORY]).document(),
    "sweep": sweep(NETWORK, rows=[2, 16, 200], cols=[2, 64], base=MEMORY).document(),
    "advice": hwcost.advise(NETWORK, MEMORY).document(),
    "advice on energy": hwcost.advise(NETWORK, MEMORY, objective="energy").document(),
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_tables_of_figures_line_up(document):
    columns = [column for column in document.columns if not column.to_the_left]
    assert columns
    for column in columns:
        cells = [cell for cell in column.texts(document.rows) if re.fullmatch(r"[~(<]*[\d,.]+\)? *", cell)]
        behind = {len(cell) - re.search(r"[~(<]*[\d,]+", cell).end() for cell in cells}
        assert len(behind) <= 1, column.title
        assert not any(re.fullmatch(r"0\.0+ *", cell) for cell in cells), column.title
