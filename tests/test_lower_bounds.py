"""Times that leave memory out, or filling and draining, are said to be lower bounds, wherever times are shown."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from nets import LENET

from hwcost import Network, SystolicArray, load_device
from hwcost.devices import device_names, read_device
from hwcost.machine.terms import Term, Transfer
from hwcost.model.words import lower_bound, uncharged
from hwcost.reports import summarise
from hwcost.reports.comparison import compare_networks
from hwcost.sweep import sweep

pytestmark = pytest.mark.usefixtures("networks")

MEMORY, FOLDS = "without a bandwidth memory takes no time", "ideal folds fill and drain for free"
SIZES = ("--s1", "16", "--s2", "16")
SWEPT = ("sweep", "lenet.csv", "--rows", "8,16", "--cols", "8")
LAYER = ("estimate", "--k", "3", "--c", "16", "--f", "16")
COMMANDS = {
    "estimate": (*LAYER, *SIZES), "a sweep of layers": (*LAYER[:-1], "8,16", *SIZES), "sweep": SWEPT,
    "model": ("model", "lenet.csv", *SIZES), "compare": ("compare", "lenet.csv", *SIZES),
    "model over buffers": ("model", "lenet.csv", *SIZES, "--buffer", "16k,64k"),
}  # fmt: skip
OPTIONS = {
    (): (MEMORY, FOLDS), ("--fold-timing", "serial"): (MEMORY,), ("--device", "nvdla-small"): (FOLDS,),
    ("--device", "tpu-v1"): (), ("--device", "gemmini-firesim"): (),
}  # fmt: skip


PAIRS = [
    pair for pair in itertools.product(COMMANDS, OPTIONS)
    if pair != ("model over buffers", ("--device", "gemmini-firesim"))  # with a model of its own of what is read again
]  # fmt: skip


@pytest.mark.parametrize(("command", "options"), PAIRS)
def test_a_command_says_it_in_one_line(hwcost, command, options):
    args = list(COMMANDS[command])
    if "--device" in options and "--s1" in args:
        del args[args.index("--s1") : args.index("--s1") + 4]
    if command == "model over buffers" and "--device" in options:
        args = [*args[:2], *args[-2:]]
    more = ("--extrapolate",) if args[0] in ("model", "compare") and "," not in args[-1] else ()
    code, out, _ = hwcost(*args, *options, *more)
    assert code == 0
    found = [line for line in out.splitlines() if line.startswith("lower bound")]
    assert found == ([f"lower bound  {'; '.join(OPTIONS[options])}"] if OPTIONS[options] else [])


@pytest.mark.parametrize("command", COMMANDS)
def test_documents_name_what_is_left_out(good, command):
    document = json.loads(good(*COMMANDS[command], "--json"))
    places = (document, document.get("settings", {}), *document.get("rows", [])[:1])
    (found,) = [place["uncharged"] for place in places if "uncharged" in place]
    assert found == ["memory", "fill and drain"]


def test_what_differs_between_machines_is_said_of_each(hwcost):
    _, out, _ = hwcost("compare", "lenet.csv", "--devices", "tpu-v1,nvdla-small,nvdla-large,eyeriss")
    found = [line for line in out.splitlines() if line.startswith("lower bound")]
    assert found == [
        f"lower bound  nvdla-small, nvdla-large: {FOLDS}", f"lower bound  eyeriss: {MEMORY}; {FOLDS}",
    ]  # fmt: skip


BOUNDED = {"dram_bytes_per_s": 16e9, "fold_timing": "serial"}
MACHINES = {
    "bare": ({}, "memory, fill and drain"),
    "a bandwidth": ({"dram_bytes_per_s": 16e9}, "fill and drain"),
    "one of an operand": ({"weight_bytes_per_s": 16e9}, "fill and drain"),
    "one to the host": ({"host_bytes_per_s": 1e9}, "fill and drain"),
    "a transfer": ({"terms": (Transfer("bus", lambda work: 1.0, lambda array: 1e9, "a bus"),)}, "fill and drain"),
    "a term": ({"terms": (Term("own", lambda work: 1.0, "one's own"),), "dram_bytes_per_s": 16e9}, ""),
    "overheads": ({"cycles_per_layer": 9.0}, "memory"),
    "overlap, which is of memory": ({"dram_bytes_per_s": 16e9, "pipeline_cycles": 9.0}, "fill and drain"),
    "all": (BOUNDED, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", MACHINES)
def test_what_a_machine_leaves_out(name):
    fields, names = MACHINES[name]
    assert ", ".join(uncharged(SystolicArray(8, 8, **fields))) == names


def test_shipped_devices():
    bare = [name for name in device_names() if read_device(name).fit is None and uncharged(load_device(name))]
    assert bare == ["eyeriss", "nvdla-large", "nvdla-small"]


def test_values_say_it_as_text_and_in_notebooks():
    network, array = Network.of_layers("lenet", LENET), SystolicArray(8, 8)
    for value in (summarise(network, array), compare_networks(network, array), sweep(network, rows=[8, 16], cols=8)):
        assert f"lower bound  {MEMORY}; {FOLDS}" in str(value).splitlines()
        assert f"{MEMORY}; {FOLDS}" in value._repr_html_()
    for value in (summarise(network, SystolicArray(8, 8, **BOUNDED)), summarise(network, "tpu-v1")):
        assert "lower bound" not in f"{value}{value._repr_html_()}"


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"dram_bytes_per_s": [1e9, 2e9]}, ("fill and drain",)),
        ({"dram_bytes_per_s": [1e9, math.inf]}, ("memory", "fill and drain")),
        ({"dram_bytes_per_s": [1e9], "fold_timing": ["serial", "double-buffered"]}, ()),
        ({"dram_bytes_per_s": [1e9, 2e9], "fold_timing": ["serial", "ideal"]}, ("fill and drain",)),
        ({"clock_hz": [1e9, 2e9]}, ("memory", "fill and drain")),
    ],
)
def test_of_a_sweep_any_point_counts(fields, names):
    found = sweep(Network.of_layers("lenet", LENET), rows=[8, 16], cols=8, fields=fields)
    assert found.uncharged == tuple(found.settings()["uncharged"]) == names
    assert ("lower bound" in str(found)) == bool(names)


@pytest.mark.parametrize("options", [(), ("--buffer", "16k:64k")])
def test_the_picture_of_a_sweep_says_it_in_its_title(hwcost, tmp_path, options):
    pytest.importorskip("matplotlib")
    for more, is_said in (((), True), (("--fold-timing", "serial", "--bandwidth", "8e9"), False)):
        path = tmp_path / f"{is_said}.svg"
        assert hwcost(*SWEPT, *options, *more, "--plot", path)[0] == 0
        assert (f"lower bound: {lower_bound(['memory', 'fill and drain'])}" in path.read_text()) == is_said
