"""Fits the twins of Arm's compiler Vela that ship with the package and writes them to hwcost/devices.

Each accelerator has two: one fitted to the 64 convolutions that ``hwcost calibrate --from vela`` prices, and one of
networks, fitted to 55 convolutions within networks and 8 networks. Running this again with the same
Vela writes the same files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import hwcost
from hwcost.calibration import device_file, fit
from hwcost.calibration.vela import ACCELERATORS, FREE, described, design, fitted_network, vela_measurements
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
        network = fitted_network(name)
        write_device(args.to / f"{network.name}.toml", network)
        assert network.fit is not None
        for own, errors in ((name, found.errors), (network.name, network.fit.errors)):
            print(f"{own}: {', '.join(f'{key} {value:.4g}' for key, value in errors.items())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
