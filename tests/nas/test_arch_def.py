from __future__ import annotations

import math

import pytest

from hwcost import HwcostError, SystolicArray, load_device, network_cost
from nas_plugin import load_arch_def
from nas_plugin.errors import ArchDefError
from nas_plugin.space.reader import parse_arch_def

from .conftest import SMALL


def test_shipped_lenet_is_lenet_5() -> None:
    arch = load_arch_def()
    report = network_cost(arch.space.at(arch.reference), SystolicArray(16, 16))
    assert report.total.macs == 416_520
    assert {name: cost.macs for name, cost in report.layers.items()} == {
        "conv1": 28 * 28 * 25 * 6,
        "conv2": 10 * 10 * 150 * 16,
        "fc1": 400 * 120,
        "fc2": 120 * 84,
        "classifier": 84 * 10,
    }
    assert report.total.cycles == 2 * 784 + 10 * 100 + 25 * 8 + 8 * 6 + 6


def test_steps_of_the_shipped_space_are_finer_than_its_array() -> None:
    arch = load_arch_def()
    for block in arch.blocks:
        steps = {b - a for a, b in zip(block.widths, block.widths[1:], strict=False)}
        assert max(steps) < arch.array.cols
        assert block.widths[0] < block.reference["width"] < block.widths[-1]


def test_a_smaller_kernel_keeps_the_size_of_the_map() -> None:
    arch = load_arch_def()
    for kernel in (3, 5):
        report = network_cost(arch.space.at(arch.reference | {"conv2.kernel": kernel}), SystolicArray(16, 16))
        assert report.layers["conv2"].macs == 100 * kernel**2 * 6 * 16
        assert report.layers["fc1"].macs == 400 * 120


def test_networks_without_conv_or_without_linear_blocks() -> None:
    head, conv, linear = SMALL.split("[[block]]")
    only_linear = parse_arch_def(head + "[[block]]" + linear, "x")
    assert network_cost(only_linear.space.at({"fc1.width": 7}), SystolicArray(4, 4)).total.macs == 144 * 7 + 7 * 3
    only_conv = parse_arch_def(head + "[[block]]" + conv, "x")
    macs = network_cost(only_conv.space.at({"conv1.width": 2, "conv1.kernel": 3}), SystolicArray(4, 4)).total.macs
    assert macs == 64 * 9 * 2 + 2 * 16 * 3


def test_a_device_in_the_file() -> None:
    text = SMALL.replace("rows = 4, cols = 4", 'device = "gemmini"')
    assert parse_arch_def(text, "x").array == load_device("gemmini")
    changed = parse_arch_def(SMALL.replace("rows = 4", 'device = "gemmini", rows = 4, clock_hz = 2e8'), "x").array
    assert (changed.rows, changed.cols, changed.clock_hz, changed.lowering) == (4, 4, 2e8, "kernel-position")


