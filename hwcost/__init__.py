"""What a neural-network layer or a whole network costs on a systolic array, exactly and smoothly.

>>> from hwcost import Conv2d, SystolicArray, layer_cost
>>> cost = layer_cost(Conv2d(6, 16, 5, height=14, width=14), SystolicArray(8, 8))
>>> cost.cycles, round(cost.utilization, 3)
(3800, 0.987)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hwcost._version import __version__
from hwcost.errors import (
    HwcostError,
    InvalidValueError,
    MissingDependencyError,
    MixedLibrariesError,
    NoGradientError,
)

if TYPE_CHECKING:
    from hwcost.advice import Advice, MeasuredCosts
    from hwcost.devices import DeviceFile, load_device
    from hwcost.importers import from_onnx, from_tflite, from_torch, read_network
    from hwcost.importers.lists import read_costs, write_costs
    from hwcost.machine.array import SystolicArray
    from hwcost.machine.dataflow import DATAFLOWS, Dataflow
    from hwcost.machine.energies import with_energy
    from hwcost.machine.folds import FOLD_TIMINGS, FoldTiming
    from hwcost.machine.tiler import LOWERINGS, Lowering
    from hwcost.model.cost import Cost
    from hwcost.model.formula import layer_cost
    from hwcost.model.gemm import Gemm
    from hwcost.model.layers import Conv2d, Layer, Linear, MatMul
    from hwcost.model.runtime import runtime
    from hwcost.network.network import Network
    from hwcost.network.operations import Operation, Width
    from hwcost.network.pricing import Report, network_cost
    from hwcost.relaxation import EXACT, RELAXATIONS, Relaxation, smooth_ceil
    from hwcost.reports import Comparison, Summary
    from hwcost.twins import advise, compare, report, tabulate

__all__ = [
    "DATAFLOWS",
    "EXACT",
    "FOLD_TIMINGS",
    "LOWERINGS",
    "RELAXATIONS",
    "Advice",
    "Comparison",
    "Conv2d",
    "Cost",
    "Dataflow",
    "DeviceFile",
    "FoldTiming",
    "Gemm",
    "HwcostError",
    "InvalidValueError",
    "Layer",
    "Linear",
    "Lowering",
    "MatMul",
    "MeasuredCosts",
    "MissingDependencyError",
    "MixedLibrariesError",
    "Network",
    "NoGradientError",
    "Operation",
    "Relaxation",
    "Report",
    "Summary",
    "SystolicArray",
    "Width",
    "__version__",
    "advise",
    "compare",
    "from_onnx",
    "from_tflite",
    "from_torch",
    "layer_cost",
    "load_device",
    "network_cost",
    "read_costs",
    "read_network",
    "report",
    "runtime",
    "smooth_ceil",
    "tabulate",
    "with_energy",
    "write_costs",
]


_PACKAGES = (
    "advice", "calibration", "devices", "importers", "machine", "model", "network", "plot", "pruning", "relaxation",
    "reports", "scalesim", "sweep", "tables", "torch",
)  # fmt: skip
"""The packages inside that are public; each is an attribute without an import."""

__dir__ = [*__all__, *_PACKAGES].copy  # what tab completion offers


def __getattr__(name: str) -> Any:
    """Imports on first use: a command that is interrupted while it starts must not be within an import."""
    if name in __all__:
        for load in (_core, _pricing, _networks, _reports):
            globals().update(load())
            if name in globals():
                return globals()[name]
    if name in _PACKAGES:
        _load_package(name)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _load_package(name: str) -> None:
    """Imports a package, and those that load what it loads."""
    if name in ("machine", "model", "network", "relaxation", "tables"):
        import hwcost.machine
        import hwcost.model
        import hwcost.network
        import hwcost.relaxation
        import hwcost.tables
    elif name == "calibration":  # needs scipy
        import hwcost.calibration
    elif name in ("pruning", "torch"):
        import hwcost.pruning
        import hwcost.torch
    else:
        import hwcost.advice
        import hwcost.devices
        import hwcost.importers
        import hwcost.plot
        import hwcost.reports
        import hwcost.scalesim
        import hwcost.sweep


def _core() -> dict[str, Any]:
    from hwcost.machine.array import SystolicArray
    from hwcost.machine.dataflow import DATAFLOWS, Dataflow
    from hwcost.machine.energies import with_energy
    from hwcost.machine.folds import FOLD_TIMINGS, FoldTiming
    from hwcost.machine.tiler import LOWERINGS, Lowering
    from hwcost.model.cost import Cost
    from hwcost.model.formula import layer_cost
    from hwcost.model.gemm import Gemm
    from hwcost.model.layers import Conv2d, Layer, Linear, MatMul
    from hwcost.relaxation import EXACT, RELAXATIONS, Relaxation, smooth_ceil

    return locals()


def _pricing() -> dict[str, Any]:
    from hwcost.model.runtime import runtime
    from hwcost.network.pricing import Report, network_cost

    return locals()


def _networks() -> dict[str, Any]:
    from hwcost.advice import Advice, MeasuredCosts
    from hwcost.devices import DeviceFile, load_device
    from hwcost.importers import from_onnx, from_tflite, from_torch, read_network
    from hwcost.importers.lists import read_costs, write_costs
    from hwcost.network.network import Network
    from hwcost.network.operations import Operation, Width

    return locals()


def _reports() -> dict[str, Any]:
    from hwcost.reports import Comparison, Summary
    from hwcost.twins import advise, compare, report, tabulate

    return locals()
