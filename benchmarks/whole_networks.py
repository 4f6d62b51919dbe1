"""Whole networks on real machines: what a run takes on top of its layers, weights that do not fit, and totals.

    python benchmarks/whole_networks.py --data FOLDER

Edge TPU: ``hwcost calibrate`` with its default settings on networks of five layers and eight of two layers predicts the
other networks of two layers; half of the networks whose weights do not fit predict the other half; the bytes that do
not fit are those that the chip's compiler states. MobileNetV2 and GoogLeNet on the device that ships, against published
times. FPGA: all layers of eleven networks, pooling and additions included, predict the total of the twelfth.
A data set that is missing is left out, and the command prints which.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from common.measured_data import (
    DATA,
    EDGE_CLOCK_HZ,
    EDGE_RUNS,
    EDGE_SPILLING,
    FPGA_BUILDS,
    edge_networks,
    edge_pairs,
    fpga_networks,
    missing,
    rows_of,
)
from common.side_by_side import report
from hwcost import SystolicArray, load_device, network_cost
from hwcost.calibration import Measurement, fit
from hwcost.network.run import spilled_weights

SEEDS = (0, 1, 2)
FEW = 8
PUBLISHED = {"mobilenet_v2": (2.3e-3, 3.2e-3), "googlenet": (3.6e-3, 4.2e-3)}
"""Seconds of one image of 224 x 224, int8. Source: Coral, Edge TPU performance benchmarks,
https://coral.ai/docs/edgetpu/benchmarks/, and measurements that were published since."""
EDGE = SystolicArray(64, 64, EDGE_CLOCK_HZ, lowering="kernel-position")


def seconds_of(array: SystolicArray, networks: list[Measurement]) -> Any:
    return np.array([float(network_cost(one.layers, array).total.seconds) for one in networks])


def error_of(array: SystolicArray, networks: list[Measurement]) -> float:
    """The mean absolute error."""
    return float(np.abs(seconds_of(array, networks) / [one.seconds for one in networks] - 1).mean())


def pairs(folder: Path, seed: int) -> tuple[str, float]:
    """The form chosen from five-layer networks and eight of two layers, and its error on the others of two layers."""
    known = edge_pairs(folder)
    order = np.random.default_rng(seed).permutation(len(known))
    seen, unseen = ([known[index] for index in part] for part in (order[:FEW], order[FEW:]))
    found = fit(EDGE, edge_networks(folder) + seen)
    return found.form, error_of(found.device, unseen)


def spilled(folder: Path, half: int) -> float:
    """The error on half of the networks whose weights do not fit, by a fit to the other half and to those that fit."""
    inside = {one.name for one in edge_networks(folder)}
    known = edge_networks(folder, most=EDGE_SPILLING)
    outside = [one for one in known if one.name not in inside]
    seen = [one for one in known if one.name in inside] + outside[half::2] + edge_pairs(folder)
    found = EDGE_RUNS.fitted(seen, fold_seeds=(0,))
    return error_of(found.device, outside[1 - half :: 2])


def off_chip(folder: Path) -> list[float]:
    """For every network the error of the bytes that do not fit, as a share of those stated; 0 where both are none."""
    stated = {f"{row['filters']} filters": float(row["offchip_mib"]) for row in rows_of(folder, "edge")}
    errors = []
    for one in edge_networks(folder, most=10**6):
        bytes_left = (
            float(spilled_weights({str(i): layer for i, layer in enumerate(one.layers)}, EDGE_RUNS.device)[1]) / 2**20
        )
        known = stated[one.name]
        errors.append(abs(bytes_left / known - 1) if known else float(bytes_left > 0))
    return errors


def published(name: str) -> float:
    """How far the time of a network on the device that ships is outside of the published range, as a share."""
    from common.real_models import loaded
    from hwcost import from_torch

    models, options = loaded("torchvision"), {"googlenet": {"init_weights": False, "aux_logits": False}}
    model = getattr(models, name)(weights=None, **options.get(name, {})).eval()
    seconds = network_cost(from_torch(model, (1, 3, 224, 224)), load_device("edge-tpu")).total.seconds
    low, high = PUBLISHED[name]
    return float(max(seconds / high - 1, 1 - seconds / low, 0.0))


def fpga_total(folder: Path, build: str, name: str) -> tuple[str, float]:
    """The form chosen from the layers of the other networks, and the error of the total of this one."""
    networks = fpga_networks(folder, build)
    seen = [one for each, layers in networks.items() if each != name for one in layers]
    found = fit(FPGA_BUILDS[build], seen, folds=2, fold_seeds=(0,))
    measured = sum(one.seconds for one in networks[name])
    layers = {one.name: one.layers[0] for one in networks[name]}
    return found.form, float(network_cost(layers, found.device).total.seconds / measured - 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data sets (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    rows: dict[str, Any] = {}
    goals: dict[str, tuple[str, float]] = {}
    lacking = {name: why for name in ("edge", "edge pairs", "fpga") if (why := missing(options.data, name))}
    for why in lacking.values():
        print(f"left out: {why}", file=sys.stderr)
    with ProcessPoolExecutor(options.jobs) as pool:
        if not {"edge", "edge pairs"} & set(lacking):
            found = list(pool.map(pairs, [options.data] * len(SEEDS), SEEDS))
            rows["edge pairs"] = [{"seed": s, "form": f, "error": e} for s, (f, e) in zip(SEEDS, found, strict=True)]
            figures["edge tpu: two layers, from five and eight of two"] = float(np.mean([each for _, each in found]))
            halves = list(pool.map(spilled, [options.data] * 2, (0, 1)))
            figures["edge tpu: networks that do not fit, from the other half"] = max(halves)
            errors = off_chip(options.data)
            figures["edge tpu: bytes that do not fit, networks within 3 %"] = sum(each <= 0.03 for each in errors)
            figures["edge tpu: networks"] = len(errors)
            goals |= {
                "edge tpu: two layers, from five and eight of two": ("<=", 0.08),
                "edge tpu: networks that do not fit, from the other half": ("<=", 0.01),
                "edge tpu: bytes that do not fit, networks within 3 %": (">=", len(errors)),
            }
        for name, bound in (("mobilenet_v2", 0.5), ("googlenet", 0.3)):
            key = f"edge-tpu: {name}, outside of the published range by"
            figures[key], goals[key] = published(name), ("<=", bound)
        for build in FPGA_BUILDS if "fpga" not in lacking else ():
            names = list(fpga_networks(options.data, build))
            found = list(pool.map(fpga_total, [options.data] * len(names), [build] * len(names), names))
            totals = dict(zip(names, found, strict=True))
            rows[build] = [{"network": name, "form": form, "error": error} for name, (form, error) in totals.items()]
            key = f"fpga {build}: total of a network, from the others"
            figures[f"{key}, mean"] = float(np.mean([abs(error) for _, error in found]))
            figures[f"{key}, largest"] = max(abs(error) for _, error in found)
            goals[f"{key}, mean"] = ("<=", 0.05)
    return 0 if report("whole_networks", {"seeds": list(SEEDS)}, figures, goals, more={"rows": rows}) else 1


if __name__ == "__main__":
    sys.exit(main())
