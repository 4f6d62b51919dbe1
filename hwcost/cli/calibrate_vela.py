"""``hwcost calibrate --from vela``: a device fitted to what Arm's compiler estimates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hwcost.cli.shared.progress import progress_of_unknown
from hwcost.errors import MISSING, InvalidValueError, check_one_of

if TYPE_CHECKING:
    from hwcost.calibration.reading import MeasuredFile
    from hwcost.devices import DeviceFile

__all__ = ["COMPILERS", "check_accelerator", "of_vela"]

COMPILERS = ("vela",)
"""The compilers that a twin can be fitted to."""


def check_accelerator(name: str | None) -> None:
    """Raises unless a twin of the accelerator can be fitted."""
    from hwcost.calibration.vela import ACCELERATORS

    if name is None:
        raise InvalidValueError("--accelerator", MISSING, f"one of: {', '.join(ACCELERATORS)}")
    check_one_of("--accelerator", name, ACCELERATORS)


def of_vela(accelerator: str) -> tuple[DeviceFile, MeasuredFile, dict[str, Any]]:
    """The device that the fit starts from, the prices, and what the device file says of them.

    Args:
        accelerator: its name.
    """
    from hwcost.calibration.reading import MeasuredFile
    from hwcost.calibration.vela import ACCELERATORS, described, design, vela_measurements

    with progress_of_unknown("layers priced by Vela") as show:
        measurements, found = vela_measurements(design(), accelerator, show)
    return ACCELERATORS[accelerator].device, MeasuredFile(tuple(measurements)), described(accelerator, found)
