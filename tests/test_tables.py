"""Everything prints, and is data: reports, networks, sweeps and comparisons as text, HTML and data frames."""

import io
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import hwcost
from hwcost import Conv2d, Linear, Network, SystolicArray, network_cost
from hwcost.devices import device_names, read_device
from hwcost.errors import InvalidValueError
from hwcost.importers.lists import write_layers
from hwcost.network.operations import MemoryOnly
from hwcost.sweep import sweep
from hwcost.tables import LONGEST, Column, Document, Documents

LAYERS = {
    "body.<b>conv": Conv2d(3, 8, 3, height=8, width=8, padding=1),
    "body.relu": MemoryOnly("relu", 512, 512),
    "head": Linear(512, 10),
}
ARRAY = SystolicArray(8, 8, dram_bytes_per_s=1e9)
NETWORK = Network.of_layers("small", LAYERS)


def make():
    yield "network", NETWORK
    yield "network_cost", network_cost(NETWORK, ARRAY)
    yield "report", hwcost.report(NETWORK, ARRAY)
    yield "report of a device", hwcost.report(NETWORK, "gemmini")
    yield "comparison", hwcost.compare(NETWORK, [ARRAY, "gemmini", "tpu-v5e"])
    yield "costs", hwcost.tabulate(NETWORK, "gemmini", step=4)
    yield "sweep", sweep(NETWORK, rows=[4, 8], cols=[4, 8], dataflows=["ws", "os"], base=ARRAY)


VALUES = dict(make())
each_value = pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)


