"""How well the shipped twins of Arm's compiler Vela agree with it, on convolutions and networks that no fit has seen.

200 random convolutions for each accelerator, each priced alone, and once more within a network; four networks in one
file each, two of which (MobileNetV2 and DS-CNN) no choice was made with. Rivals get the same 64 prices: a line in the
MACs, and a roofline (MACs over a peak, or bytes over a bandwidth, and a constant), both fitted by least squares of
logarithms. Writes benchmarks/results/agreement_vela.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

import hwcost
from hwcost import Conv2d, layer_cost, network_cost
from hwcost.calibration import scores
from hwcost.calibration.vela import (
    ACCELERATORS,
    NETWORKS,
    Step,
    between,
    between_cycles,
    design,
    images,
    layers_of,
    priced,
    vela_cycles,
)
from hwcost.devices import load_device

RESULTS = Path(__file__).parent / "results" / "agreement_vela.json"
SEED, COUNT = 2_026, 200
KINDS = ((1, 1, 0), (1, 2, 0), (3, 1, 0), (3, 2, 0), (5, 1, 0), (5, 2, 0), (3, 1, 1), (3, 2, 1), (5, 1, 1), (5, 2, 1))
SHARES = (0.18, 0.08, 0.24, 0.10, 0.10, 0.05, 0.11, 0.05, 0.06, 0.03)
STAIRS = {"ethos-u55-128": (8, 32, 40), "ethos-u55-256": (15, 16), "ethos-u65-256": (15, 16), "ethos-u85-256": (24, 32)}


def unseen() -> list[Conv2d]:
    """Random convolutions; sizes and widths even in their logarithms."""
    random, found = np.random.default_rng(SEED), list[Conv2d]()
    while len(found) < COUNT:
        kernel, stride, depthwise = KINDS[random.choice(len(KINDS), p=SHARES)]
        size, channels, filters = (
            round(float(np.exp(random.uniform(*np.log(ends))))) for ends in ((7, 64), (3, 256), (4, 256))
        )
        groups, filters = (channels, channels) if depthwise else (1, filters)
        layer = Conv2d(channels, filters, kernel, size, size, stride=stride, padding="same", groups=groups)
        if layer not in found and layer not in design() and layer not in between():
            found.append(layer)
    return found


def mobilenet() -> list[Step]:
    """MobileNetV1 (0.25, 96 x 96): depthwise and 1 x 1 convolutions in turn."""
    steps, size, width = [Step.of(Conv2d(3, 8, 3, 96, 96, stride=2, padding="same"))], 48, 8
    for filters, stride in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)):
        depthwise = Conv2d(width, width, 3, size, size, stride=stride, padding="same", groups=width)
        size, width = -(-size // stride), filters
        pointwise = Conv2d(depthwise.in_channels, filters, 1, size, size, padding="same")
        steps += [Step.of(depthwise, len(steps) - 1), Step.of(pointwise, len(steps))]
    return steps


def resnet() -> list[Step]:
    """ResNet-8 of MLPerf Tiny (32 x 32): three blocks of two convolutions and a sum."""
    steps, size, width = [Step.of(Conv2d(3, 16, 3, 32, 32, padding="same"))], 32, 16
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        start, out = len(steps) - 1, -(-size // stride)
        steps.append(Step.of(Conv2d(width, filters, 3, size, size, stride=stride, padding="same"), start))
        steps.append(Step.of(Conv2d(filters, filters, 3, out, out, padding="same"), len(steps) - 1))
        second, way = len(steps) - 1, start
        if stride > 1:
            steps.append(Step.of(Conv2d(width, filters, 1, size, size, stride=stride, padding="same"), start))
            way = len(steps) - 1
        steps.append(Step("add", None, (second, way)))
        size, width = out, filters
    return steps


def mobilenet_v2() -> list[Step]:
    """MobileNetV2 (0.35, 96 x 96): blocks that widen, filter and narrow, with sums; its rows of repeated blocks."""
    steps, size, width = [Step.of(Conv2d(3, 16, 3, 96, 96, stride=2, padding="same"))], 48, 16
    blocks = ((1, 8, 1, 1), (6, 8, 2, 2), (6, 16, 2, 3), (6, 24, 2, 4), (6, 32, 1, 3), (6, 56, 2, 3), (6, 112, 1, 1))
    for times, filters, first, count in blocks:
        for stride in (first, *[1] * (count - 1)):
            start, hidden = len(steps) - 1, width * times
            if times > 1:
                steps.append(Step.of(Conv2d(width, hidden, 1, size, size, padding="same"), len(steps) - 1))
            middle = Conv2d(hidden, hidden, 3, size, size, stride=stride, padding="same", groups=hidden)
            steps.append(Step.of(middle, len(steps) - 1))
            size = -(-size // stride)
            steps.append(Step.of(Conv2d(hidden, filters, 1, size, size, padding="same"), len(steps) - 1))
            if stride == 1 and width == filters:
                steps.append(Step("add", None, (start, len(steps) - 1)))
            width = filters
    return steps


def ds_cnn() -> list[Step]:
    """DS-CNN of MLPerf Tiny (49 x 10 x 1)."""
    steps = [Step.of(Conv2d(1, 64, (10, 4), 49, 10, stride=2, padding="same"))]
    for _ in range(4):
        depthwise = Conv2d(64, 64, 3, 25, 5, padding="same", groups=64)
        steps += [Step.of(depthwise, len(steps) - 1), Step.of(Conv2d(64, 64, 1, 25, 5, padding="same"), len(steps))]
    return steps


NETS = {
    "MobileNetV1-like": mobilenet, "ResNet-8-like": resnet, "MobileNetV2-like": mobilenet_v2, "DS-CNN-like": ds_cnn
}  # fmt: skip


def bytes_of(layer: Conv2d) -> float:
    (gemm,) = layer.gemms()
    return float(sum(gemm.elements(operand) for operand in ("weights", "inputs", "outputs")))


def rivals(seen: Sequence[Conv2d], cycles: np.ndarray) -> dict[str, Callable[[Sequence[Conv2d]], np.ndarray]]:
    """The models of equal effort, fitted to the same prices."""

    def fitted(model: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], start: Sequence[float]) -> Callable:
        def sizes(layers: Sequence[Conv2d]) -> tuple[np.ndarray, np.ndarray]:
            return np.array([float(each.gemms()[0].macs) for each in layers]), np.array(
                [bytes_of(each) for each in layers]
            )

        def residuals(x: np.ndarray) -> np.ndarray:
            return np.log(model(np.exp(x), *sizes(seen))) - np.log(cycles)

        x = least_squares(residuals, np.log(start), loss="soft_l1", f_scale=0.1).x
        return lambda layers: model(np.exp(x), *sizes(layers))

    return {
        "a line in the MACs": fitted(lambda p, macs, moved: p[0] * macs + p[1], (0.01, 1000.0)),
        "roofline": fitted(lambda p, macs, moved: np.maximum(p[0] * macs, p[1] * moved) + p[2], (0.01, 0.3, 1000.0)),
    }


def figures(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    found, errors = scores(truth, predicted), np.abs(predicted / truth - 1)
    return {
        "median": found.median, "mape": found.mape, "p90": float(np.quantile(errors, 0.9)),
        "largest": float(errors.max()), "kendall": found.kendall,
    }  # fmt: skip


def network(steps: list[Step], name: str) -> dict[str, float]:
    """The total of a network by Vela, and on the twins of networks and of layers alone."""
    truth, found = priced([steps], name).cycles[0], dict[str, float]()
    for key, device in (("hwcost", NETWORKS[name].name), ("layers alone", name)):
        found[key] = float(network_cost(layers_of(steps), load_device(device)).total.cycles)
    return {"vela": truth, **found, "error": found["hwcost"] / truth - 1, "alone": found["layers alone"] / truth - 1}


def of(name: str) -> dict[str, object]:
    layers, seen = unseen(), design()
    truth, known = np.array(vela_cycles(layers, name)), np.array(vela_cycles(seen, name))
    device = load_device(name)
    predicted = np.array([float(layer_cost(layer, device).cycles) for layer in layers])
    depthwise = np.array([layer.is_depthwise for layer in layers])
    inside, inner = np.array(between_cycles(layers, name)[0]), load_device(NETWORKS[name].name)
    within = np.array([float(layer_cost(layer, inner).cycles) for layer in layers])
    stairs = [Conv2d(32, filters, 3, 28, 28, padding="same") for filters in STAIRS[name]]
    fits = {"hwcost": predicted} | {rival: model(layers) for rival, model in rivals(seen, known).items()}
    worst = np.argsort(-np.abs(np.log(predicted / truth)))[:5]
    return {
        "unseen convolutions": {fit: figures(truth, cycles) for fit, cycles in fits.items()},
        "the same within a network": {
            "hwcost": figures(inside, within),
            "twin of layers alone": figures(inside, predicted),
        },
        "of them depthwise": figures(truth[depthwise], predicted[depthwise]),
        "predicted worst": [{"layer": repr(layers[i]), "vela": truth[i], "hwcost": predicted[i]} for i in worst],
        "steps, 28 x 28 x 32, 3 x 3": {
            str(layer.out_channels): {"vela": cycles, "hwcost": float(layer_cost(layer, device).cycles)}
            for layer, cycles in zip(stairs, vela_cycles(stairs, name), strict=True)
        },
        "networks": {label: network(make(), name) for label, make in NETS.items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=RESULTS, help="default: %(default)s")
    args = parser.parse_args()
    found = {name: of(name) for name in ACCELERATORS}
    settings = {name: dict(priced([mobilenet()], name).settings) for name in ACCELERATORS}
    content = {
        "hwcost": hwcost.__version__,
        "priced": 64,
        "priced of networks": len(between()) + len(images()),
        "settings": settings,
        "accelerators": found,
    }
    args.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for name, each in found.items():
        within = {"in a network": each["the same within a network"]["hwcost"]}
        for fit, row in (each["unseen convolutions"] | within).items():
            print(f"{name:14} {fit:20} median {100 * row['median']:6.2f} %  mean {100 * row['mape']:6.2f} %")
        for label, row in each["networks"].items():
            print(
                f"{name:14} {label:20} {row['hwcost']:.0f} against {row['vela']:.0f}: {100 * row['error']:+.1f} % "
                f"(layers alone {100 * row['alone']:+.1f} %)"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
