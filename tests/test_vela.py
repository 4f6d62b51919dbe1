"""A twin of Arm's compiler: files that it compiles, prices that repeat, a device that finds its steps."""

from __future__ import annotations

import json

import pytest
from refusals import refused

from hwcost import Conv2d, layer_cost, load_device, network_cost
from hwcost.calibration.vela import (
    ACCELERATORS,
    FREE,
    NETWORKS,
    Step,
    between,
    between_cycles,
    design,
    fitted_network,
    images,
    layers_of,
    priced,
    vela_cycles,
    vela_measurements,
)
from hwcost.cli import main
from hwcost.devices import read_device

NAMES = sorted(ACCELERATORS)


@pytest.mark.parametrize("name", NAMES)
def test_an_accelerator_ships_with_its_settings_and_range(name):
    file = read_device(name)
    assert file.fit is not None
    assert {"m", "n", "k", "macs"} == set(file.fit.ranges)
    assert file.fit.errors["count"] == 64
    assert "Vela" in file.fit.data
    assert "memory mode" in file.fit.source
    before = ACCELERATORS[name].device.array
    assert all(getattr(file.array, field) == value for field, value in before.as_dict().items() if field not in FREE)


@pytest.mark.parametrize("name", NAMES)
def test_a_twin_of_networks_ships_for_each(name):
    row = NETWORKS[name]
    file = read_device(row.name)
    assert file.fit is not None
    assert "within networks" in file.fit.data
    fitted = {*FREE, "host_bytes_per_s", "vector_bytes_per_s"}
    assert fitted & {*row.fields} <= {*file.fit.identified, *file.fit.not_identified}
    before = row.device.array.as_dict()
    assert all(getattr(file.array, field) == value for field, value in before.items() if field not in fitted)
    assert file.array.weights_ahead
    assert not load_device(name).weights_ahead


def test_maps_that_stay_cost_less_than_those_that_do_not():
    alone, network = (load_device(name) for name in ("ethos-u65-256", "ethos-u65-256-network"))
    layer = Conv2d(32, 32, 3, 24, 24, padding="same", groups=32)
    assert layer_cost(layer, network).cycles < layer_cost(layer, alone).cycles / 2  # Vela: 8,212 and 34,269
    image = {"first": Conv2d(3, 8, 3, 96, 96, stride=2, padding="same")}
    found = network_cost(image, network)
    assert found.run is not None
    assert found.run.ends.cycles > found.layers["first"].cycles  # Vela: bound by the image in DRAM


def test_the_layers_of_networks():
    assert len(between()) == len(set(between())) == 55
    assert all(layer.in_channels % 8 == layer.out_channels % 8 == 0 for layer in between())
    for steps in images():
        layers = layers_of(steps)
        assert len(layers) == len(steps)
        for step, layer in zip(steps, layers, strict=True):
            if step.layer is None:
                height, width = steps[step.reads[0]].layer.out_size
                assert layer.writes == height * width * steps[step.reads[0]].layer.out_channels == layer.reads / 2


def test_the_steps_of_eight_filters_are_found():
    array = load_device("ethos-u55-128")
    cycles = {n: layer_cost(Conv2d(32, n, 3, 28, 28, padding="same"), array).cycles for n in (57, 64, 65, 72)}
    assert cycles[57] == pytest.approx(cycles[64], rel=0.01)
    assert cycles[65] == pytest.approx(cycles[72], rel=0.01)
    assert cycles[72] - cycles[64] == pytest.approx(14_112, rel=0.06)


@pytest.mark.parametrize("name", ["ethos-u55-128", "ethos-u55-256", "ethos-u65-256"])
def test_more_filters_are_faster_where_they_are_on_vela(name):
    few, many = (layer_cost(Conv2d(32, n, 3, 28, 28, padding="same"), load_device(name)).cycles for n in (15, 16))
    assert many < few


def test_the_design_repeats_and_covers_what_it_says():
    layers = design()
    assert layers == design()
    assert len(layers) == 64 == len(set(layers))
    assert {layer.stride[0] for layer in layers} == {1, 2}
    assert any(layer.is_depthwise for layer in layers)


