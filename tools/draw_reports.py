"""Draws the pictures of docs/reports.md into docs/images.

python tools/draw_reports.py [--to FOLDER]

The networks are lists of layers, so that nothing but matplotlib is needed. The same layers make the same files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "tests"))

from nets import LENET, residual  # noqa: E402  # found by the path above

import hwcost  # noqa: E402
from hwcost import Network, load_device  # noqa: E402
from hwcost.plot import comparison_figure, network_figure, save  # noqa: E402
from hwcost.reports import summarise  # noqa: E402

DEVICES = ("tpu-v1", "tpu-v2", "tpu-v3", "tpu-v4", "tpu-v5e", "gemmini")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--to", type=Path, default=PROJECT / "docs" / "images")
    folder = parser.parse_args().to
    save(network_figure(summarise(residual(), load_device("tpu-v1")), "ResNet-50 on tpu-v1"), folder / "report.png")
    networks = {"LeNet-5": LENET, "ResNet-50": residual()}
    compared = hwcost.compare([Network.of_layers(*each) for each in networks.items()], DEVICES)
    save(comparison_figure(compared), folder / "report-compare.png")


if __name__ == "__main__":
    main()
