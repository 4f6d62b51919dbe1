"""A twin of Arm's compiler Vela: its prices of small layers, as measurements to which a device is fitted.

Vela (PyPI ``ethos-u-vela``, the extra ``vela``) compiles int8 TFLite files for Ethos-U and estimates their cycles.
It is deterministic, so that a fit needs few of its prices; the twin is differentiable and prices whole sweeps at once.

>>> from hwcost.calibration.vela import ACCELERATORS, design
>>> sorted(ACCELERATORS)
['ethos-u55-128', 'ethos-u55-256', 'ethos-u65-256', 'ethos-u85-256']
>>> len(design()), design()[0]
(64, ...)
"""

from __future__ import annotations

from hwcost.calibration.vela.accelerators import ACCELERATORS, FREE, Accelerator, described, design
from hwcost.calibration.vela.networks import NETWORKS, between, between_cycles, fitted_network, images, layers_of
from hwcost.calibration.vela.pricing import priced, vela_cycles, vela_measurements
from hwcost.calibration.vela.writing import Step

__all__ = [
    "ACCELERATORS",
    "FREE",
    "NETWORKS",
    "Accelerator",
    "Step",
    "between",
    "between_cycles",
    "described",
    "design",
    "fitted_network",
    "images",
    "layers_of",
    "priced",
    "vela_cycles",
    "vela_measurements",
]

__dir__ = __all__.copy  # what tab completion offers