@pytest.mark.parametrize(
    "layer",
    [
        Conv2d(8, 8, 3, 9, 9), Conv2d(8, 8, 3, 9, 9, padding="same", batch=2),
        Conv2d(8, 8, 3, 9, 9, padding="same", groups=2),
    ],
    ids=["padding", "batch", "groups"],
)  # fmt: skip
def test_layers_that_the_writer_does_not_know_are_refused(layer):
    with refused("layers"):
        vela_cycles([layer], "ethos-u55-128")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "vela"], ["--accelerator", "ethos-u55-128"]),
        (["--from", "vela", "--accelerator", "ethos-u55"], ["--accelerator", "ethos-u55-128"]),
        (["--from", "tvm", "--accelerator", "x"], ["--from", "vela"]),
        (["a.csv", "--from", "vela", "--accelerator", "ethos-u55-128"], ["FILE.csv", "--from vela"]),
        (["--from", "vela", "--accelerator", "ethos-u55-128", "--device", "gemmini"], ["--device", "--from vela"]),
        (["a.csv", "--device", "gemmini", "--accelerator", "ethos-u55-128"], ["--accelerator", "--from vela"]),
        ([], ["FILE.csv", "--from vela"]),
    ],
    ids=" ".join,
)
def test_bad_options_are_refused(arguments, words, capsys):
    assert main(["calibrate", *arguments]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words)


# ---------------------------------------------------------------- with Vela


def test_prices_repeat_and_files_are_read_by_the_importer(tmp_path):
    pytest.importorskip("ethosu.vela")
    layers = [Conv2d(16, 24, 3, 10, 10, padding="same"), Conv2d(16, 16, 3, 10, 10, stride=2, padding="same", groups=16)]
    first, again = (vela_cycles(layers, "ethos-u55-128") for _ in range(2))
    assert first == again
    assert min(first) > 0
    chain = [Step.of(layers[0]), Step.of(Conv2d(24, 24, 1, 10, 10, padding="same"), 0), Step("add", None, (0, 1))]
    found = priced([chain], "ethos-u55-128")
    assert found.clock_hz == 500e6
    assert found.settings["system configuration"] == "Ethos_U55_High_End_Embedded"
    pytest.importorskip("tflite")
    from hwcost import from_tflite
    from hwcost.calibration.vela.pricing import _schema
    from hwcost.calibration.vela.writing import tflite_of

    (tmp_path / "net.tflite").write_bytes(tflite_of(chain, _schema()))
    network = from_tflite(tmp_path / "net.tflite")
    assert sum(gemm.macs for layer in network.values() for gemm in layer.gemms()) == 100 * 24 * (9 * 16 + 24)


def test_a_small_calibration(monkeypatch, tmp_path, capsys):
    pytest.importorskip("ethosu.vela")
    pytest.importorskip("scipy")
    pytest.importorskip("tomli_w")
    import hwcost.calibration.vela as package

    monkeypatch.setattr(package, "design", lambda: design(12))
    given = ["--from", "vela", "--accelerator", "ethos-u55-256", "--shuffles", "1", "--json", "--force"]
    assert main(["calibrate", *given, "-o", str(tmp_path / "mine.toml")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["scores"]["count"] == 12
    assert document["scores_seen"]["mape"] < 0.15
    assert read_device(tmp_path / "mine.toml").array.cols == 8


def test_measurements_are_those_of_the_clock():
    pytest.importorskip("ethosu.vela")
    (one,), found = vela_measurements([Conv2d(8, 8, 1, 8, 8, padding="same")], "ethos-u55-128")
    assert one.seconds == found.cycles[0] / 500e6
    assert one.name == "8 to 8, 1x1/1 at 8x8"


def test_layers_within_a_network_are_those_of_its_total():
    pytest.importorskip("ethosu.vela")
    layers = [Conv2d(32, 32, 3, 24, 24, padding="same", groups=32), Conv2d(16, 24, 3, 10, 10, padding="same")]
    cycles, found = between_cycles(layers, "ethos-u65-256")
    assert cycles == [each[1] for each in found.layers]
    assert [sum(each) for each in found.layers] == list(found.cycles)
    assert cycles[0] < vela_cycles(layers, "ethos-u65-256")[0] / 2
    with refused("layers"):
        between_cycles([Conv2d(8, 8, 3, 9, 9)], "ethos-u65-256")
    with refused("accelerator"):
        fitted_network("ethos-u65")


def test_a_small_twin_of_networks(monkeypatch):
    pytest.importorskip("ethosu.vela")
    pytest.importorskip("scipy")
    from hwcost.calibration.vela import networks

    monkeypatch.setattr(networks, "between", lambda: between(12))
    file = fitted_network("ethos-u65-256")
    assert file.name == "ethos-u65-256-network"
    assert file.fit is not None
    assert file.fit.errors["count"] == 11
    assert {"host_bytes_per_s", "vector_bytes_per_s"} <= {*file.fit.identified}
    steps = images()[3]
    total = priced([steps], "ethos-u65-256").cycles[0]
    assert network_cost(layers_of(steps), file.array).total.cycles == pytest.approx(total, rel=0.25)
