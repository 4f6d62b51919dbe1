"""``hwcost model`` with a buffer: several sizes, and activations that stay."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re

import pytest

from hwcost import InvalidValueError, Linear, Network, SystolicArray, network_cost
from hwcost.importers import read_network
from hwcost.importers.lists import write_layers
from hwcost.network.buffers import buffer_curve, enough_for
from hwcost.network.residency import plan_of
from hwcost.units import number

ON = ("--s1", "16", "--s2", "16")
TREE = ("model", "modules.py:Tree", "--input", "1,3,8,8", *ON)
pytestmark = pytest.mark.usefixtures("networks")


def tree():
    from hwcost.importers.torch import InputSpec

    return read_network("modules.py:Tree", inputs=[InputSpec.parse("1,3,8,8")])


def test_a_line_for_each_size_of_the_buffer(good):
    sizes = (2048.0, 16384.0, 1048576.0)
    points = buffer_curve(tree(), SystolicArray(16, 16), sizes)
    text = good(*TREE, "--buffer", "2k,16k,1M")
    lines = text.splitlines()
    assert [title.partition("[")[0] for title in lines[2].split()[:4]] == ["buffer", "cycles", "time", "DRAM"]
    assert [line.split()[0] for line in lines[3:6]] == ["2", "16", "1"]
    found = json.loads(good(*TREE, "--buffer", "2k,16k,1M", "--json"))
    assert found["schema"] == "hwcost.model-buffers/1"
    assert [row["buffer_bytes"] for row in found["rows"]] == list(sizes)
    assert [row["dram_bytes"] for row in found["rows"]] == [point.cost.dram_bytes for point in points]
    assert found["rows"][0]["again_bytes"] > found["rows"][2]["again_bytes"] == 0
    assert found["rows"][0]["again"] == list(points[0].again)
    assert found["enough_bytes"] == enough_for(tree(), SystolicArray(16, 16))
    rows = list(csv.DictReader(io.StringIO(good(*TREE, "--buffer", "2k,16k,1M", "--csv"))))
    assert [float(row["dram_bytes"]) for row in rows] == [row["dram_bytes"] for row in found["rows"]]


def test_with_enough_nothing_is_read_again():
    network, array = tree(), SystolicArray(16, 16)
    for name, size in enough_for(network, array).items():
        (point,) = buffer_curve({name: network[name]}, array, [size])
        assert point.again == ()


@pytest.mark.parametrize("reload_weight", [0.0, 0.02, 0.5])
def test_enough_is_that_of_the_tiling_that_is_taken(reload_weight):
    from hwcost import Conv2d, Linear

    layers = {
        "strided": Conv2d(64, 128, 1, height=56, width=56, stride=2), "linear": Linear(512, 512, batch=49),
        "batch": Conv2d(9, 31, 3, height=9, width=9, batch=3), "small": Linear(9, 9),
        "wide": Conv2d(30, 60, 3, height=28, width=28),
    }  # fmt: skip
    for fields in ({}, {"double_buffered": True, "dataflow": "is"}, {"dataflow": "os", "channel_multiple": 8}):
        array = SystolicArray(16, 16, reload_weight=reload_weight, buffer_bytes=1e6, **fields)
        for name, size in enough_for(layers, array).items():
            (point,) = buffer_curve({name: layers[name]}, array, [size])
            assert point.again == (), (name, fields)
            if not reload_weight:
                points = buffer_curve({name: layers[name]}, array, [size - 1, 1e6])
                assert len(points) == 1 or points[0].again == (name,), (name, fields)


def test_strides_alone_need_no_whole_image():
    from hwcost import Conv2d

    layer = Conv2d(128, 8, 1, height=28, width=38, stride=2)
    assert enough_for({"a": layer}, SystolicArray(8, 32, dataflow="is")) == {"a": 2304.0}


def test_sizes_for_which_no_tile_fits_are_left_out(hwcost, refused):
    code, out, err = hwcost(*TREE, "--buffer", "60,2k,64k", "--csv")
    assert code == 0
    assert err == "Note: left out: 60 B, too small for any tile of some layer\n"
    assert [row["buffer_bytes"] for row in csv.DictReader(io.StringIO(out))] == ["2048.0", "65536.0"]
    for sizes in ("60", "50,60"):
        assert "no tile fits for '" in refused(*TREE, "--buffer", sizes)


def test_the_smallest_tile_is_named():
    network, sizes = tree(), []
    for fields in ({}, {"double_buffered": True}, {"dataflow": "os"}):
        array = SystolicArray(16, 16, buffer_bytes=50.0, **fields)
        with pytest.raises(InvalidValueError, match="no tile fits for") as caught:
            network_cost(network, array)
        needed = caught.value.needed
        assert f"{number(needed)} bytes" in str(caught.value)
        network_cost(network, dataclasses.replace(array, buffer_bytes=needed))
        with pytest.raises(InvalidValueError, match="no tile fits for"):
            network_cost(network, dataclasses.replace(array, buffer_bytes=needed - 1))
        sizes.append(needed)
    assert sizes[1] > sizes[0]


def test_energy_follows_the_size_of_the_buffer(good):
    found = json.loads(good(*TREE, "--buffer", "8k,1M", "--energy", "45nm-textbook", "--json"))["rows"]
    alone = [json.loads(good(*TREE, "--buffer", size, "--energy", "45nm-textbook", "--json")) for size in ("8k", "1M")]
    assert [row["energy_joules"] for row in found] == [each["total"]["energy_joules"] for each in alone]
    assert "energy" in good(*TREE, "--buffer", "8k,1M", "--energy", "45nm-textbook").splitlines()[2]


def test_activations_that_stay_are_told(good):
    array = SystolicArray(16, 16, buffer_bytes=65536.0)
    plan = plan_of(tree(), array)
    found = json.loads(good(*TREE, "--buffer", "64k", "--keep-activations", "--json"))
    assert (
        found["total"]["dram_bytes"]
        == plan.bytes
        == network_cost(tree(), array, keep_activations=True).total.dram_bytes
    )
    assert [each["name"] for each in found["memory"]["kept"]] == [kept.name for kept in plan.kept]
    assert found["memory"]["saved"] == plan.saved > 0
    assert found["memory"]["fits"] is True
    text = good(*TREE, "--buffer", "64k", "--keep-activations")
    assert f"{100 * plan.saved:.1f} % fewer bytes of DRAM" in text
    assert "fits into the buffer" in text
    assert "fewer bytes" not in good(*TREE, "--buffer", "64k")
    assert "memory  " not in good(*TREE)
    curve = json.loads(good(*TREE, "--buffer", "4k,64k", "--keep-activations", "--json"))
    assert curve["rows"][1]["dram_bytes"] == plan.bytes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--keep-activations",), "--keep-activations cannot be used"),
        (("--buffer", "60"), "--buffer cannot be used: no tile fits"),
        (("--buffer", "1k,1024"), "sizes that differ"),
        (("--buffer", "1k,"), "a number of bytes"),
        (("--buffer", "1k,2k", "--sort", "waste"), "one size"),
        (("--buffer", "1k,2k", "--html", "a.html"), "one size"),
    ],
)
def test_what_cannot_be_done_is_refused(refused, options, words):
    assert words in refused(*TREE, *options)


def test_lists_do_not_tell_what_stays(refused):
    message = refused("model", "lenet.csv", *ON, "--buffer", "64k", "--keep-activations")
    assert "which layer reads what" in message


def test_the_curve_is_drawn(hwcost, tmp_path):
    assert hwcost(*TREE, "--buffer", "2k,16k", "--plot", tmp_path / "curve.png")[0] == 0
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_pixels_that_a_stride_leaves_out_hide_nothing():
    from hwcost import Conv2d

    array = SystolicArray(16, 16)
    (point,) = buffer_curve({"a": Conv2d(256, 512, 1, height=28, width=28, stride=2)}, array, [30_000.0])
    assert point.again == ("a",)
    padded = SystolicArray(16, 16, channel_multiple=16)
    (point,) = buffer_curve({"a": Conv2d(3, 64, 3, height=28, width=28)}, padded, [1e7])
    assert (point.again, point.again_bytes) == ((), 0)


def test_a_network_is_drawn_along_time(good, refused, tmp_path):
    from hwcost.plot import timeline_data
    from hwcost.reports import summarise

    target = tmp_path / "timeline.png"
    drawn = ("plot", "timeline", *TREE[1:], "-o", str(target))
    assert good(*drawn).strip() == str(target)
    assert target.read_bytes().startswith(b"\x89PNG")
    found = json.loads(good(*drawn, "--buffer", "16k", "--keep-activations", "--json"))
    array = SystolicArray(16, 16, buffer_bytes=16384.0)
    data = timeline_data(summarise(tree(), array, keep_activations=True))
    assert (found["plot"], found["data"]) == ("timeline", json.loads(json.dumps(data)))
    assert "--keep-activations" in refused(*drawn, "--keep-activations")


def test_the_memory_of_a_network_is_drawn(good, refused, tmp_path):
    from hwcost.plot import memory_data

    target = tmp_path / "memory.png"
    drawn = ("plot", "memory", *TREE[1:], "-o", str(target))
    assert good(*drawn).strip() == str(target)
    assert target.read_bytes().startswith(b"\x89PNG")
    found = json.loads(good(*drawn, "--buffer", "16k", "--json"))
    assert (found["plot"], found["file"]) == ("memory", str(target))
    data = memory_data(tree(), SystolicArray(16, 16, buffer_bytes=16384.0))
    assert found["data"] == json.loads(json.dumps(data))
    assert data["dram_bytes"] < data["dram_bytes_alone"]
    message = refused("plot", "memory", "lenet.csv", *ON)
    assert "MODEL" in message
    assert "which layer reads what" in message
    assert "--buffer cannot be used: no tile" in refused(*drawn, "--buffer", "60")


def test_names_that_are_numbers_are_names_of_layers(good, tmp_path):
    path = tmp_path / "net.csv"
    layers = {"0": Linear(512, 512, batch=196), "2.1": Linear(512, 300, batch=196), "fc": Linear(300, 10)}
    write_layers(str(path), Network.of_layers("net", layers))
    out = good("model", path, "--s1", "16", "--s2", "16", "--buffer", "16k,1m")
    assert "(layer 0, layer 2.1)" in out
    assert re.search(r"each operand once: layer \S+ with \S+ KiB, layer \S+ with \S+ KiB, fc with ", out)
    assert "again: those of operands that cross DRAM more than once" in out