BAD = [
    ("rows = 4", 'rows = 4, device = "gemini"', "array.device is 'gemini' (did you mean 'gemmini'?); allowed: "),
    ("rows = 4", "rows = 4, device = 3", "array.device is 3"),
    ('schema = "nas_plugin.arch_def/1"', 'schema = "other/1"', "schema is 'other/1'"),
    ('name = "small"', "", "name is missing"),
    ('name = "small"', "name = 3", "name is 3"),
    ("rows = 4", "rows = 0", "array.rows is 0; allowed: an integer of at least 1"),
    ("rows = 4", "rows = true", "array.rows is True"),
    ("rows = 4", 'rows = 4, dataflow = "xs"', "array.dataflow is 'xs'; allowed: one of: ws, os, is"),
    ("rows = 4", "rows = 4, clock_hz = -1", "array.clock_hz is -1"),
    ("rows = 4", 'rows = 4, fold_timing = "fast"', "array.fold_timing is 'fast'; allowed: one of: ideal"),
    ("rows = 4", "rows = 4, colls = 3", "array.colls cannot be used: the key is unknown; allowed here: clock_hz, cols"),
    ("classes = 3", "classes = 1", "input.classes is 1"),
    ("channels = 1", "channels = 3", "input.channels is 3"),
    ("height = 12", "height = 3", "block.kernels"),
    ("height = 12", "height = 2.5", "input.height is 2.5"),
    ("widths = [2, 3, 5, 8]", "widths = [2, 2]", "block[0].widths is [2, 2]"),
    ("widths = [2, 3, 5, 8]", "widths = []", "block[0].widths is []"),
    ("widths = [2, 3, 5, 8]", "widths = [0, 2]", "block[0].widths is [0, 2]"),
    (
        "widths = [2, 3, 5, 8]",
        "widths = { first = 8, last = 2 }",
        "block[0].widths.last is 2; allowed: at least first (8)",
    ),
    (
        "widths = [2, 3, 5, 8]",
        "widths = { first = 2, last = 8, by = 2 }",
        "block[0].widths.by cannot be used: the key is unknown; allowed here: first, last, step",
    ),
    ("kernels = [3, 5]", "kernels = [3, 4]", "block[0].kernels is [3, 4]; allowed: odd sizes"),
    ('kind = "linear"', "kind = [1]\nhidden = 3", "block[1].kind is [1]"),
    ("channels = 1", "channels = true", "input.channels is True"),
    ("kernels = [3, 5]", "", "block[0].kernels is missing"),
    ("padding = 0", "padding = 3", "block[0].padding is 3"),
    ("padding = 0", 'padding = "full"', "block[0].padding is 'full'"),
    ("pool = 2", "pool = 20", "block.pool is 20; allowed: at most 8"),
    ("kernel = 5 }", "kernel = 7 }", "block[0].reference.kernel is 7; allowed: one of the block's kernels: [3, 5]"),
    ('kind = "linear"', 'kind = "lstm"', 'block[1].kind is \'lstm\'; allowed: "conv" or "linear"'),
    ('kind = "linear"', 'kind = "linear"\nkernels = [3]', "block[1].kernels cannot be used: the key is unknown"),
    ('name = "fc1"', 'name = "conv1"', "block.name is 'conv1'"),
    ('name = "fc1"', 'name = "classifier"', "block.name is 'classifier'"),
    ('name = "fc1"', 'name = "fc.1"', "block.name is 'fc.1'"),
    ("[[block]]", "[block]", ""),
    ("rows = 4", "rows = ", "not a TOML document"),
]


@pytest.mark.parametrize(("old", "new", "message"), BAD)
def test_bad_files_name_file_key_and_what_is_allowed(old: str, new: str, message: str) -> None:
    assert old in SMALL
    with pytest.raises(ArchDefError) as caught:
        parse_arch_def(SMALL.replace(old, new), "my.toml")
    assert str(caught.value).startswith("my.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_linear_blocks_before_conv_blocks_are_refused() -> None:
    head, conv, linear = SMALL.split("[[block]]")
    with pytest.raises(ArchDefError, match="conv blocks first"):
        parse_arch_def("[[block]]".join((head, linear, conv)), "my.toml")


def test_missing_file() -> None:
    with pytest.raises(HwcostError, match=r"nowhere\.toml cannot be read"):
        load_arch_def("nowhere.toml")


def test_flat_size_follows_padding_and_pooling() -> None:
    lenet = load_arch_def()
    assert lenet.space.at(lenet.reference)["fc1"].in_features == 25 * 16
    arch = parse_arch_def(SMALL.replace("padding = 0", 'padding = "same"').replace("pool = 2", "pool = 5"), "x")
    assert arch.space.at(arch.reference)["fc1"].in_features == math.floor(12 / 5) ** 2 * 5


@pytest.mark.parametrize(
    "content",
    [
        "widths = { first = 16, last = 1000000000000001, step = 8 }",
        "widths = { first = 1, last = 60000 }",
        "widths = [2, 1000000000]",
    ],
)
def test_what_would_not_fit_into_memory_is_refused_before_it_is_made(small_text: str, content: str) -> None:
    with pytest.raises(ArchDefError, match="at most"):
        parse_arch_def(small_text.replace("widths = [2, 3, 5, 8]", content), "space.toml")


@pytest.mark.parametrize("text", ["x = " + "9" * 5000, "x = " + "[" * 5000, "x = \0"])
def test_what_is_not_toml_is_refused(text: str) -> None:
    with pytest.raises(ArchDefError, match=r"space\.toml: .* not a TOML document"):
        parse_arch_def(text, "space.toml")
