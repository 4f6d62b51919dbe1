"""Layers and their measurements, made of a machine, that the tests of calibrations share."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

pytest.importorskip("scipy")

from hwcost import Conv2d, SystolicArray, layer_cost, load_device, network_cost
from hwcost.calibration import (
    Measurement,
)
from hwcost.cli import main
from hwcost.network.operations import MemoryOnly

START = SystolicArray(16, 16, lowering="kernel-position", clock_hz=5e8)


def some_layers():
    shapes = [
        (c, f, k, size)
        for c in (8, 20, 40, 130)
        for f in (12, 33, 100)
        for k, size in ((1, 7), (1, 30), (3, 7), (3, 14), (5, 3))
    ]
    return [Conv2d(c, f, k, height=size, width=size, padding="same") for c, f, k, size in shapes[::2]]


def measure(array, layers=None, noise=0.0, seed=0):
    """Measurements of layers, or of tuples of them that run as one network."""
    random = np.random.default_rng(seed)
    given = some_layers() if layers is None else layers
    networks = [each if isinstance(each, tuple) else (each,) for each in given]
    return [
        Measurement(own, network_cost(own, array).total.seconds * math.exp(noise * random.standard_normal()), str(i))
        for i, own in enumerate(networks)
    ]


def some_networks():
    """Networks of one to four layers, each with an operation without products."""
    layers = some_layers()
    return [
        (*layers[i : i + 1 + i % 4], MemoryOnly("pool", 500 * i + 7, 90 * (i % 5) + 1)) for i in range(len(layers) - 4)
    ]


def write(tmp_path, *lines, name="measured.csv"):
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return path


def run(capsys, *args):
    code = main(["calibrate", *args])
    return code, *capsys.readouterr()


def measured_file(folder):
    """The path of a file of measurements, on a machine that is slower than Gemmini."""
    array = dataclasses.replace(load_device("gemmini"), cycles_per_layer=900.0, cycles_per_row=1.3)
    lines = [
        f"conv2d,{layer.kernel_size[0]},{layer.in_channels},{layer.out_channels},{layer.height},{layer.width},"
        f"{layer_cost(layer, array).cycles}"
        for layer in some_layers()
    ]
    return str(write(folder, "kind,k,c,f,h,w,cycles", *lines))
