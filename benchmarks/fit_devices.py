"""Fits the calibrated devices that ship with the package and writes them to hwcost/devices.

The measurements are read from the folder DATA (``--data``) and are not copied. A device file states what was measured,
by whom, and how well the fitted machine predicts layers that the fit has not seen. Running this again writes the same
files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import hwcost
from common.measured_data import (
    BEST,
    DATA,
    EDGE_CLOCK_HZ,
    EDGE_RUNS,
    EDGE_SPILLING,
    Form,
    edge_networks,
    edge_pairs,
    gemmini_layers,
    missing,
)
from hwcost.calibration import device_file
from hwcost.devices import DeviceFile, Entry, read_device, write_device

DEVICES = Path(hwcost.__file__).parent / "devices"
DOSA = (
    "Hong et al., DOSA: Differentiable Model-Based One-Loop Search for DNN Accelerators, MICRO 2023, "
    "https://people.eecs.berkeley.edu/~ysshao/assets/papers/dosa-micro2023.pdf; the measurements: "
    "https://github.com/ucb-bar/dosa, data/firesim_test_data"
)
SWEEP = "https://github.com/Jorgitou98/EdgeTPU-QuantRL-Evaluation, CONV_MACs/results"
CORAL = "4 tera-operations a second: Coral, USB Accelerator, https://coral.ai/products/accelerator/"


def gemmini_firesim(folder: Path) -> DeviceFile:
    """The 16 x 16 Gemmini of the DOSA project, each layer under the best of the mappings that were tried."""
    published = read_device("gemmini").entries
    entries = {name: published[name] for name in ("rows", "cols", "clock_hz", "dataflow")}
    entries["fold_timing"] = Entry(
        "ideal", "", "assumed", "The cost of loading weights is part of min_streamed, which was fitted."
    )
    entries |= {name: published[name] for name in ("lowering", "bytes_per_element")}
    facts = {name: read_device("gemmini").facts[name] for name in ("arrays_per_chip", "peak_ops_per_s")}
    return fitted(
        BEST,
        gemmini_layers(folder, "best_cycles"),
        DeviceFile("base", "base", (), entries, facts),
        name="gemmini-firesim",
        summary="Gemmini, 16 x 16 int8, as measured by FireSim: each layer under the best of several mappings",
        data="43 layers of resnet50 and retinanet (46 rows, repeats merged), the best mapping of each, RTL by FireSim",
        source=DOSA,
        licence="BSD-2-Clause",
        notes=(
            "Cycles are what was measured: a simulation of the RTL has no clock. Seconds assume 1 GHz.",
            "Convolutions and 1 x 1 layers of int8 at batch 1, 1 x 1 to 112 x 112 outputs; strided ones among them. No "
            "depthwise layers were measured.",
            "The mapping matters as much as the array: under Gemmini's default tiler the same layers take 1.5 times as "
            "long in the median, and other numbers fit.",
            "The form of the model was chosen by looking at cross-validation on these same layers.",
        ),
    )


def edge_tpu(folder: Path) -> DeviceFile:
    """The Coral Edge TPU over USB, with what a run takes on top of its layers and weights that do not fit."""
    size = (
        "The step of the measured stairs: of ten sizes from 16 to 256 the one that all 15 folds of five-layer networks "
        "choose. 63 and 65 explain them less well; one network, of 322 filters, is all that tells 65 from 64."
    )
    compiler = "The bytes that the chip's compiler states as off the chip, of 72 of 72 networks, to 1 %"
    entries = {
        "rows": Entry(64, "PE", "derived", size),
        "cols": Entry(64, "PE", "derived", f"{size} The array is taken to be square."),
        "clock_hz": Entry(
            EDGE_CLOCK_HZ, "Hz", "assumed",
            "Not published for the array: 64 x 64 PEs make the published peak of 4e12 op/s at this clock. "
            "cycles_per_row, which was fitted, takes the error up.",
        ),
        "dataflow": Entry("ws", "", "assumed", "Not published; these networks do not tell it from others."),
        "fold_timing": Entry("ideal", "", "assumed", "cycles_per_row, which was fitted, includes the cost of folds."),
        "lowering": Entry(
            "kernel-position", "", "derived", "Steps come at every 64 channels, not at every 64 positions x channels."
        ),
        "depthwise_columns": Entry(
            True, "", "assumed",
            "No depthwise layer was measured. One after the other, the channels of MobileNetV2 would take 29 ms, and "
            "the whole network takes 2.3 to 3.2 ms as published.",
        ),
        "bytes_per_element": Entry(
            1.0, "B", "published", "int8 only: Coral, models for the Edge TPU, https://coral.ai/docs/edgetpu/models-intro/"
        ),
        "weight_capacity_bytes": Entry(8e6, "B", "derived", f"{compiler}; they allow 7.3 to 8.1 MB."),
        "filter_multiple": Entry(64, "1", "derived", f"{compiler}."),
        "spill_bytes_per_s": Entry(1e8, "B/s", "assumed", "Where the fit starts."),
    }  # fmt: skip
    facts = {
        "arrays_per_chip": Entry(1, "1", "assumed", "Not published; one array explains the stairs."),
        "peak_ops_per_s": Entry(4e12, "op/s", "published", CORAL),
        "on_chip_bytes": Entry(
            8 * 2**20, "B", "published",
            "About 8 MB for weights: Coral, Edge TPU compiler, https://coral.ai/docs/edgetpu/compiler/",
        ),
    }  # fmt: skip
    return fitted(
        EDGE_RUNS,
        edge_networks(folder, most=EDGE_SPILLING) + edge_pairs(folder),
        DeviceFile("base", "base", (), entries, facts),
        name="edge-tpu",
        summary="Coral Edge TPU over USB, int8, as measured: networks of convolutions, whether weights fit or not",
        data="61 networks of five and 33 of two 3 x 3 convolutions with 32 to 632 filters on 64 x 64 inputs, mean of "
        "100 runs each",
        source=SWEEP,
        licence="MIT",
        notes=(
            "Only seconds are meaningful: the clock is assumed, and cycles are in units of it.",
            "Seconds are those of a run of a whole network: a constant, inputs and outputs over USB, and its layers. A "
            "layer alone has none of the first two.",
            "Part of the step is hidden: row_stairs and col_stairs, fitted as one number, are the share that remains.",
            "Every layer was 64 x 64 outputs and a 3 x 3 kernel, int8, batch 1. Other sizes are an extrapolation.",
            "Networks of more than 632 filters take longer than this: weights then arrive more than once in a run.",
            "Published times of MobileNetV2 and GoogLeNet (224 x 224) are 2.3 to 3.2 and 3.6 to 4.2 ms; this device "
            "has 3.5 and 5 ms.",
            "The form of the model was chosen by looking at cross-validation on these same networks.",
        ),
    )


def fitted(form: Form, measurements: list, base: DeviceFile, **texts: object) -> DeviceFile:
    """A device file of a fit with the default folds; the base must give what the form starts from."""
    for name, entry in base.entries.items():
        if getattr(form.device, name) != entry.value:
            raise ValueError(f"{name} is {entry.value} in the file, but {getattr(form.device, name)} in the fit")
    return device_file(form.fitted(measurements), base, **texts)


MAKERS: Mapping[str, tuple[str, Callable[[Path], DeviceFile]]] = {
    "gemmini-firesim": ("gemmini", gemmini_firesim),
    "edge-tpu": ("edge", edge_tpu),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data sets (default: %(default)s)")
    parser.add_argument("--to", type=Path, default=DEVICES, help="the folder to write to (default: %(default)s)")
    args = parser.parse_args()
    for name, (data, make) in MAKERS.items():
        if why := missing(args.data, data):
            print(f"left out: {name}: {why}")
            continue
        device = make(args.data)
        write_device(args.to / f"{name}.toml", device)
        errors = ", ".join(f"{key} {value:.4g}" for key, value in device.fit.errors.items())
        print(f"{name}: {errors}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
