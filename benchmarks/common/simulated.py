"""The rows of agreement_measured.py that need no fit: hwcost next to simulators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from common.fits import HWCOST, Array
from common.measured_data import TILERS, rows_of, rtl_products
from hwcost import Conv2d, SystolicArray, layer_cost, load_device, smooth_ceil
from hwcost.calibration import scores
from hwcost.model.formula import price
from hwcost.scalesim import TopologyLayer, counts, serial_array

# ---------------------------------------------------------------- what needs no fit


def uboost_layers(folder: Path) -> Iterator[tuple[str, Array, dict[str, Array]]]:
    """For convolutions and depthwise ones the cycles of U-Boost NAS's simulator, and those of models by name."""
    for kind, label in (("Conv2d", "convolutions"), ("DepthwiseConv2d", "depthwise")):
        own = [row for row in rows_of(folder, "uboost") if row["kind"] == kind]
        c = {name: np.array([int(row[name]) for row in own]) for name in ("h", "w", "k1", "k2", "c", "f")}
        groups = c["c"] if kind == "DepthwiseConv2d" else 1
        layer = Conv2d(c["c"], c["f"], (c["k1"], c["k2"]), c["h"], c["w"], padding="same", groups=groups)
        plain = SystolicArray(128, 128)
        if kind == "Conv2d":
            smooth = layer_cost(layer, plain, relaxation="generalized").cycles
        else:  # its model has no columns there: one filter of each group
            smooth = smooth_ceil(c["k1"] * c["k2"] / 128, kind="generalized") * c["c"] * c["h"] * c["w"]
        models = {
            HWCOST: layer_cost(layer, UBOOST_ARRAY).cycles,
            "the author's formula": layer_cost(layer, plain).cycles,
            "U-Boost NAS's smooth model": smooth,
        }
        yield label, np.array([float(row["cycles"]) for row in own]), models


def uboost(folder: Path) -> list[dict[str, Any]]:
    """U-Boost NAS's cycle simulator next to hwcost, the author's formula, and U-Boost NAS's own smooth model."""
    rows = []
    everything: dict[str, list[tuple[Array, Array]]] = {}
    for label, simulated, models in uboost_layers(folder):
        for model, cycles in models.items():
            rows.append(simulator_row(label, model, simulated, np.asarray(cycles, dtype=float)))
            everything.setdefault(model, []).append((simulated, np.asarray(cycles, dtype=float)))
    together = {model: map(np.concatenate, zip(*pairs, strict=True)) for model, pairs in everything.items()}
    return rows + [simulator_row("both", model, *pair) for model, pair in together.items()]


UBOOST_ARRAY = load_device("uboost-csim")


def simulator_row(kind: str, model: str, simulated: Array, cycles: Array) -> dict[str, Any]:
    errors = np.abs(cycles / simulated - 1)
    return {
        "layers": kind,
        "model": model,
        "count": len(simulated),
        "median": float(np.median(errors)),
        "mean": float(errors.mean()),
        "max": float(errors.max()),
        "within_one_cycle": float(np.mean(np.abs(cycles - simulated) <= 1)),
        "spearman": scores(simulated, cycles).spearman,
    }


def scalesim(folder: Path) -> list[dict[str, Any]]:
    """The author's formula (ideal folds) and serial folds next to SCALE-Sim's cycles, by the size of square arrays."""
    pairs: dict[int, list[tuple[float, float, float]]] = {}
    for row in rows_of(folder, "scalesim"):
        if row["array_h"] != row["array_w"]:
            continue
        names = ("ifmap_h", "ifmap_w", "filt_h", "filt_w", "channels", "num_filters", "stride_h", "stride_w")
        size, dataflow = int(row["array_h"]), row["dataflow"]
        (gemm,) = TopologyLayer("one", *(int(row[name]) for name in names)).gemms()
        ideal = price(gemm, SystolicArray(size, size, dataflow=dataflow)).cycles
        serial = counts(gemm, serial_array(size, size, dataflow)).total_cycles
        pairs.setdefault(size, []).append((float(row["total_cycles"]), ideal, serial))
    found = []
    for size, triples in sorted(pairs.items()):
        simulated, ideal, serial = np.array(triples).T
        found.append(
            {
                "size": size,
                "count": len(simulated),
                "ideal_median_ratio": float(np.median(ideal / simulated)),
                "ideal_lowest_ratio": float((ideal / simulated).min()),
                "ideal_spearman": scores(simulated, ideal).spearman,
                "serial_equal": float(np.mean(serial == simulated)),
            }
        )
    return found


def scalesim_on_rtl(folder: Path) -> dict[str, Array]:
    """SCALE-Sim's cycles of the products that were run on Gemmini's builds, in the order of the tilers."""
    measurements = [one for tiler in TILERS for one in rtl_products(folder, tiler)]
    sizes = [int(one.device["rows"]) for one in measurements]

    def cycles(dataflow: str) -> Array:
        pairs = zip(measurements, sizes, strict=True)
        found = (counts(one.layers[0], serial_array(size, size, dataflow)) for one, size in pairs)
        return np.array([each.total_cycles for each in found])

    return {f"SCALE-Sim, {dataflow}": cycles(dataflow) for dataflow in ("ws", "os")}
