"""Which array within 16,384 PEs suits ResNet-50? Every shape and dataflow in one sweep, and a picture of it.

python examples/sweep_arrays.py [heat.png]
"""

from __future__ import annotations

import sys

from hwcost import DATAFLOWS, Conv2d, Linear
from hwcost.sweep import Sweep, sweep


def resnet_50() -> dict[str, Conv2d | Linear]:
    """Its 54 layers with weights, for one image of 224 x 224."""
    layers: dict[str, Conv2d | Linear] = {"conv1": Conv2d(3, 64, 7, height=224, width=224, stride=2, padding=3)}
    channels, size = 64, 56
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 1):
        for block in range(blocks):
            stride, path = 2 if block == 0 and stage > 1 else 1, f"layer{stage}.{block}"
            after = size // stride
            layers[f"{path}.conv1"] = Conv2d(channels, width, 1, size, size)
            layers[f"{path}.conv2"] = Conv2d(width, width, 3, size, size, stride=stride, padding=1)
            layers[f"{path}.conv3"] = Conv2d(width, 4 * width, 1, after, after)
            if block == 0:
                layers[f"{path}.downsample.0"] = Conv2d(channels, 4 * width, 1, size, size, stride=stride)
            channels, size = 4 * width, after
    return layers | {"fc": Linear(2048, 1000)}


def main() -> None:
    sizes = range(8, 257)
    found = sweep(resnet_50(), rows=sizes, cols=sizes, dataflows=tuple(DATAFLOWS), pe_budget=16_384)
    print(f"{len(found):,} points, {len(found.front)} of them on the front; the fastest within a number of PEs:")
    for budget in (64, 256, 1024, 4096, 16_384):
        (point,) = found.points([found.fastest(budget)])
        print(
            f"{budget:6,}: {point['rows']:3} x {point['cols']:3} {point['dataflow']}, {point['cycles']:10,} cycles, "
            f"{100 * point['utilization']:.1f} % busy"
        )
    if len(sys.argv) > 1:
        draw(found, sys.argv[1])


def draw(found: Sweep, path: str) -> None:
    from hwcost.plot import save, sweep_figure

    save(sweep_figure(found, "ResNet-50, ideal folds, 1 GHz"), path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
