"""Fits the twins of Arm's compiler Vela that ship with the package and writes them to hwcost/devices.

Each is fitted to the 64 convolutions that ``hwcost calibrate --from vela`` prices. Running this again with the same
Vela writes the same files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import hwcost
from hwcost.calibration import device_file, fit
from hwcost.calibration.vela import ACCELERATORS, FREE, described, design, vela_measurements
from hwcost.devices import write_device

DEVICES = Path(hwcost.__file__).parent / "devices"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=DEVICES, help="the folder to write to (default: %(default)s)")
    args = parser.parse_args()
    for name, row in ACCELERATORS.items():
        measurements, priced = vela_measurements(design(), name)
        found = fit(row.device.array, measurements, free=FREE, starts=1)
        write_device(args.to / f"{name}.toml", device_file(found, row.device, name=name, **described(name, priced)))
        errors = ", ".join(f"{key} {value:.4g}" for key, value in found.errors.items())
        print(f"{name}: {errors}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