class Cells(HTMLParser):
    """The cells of the rows of all tables, and how many tags are open at the end."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.depth, self.tags = [], 0, set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.depth += 1
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.depth -= 1

    def handle_data(self, data):
        if self.rows and self.rows[-1] and self.depth:
            self.rows[-1][-1] += data


@each_value
def test_it_prints_as_a_table_and_its_repr_is_one_line(value):
    text = str(value)
    assert text.count("\n") > 3
    assert text == str(value.document())
    assert not re.search(r"\d\.00\b|\de[-+]\d", text)
    line = repr(value)
    assert "\n" not in line
    assert len(line) < 300
    assert line.startswith(f"<{type(value).__name__}: ")


@each_value
def test_its_html_is_the_same_table_without_script(value):
    document = value.document()
    found = Cells(value._repr_html_())
    assert found.depth == 0
    assert "script" not in found.tags
    assert "b" in found.tags
    assert "<b>conv" not in value._repr_html_()
    assert [title.strip() for title in found.rows[0]] == [column.title for column in document.columns]
    assert len(found.rows) == 1 + len(document.rows)
    first = [column.text(document.rows[0]).strip() for column in document.columns]
    assert [cell.replace("\xa0", " ").strip() for cell in found.rows[1]] == first


@each_value
def test_it_is_flat_data(value):
    pandas = pytest.importorskip("pandas")
    frame, records = value.to_dataframe(), value.records()
    assert len(frame) == len(records) == len(value)
    assert list(frame.columns) == list(records[0])
    scalars = (str, int, float, bool, type(None), np.generic)
    for name in frame.columns:
        assert all(isinstance(each[name], scalars) for each in records), name
    pandas.testing.assert_frame_equal(frame, pandas.DataFrame(records), check_dtype=False)


@each_value
def test_rich_prints_the_same_lines(value):
    console = pytest.importorskip("rich.console")
    wide = console.Console(width=300, record=True, file=io.StringIO())
    wide.print(value)
    first = str(value).splitlines()[0]
    assert wide.export_text().splitlines()[0].strip() == first
    narrow = console.Console(width=60, file=io.StringIO())
    narrow.print(value)


def test_the_report_is_that_of_the_command(tmp_path, capsys):
    from hwcost.cli import main

    path = tmp_path / "small.csv"
    path.write_text("name,kind,k,c,f,h,w\nconv,conv2d,3,3,8,8,8\nfc,linear,,288,10,,\n")
    assert main(["model", str(path), "--device", "gemmini"]) == 0
    assert capsys.readouterr().out == f"{hwcost.report(path, 'gemmini')}\n"
    assert main(["compare", str(path), "--devices", "gemmini,tpu-v1"]) == 0
    assert capsys.readouterr().out == f"{hwcost.compare(str(path), ['gemmini', 'tpu-v1'])}\n"


def test_a_report_is_a_collection_of_rows():
    report = VALUES["report"]
    assert len(report) == len(list(report)) == 3
    assert report["head"].cost.macs == 5120
    with pytest.raises(InvalidValueError, match="did you mean 'head'"):
        report["hea"]
    cost = VALUES["network_cost"]
    assert [row.name for row in cost] == ["body.<b>conv", "body.relu", "head"]
    assert cost["head"].macs == 5120
    assert cost.as_dict()["total"]["cycles"] == cost.total.cycles
    pairs = VALUES["comparison"]
    assert pairs[0].ratio == 1
    assert pairs[1].summary.device == "gemmini"
    assert [row["ratio"] for row in pairs.as_dict()["rows"]] == [pair.ratio for pair in pairs]


def test_costs_that_are_arrays_print_one_line():
    report = network_cost(NETWORK, SystolicArray(np.arange(2, 9), 8))
    assert str(report) == "3 operations: costs are ndarrays of shape (7,)"
    assert "whose sizes are arrays" in repr(Network.of_layers("net", {"fc": Linear(np.array([3, 4]), 3)}))


def test_columns_are_left_out_by_rank_until_lines_fit():
    columns = [
        Column("name", str, to_the_left=True),
        Column("wide", lambda row: "x" * 30, rank=2),
        Column("less wide", lambda row: "y" * 20, rank=1),
    ]
    document = Document("title", columns, ["a"])
    heads = [list(document.lines(width=width))[2].split() for width in (80, 40, 20)]
    assert heads == [["name", "wide", "less", "wide"], ["name", "less", "wide"], ["name"]]


@pytest.mark.parametrize(
    ("network", "options", "words"),
    [
        ("no.csv", {}, "no.csv"),
        ("net.py:Net", {}, "import the module and pass it"),
        ("net.py", {"input_size": (1, 3)}, "import the module and pass it"),
        ("net.pt", {}, "a PyTorch module, or a file that ends in"),
        ("net", {"input_size": (1, 3)}, "a PyTorch module, or a file that ends in"),
        ([Linear(3, 4)], {"input_size": (1, 3)}, "the network is no module"),
        (Linear, {"input_size": (1, 3)}, "Linear is a class; call it: Linear()"),
        (4, {"input_size": (1, 3)}, "a Network, a mapping"),
    ],
)
def test_a_report_of_what_is_no_network_is_refused(network, options, words):
    with pytest.raises(InvalidValueError, match=re.escape(words)):
        hwcost.report(network, "gemmini", **options)


def test_a_module_with_its_inputs_is_a_network():
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3))
    report = hwcost.report(net, "gemmini", input_size=(1, 3, 16, 16))
    assert report.cost == network_cost(hwcost.from_torch(net, (1, 3, 16, 16)), "gemmini").total
    with pytest.raises(InvalidValueError, match="from_torch"):
        network_cost(net, "gemmini")
    assert len(hwcost.compare([net, net], ["gemmini"], example_inputs=[torch.zeros(1, 3, 9, 9)])) == 2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: hwcost.report(Linear, "gemmini"), "Linear is a class; call it: Linear()"),
        (lambda: hwcost.report(3, "gemmini"), "a Network, a mapping"),
        (lambda: sweep(3, rows=[8], cols=[8]), "a Network, a mapping"),
        (lambda: network_cost("net", ARRAY), "a Network, a mapping"),
    ],
)
def test_what_is_no_network_says_what_to_do(call, words):
    with pytest.raises(InvalidValueError, match=re.escape(words)):
        call()


def test_functions_of_a_machine_take_the_name_of_a_device():
    from hwcost.machine.energies import with_energy
    from hwcost.network.buffers import buffer_curve
    from hwcost.plot import memory_data

    chain = Network.of_layers("two", {"a": Linear(64, 32), "b": Linear(32, 8)}, is_chain=True)
    assert buffer_curve(chain, "gemmini", [65536.0]) == buffer_curve(chain, hwcost.load_device("gemmini"), [65536.0])
    assert memory_data(chain, "gemmini")["peak"] == 96.0
    with pytest.raises(InvalidValueError, match=r"load_device\(name\)"):
        with_energy("gemmini", "45nm-textbook")


def test_rooms_are_there_without_an_import():
    assert hwcost.plot.__name__ == "hwcost.plot"
    assert hwcost.sweep.sweep is sweep
    assert hwcost.report(NETWORK, ARRAY).total == network_cost(NETWORK, ARRAY).total


def test_a_module_in_training_mode_is_read_as_it_is_run():
    torch = pytest.importorskip("torch")
    layers = [torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Dropout(), torch.nn.Conv2d(8, 8, 3)]
    net = torch.nn.Sequential(*layers)
    net[1].eval()  # some parts may be, and stay
    training = hwcost.report(net, "gemmini", input_size=(1, 3, 16, 16))
    assert [module.training for module in net] == [True, False, True, True]
    evaluated = hwcost.report(net.eval(), "gemmini", input_size=(1, 3, 16, 16))
    assert training == evaluated
    assert "2" not in [row.name for row in training if row.cost.cycles]


LONG = f"encoder.{'a' * 300}.out"


def test_cells_are_cut_on_a_terminal_alone():
    document = Document("names", [Column("name", str, to_the_left=True)], [LONG, "short"])
    assert LONG in str(document).splitlines()
    for width, most in ((300, LONGEST), (80, 80)):
        (cut,) = [line for line in document.lines(width=width) if line.startswith("enco")]
        assert "..." in cut
        assert len(cut) == most
    assert LONG in document.html()


@pytest.mark.parametrize("command", ["model", "compare", "advise"])
def test_in_a_pipe_tables_have_names_in_full(hwcost, tmp_path, command):
    path = tmp_path / "net.csv"
    write_layers(str(path), Network.of_layers(LONG, {LONG: Linear(100, 40), "b": Linear(40, 10)}))
    more = ("--name", LONG) if command == "compare" else ()
    code, out, _ = hwcost(command, path, "--s1", "8", "--s2", "8", *more)
    assert code == 0
    assert LONG in out.partition("\n\n")[2].partition("\n\n")[0]


def test_in_a_pipe_devices_have_their_words_in_full(hwcost):
    _, out, _ = hwcost("devices")
    lines = out.splitlines()[1:]
    assert len(lines) == len(device_names())
    for name, line in zip(device_names(), lines, strict=True):
        assert line.startswith(f"{name} ")
        assert read_device(name).summary in line


WIDE = [
    Column("name", str, to_the_left=True),
    Column("time[ms]", lambda row: "1" * 10),
    Column("util[%]", lambda row: "2" * 10, rank=1),
    Column("folds", lambda row: "3" * 10, rank=2),
]
TERMS = {"time": "of the layer", "util, folds": "what else there is", "-": "not known"}


@pytest.mark.parametrize(
    ("width", "missing", "terms"),
    [
        (None, "", "time: of the layer; util, folds: what else there is; -: not known"),
        (50, "", "time: of the layer; util, folds: what else there is; -: not known"),
        (40, "folds", "time: of the layer; util: what else there is; -: not known"),
        (20, "util, folds", "time: of the layer; -: not known"),
    ],
)
def test_columns_that_do_not_fit_are_named_and_not_explained(width, missing, terms):
    document = Document("title", WIDE, ["layer"], terms=TERMS)
    text = " ".join(" ".join(document.lines(width=width, elsewhere="--csv")).split())
    assert text.endswith(terms)
    assert (f"not shown {missing}; a wider terminal or --csv shows them" in text) is bool(missing)
    assert ("not shown" in text) is bool(missing)


def test_what_one_of_several_tables_shows_is_explained():
    narrow, whole = Document("narrow", WIDE, ["a" * 30], terms=TERMS), Document("more", WIDE[3:], [1])
    lines = list(Documents([narrow, whole]).lines(width=40))
    assert any(line.startswith("not shown    util, folds;") for line in lines)
    assert " ".join(lines[-2:]).startswith("time: of the layer; folds: what else there is; -: not known")
    assert "not shown" not in str(Documents([narrow, whole]))


def test_short_texts_and_cut_words_keep_lines_within_the_width():
    column = Column("array", lambda row: "gemmini, " * 7, to_the_left=True, short=lambda row: "gemmini")
    lines = list(Document("title", [column, WIDE[1]], ["a"], below={"note": "word " * 40}).lines(width=40))
    assert lines[3].split() == ["gemmini", "1" * 10]
    assert max(map(len, lines)) <= 40
    assert all(line.startswith(" " * 13) for line in lines[6:])
    (cut,) = list(Document("title", [WIDE[0], WIDE[1]], ["encoder.layers.11.dense"]).lines(width=26))[3:]
    assert cut == "en....11.dense  1111111111"


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize(
    "command",
    [
        "model net.csv --device gemmini", "compare net.csv --devices gemmini,tpu-v1,edge-tpu",
        "advise net.csv --device gemmini", "sweep net.csv --rows 8,16 --cols 8,16 --bandwidth 1e9 --buffer 64k,128k",
        "model net.csv --s1 8 --s2 8 --buffer 16k,64k", "estimate --k 3 --c 8 --f 8,16 --s1 8 --s2 8",
    ],
)  # fmt: skip
def test_tables_are_as_wide_as_the_terminal(hwcost, tmp_path, monkeypatch, command, width):
    monkeypatch.chdir(tmp_path)
    write_layers("net.csv", NETWORK)
    _, piped, _ = hwcost(*command.split())
    assert "not shown" not in piped
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", str(width))
    _, out, _ = hwcost(*command.split())
    assert max(map(len, out.splitlines())) <= width
    heads = {word.partition("[")[0] for line in piped.splitlines() for word in line.split() if "[" in word}
    gone = " ".join(" ".join(out.split()).partition("not shown ")[2].partition(";")[0].split(", "))
    for head in heads - set(gone.split()):
        assert head in out
    assert " ".join(piped.split()).count(": ") >= " ".join(out.split()).count(": ")
