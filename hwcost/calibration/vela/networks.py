"""Twins of layers within networks, and of whole networks.

A layer alone is a network of its own: its maps lie where inputs and outputs do, which on some accelerators is DRAM. In
a network they stay in the SRAM, in an order that suits the array, and weights arrive while the layer before runs. So
the same layer takes up to ten times as long alone. A twin of networks has rates of its own, in two fits:

    layers       what Vela states for each of :func:`between` within a network: compute, start-up, maps in the SRAM
    networks     totals of :func:`images`: the way of the image (``host_bytes_per_s``), and of sums of two maps
                 (``vector_bytes_per_s``), on top of their layers
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hwcost.arrays import Table
from hwcost.calibration.files import device_file
from hwcost.calibration.fitting import fit
from hwcost.calibration.measurements import Measurement
from hwcost.calibration.vela.accelerators import ACCELERATORS, FREE, Accelerator, described, design
from hwcost.calibration.vela.pricing import Priced, priced, step_of
from hwcost.calibration.vela.writing import Step
from hwcost.devices import DeviceFile
from hwcost.errors import check_one_of
from hwcost.model.layers import Conv2d
from hwcost.network.operations import MemoryOnly

__all__ = ["NETWORKS", "between", "between_cycles", "fitted_network", "images", "layers_of"]

SUFFIX = "-network"
"""What the name of a twin of networks ends in, behind that of the accelerator."""
_NEAR = {
    "ethos-u55-128": {"vector_bytes_per_s": 1e9},
    "ethos-u55-256": {"vector_bytes_per_s": 2e9},
    "ethos-u65-256": {
        "start_up_cycles": 64.0, "input_bytes_per_s": 16e9, "output_bytes_per_s": 16e9, "host_bytes_per_s": 1e9,
        "vector_bytes_per_s": 4e9,
    },
    "ethos-u85-256": {
        "start_up_cycles": 64.0, "input_bytes_per_s": 16e9, "output_bytes_per_s": 16e9, "host_bytes_per_s": 1e9,
    },
}  # fmt: skip
"""What the fit starts from where it is not what holds for a layer alone. Sums are part of a layer on Ethos-U85."""
_RUN = ("host_bytes_per_s", "vector_bytes_per_s")


def _near(row: Accelerator) -> Accelerator:
    fields = {name: value for name, value in row.fields.items() if name != "burst_bytes"}  # maps lie in bricks
    return Accelerator(row.name + SUFFIX, row.macs, {**fields, "weights_ahead": True, **_NEAR[row.name]})


NETWORKS: Mapping[str, Accelerator] = Table({name: _near(row) for name, row in ACCELERATORS.items()})
"""What the fit of a twin of networks starts from, by the accelerator."""

_IMAGES = (
    (3, 24, 8, 3, 1), (3, 32, 16, 3, 1), (3, 48, 16, 3, 2), (3, 64, 8, 3, 2), (1, 28, 32, 5, 1), (3, 128, 16, 3, 2),
    (3, 160, 24, 3, 2), (3, 224, 32, 3, 2),
)  # fmt: skip
"""Channels and side of the image; filters, kernel and stride of the first layer."""


def between(count: int = 56) -> list[Conv2d]:
    """The layers that are priced within networks: those of :func:`design`, with widths that are multiples of 8.

    >>> {layer.in_channels % 8 for layer in between()}
    {0}
    """
    found = []
    for layer in design(count):
        channels, filters = (max(8, 8 * round(width / 8)) for width in (layer.in_channels, layer.out_channels))
        groups, filters = (channels, channels) if layer.is_depthwise else (1, filters)
        found.append(dataclasses.replace(layer, in_channels=channels, out_channels=filters, groups=groups))
    return list(dict.fromkeys(found))


def images() -> list[list[Step]]:
    """Networks of an image: every other one has a sum of two maps."""
    found = []
    for index, (channels, size, filters, kernel, stride) in enumerate(_IMAGES):
        first = Conv2d(channels, filters, kernel, size, size, stride=stride, padding="same")
        steps, maps = [Step.of(first)], first.out_size
        if index % 2:
            steps.append(Step.of(Conv2d(filters, filters, 3, *maps, padding="same"), 0))
            steps.append(Step("add", None, (0, 1)))
        for width, side in ((16, 1), (8, 3)):
            last = next(step.layer for step in reversed(steps) if step.layer is not None)
            layer = Conv2d(last.out_channels, width, side, *maps, stride=1 + (side > 1), padding="same")
            steps.append(Step.of(layer, len(steps) - 1))
        found.append(steps)
    return found


def between_cycles(
    layers: Sequence[Conv2d], accelerator: str, progress: Callable[[int, int], None] | None = None
) -> tuple[list[float], Priced]:
    """Cycles of convolutions within a network, each between two 1 x 1 convolutions from and to 8 channels; settings.

    Args:
        layers, accelerator, progress: as of :func:`hwcost.calibration.vela.vela_measurements`.
    """
    check_one_of("accelerator", accelerator, NETWORKS)
    found = priced([_chain(layer) for layer in layers], accelerator, progress)
    return [cycles[1] for cycles in found.layers], found


def _chain(layer: Conv2d) -> list[Step]:
    before = Conv2d(8, layer.in_channels, 1, layer.height, layer.width, padding="same")
    after = Conv2d(layer.out_channels, 8, 1, *layer.out_size, padding="same")
    return [step_of(before), step_of(layer, 0), step_of(after, 1)]


def layers_of(steps: Sequence[Step]) -> tuple[Any, ...]:
    """The layers of a network; sums as operations without products."""
    elements, found = list[int](), list[Any]()
    for step in steps:
        if step.layer is None:
            found.append(MemoryOnly("add", elements[step.reads[0]] * len(step.reads), elements[step.reads[0]]))
            elements.append(elements[step.reads[0]])
        else:
            found.append(step.layer)
            height, width = step.layer.out_size
            elements.append(height * width * step.layer.out_channels)
    return tuple(found)


def fitted_network(accelerator: str, progress: Callable[[int, int], None] | None = None) -> DeviceFile:
    """The twin of the networks of an accelerator, from 55 layers within networks and 8 networks.

    Args:
        accelerator: a name of ``ACCELERATORS``.
        progress: as of :func:`hwcost.calibration.vela.vela_measurements`.

    Raises:
        InvalidValueError: an unknown accelerator.
        MissingDependencyError: Vela is not installed.
    """
    check_one_of("accelerator", accelerator, NETWORKS)
    row = NETWORKS[accelerator]
    layers, run = between(), {name: row.fields[name] for name in _RUN if name in row.fields}
    cycles, prices = between_cycles(layers, accelerator, progress)
    measured = [Measurement((layer,), own / prices.clock_hz) for layer, own in zip(layers, cycles, strict=True)]
    base = row._replace(fields={name: value for name, value in row.fields.items() if name not in run}).device
    found = fit(base.array, measured, free=FREE, starts=1)
    totals = priced(images(), accelerator)
    networks = [
        Measurement(layers_of(steps), own / totals.clock_hz) for steps, own in zip(images(), totals.cycles, strict=True)
    ]
    of_run = fit(dataclasses.replace(found.device, **run), networks, free=tuple(run), starts=1)
    words = described(accelerator, prices) | _words(accelerator, prices, len(layers))
    file, more = (
        device_file(each, base, name=row.name, **(words | {"data": data}))
        for each, data in ((found, words["data"]), (of_run, f"{len(networks)} networks of int8, priced by Vela"))
    )
    assert file.fit is not None
    return dataclasses.replace(
        file,
        entries={**file.entries, **{name: more.entries[name] for name in run}},
        fit=dataclasses.replace(file.fit, identified=(*file.fit.identified, *run)),
    )


def _sums(accelerator: str) -> tuple[str, ...]:
    """What operations without products take, for people."""
    if "vector_bytes_per_s" not in NETWORKS[accelerator].fields:
        return ()
    return (
        "Operations without products take time, as sums of two maps do on Vela (vector_bytes_per_s). Activations are "
        "part of a convolution in TFLite; those of a network from PyTorch or ONNX count, and should not.",
    )


def _words(accelerator: str, prices: Priced, count: int) -> dict[str, Any]:
    """What the file says of a twin of networks where a layer alone is something else."""
    version = prices.settings["version"]
    first, weights, image, grid = described(accelerator, prices)["notes"]
    return {
        "data": f"{count} convolutions of int8 within networks, as Vela {version} states them",
        "summary": f"Networks on Arm {accelerator} as its compiler Vela {version} estimates them, int8",
        "notes": (
            first,
            weights,
            f"{image.partition('.')[0]}. A layer is one within a network, whose maps stay in the SRAM; alone it takes "
            f"longer ({accelerator}). What the image takes is part of a run (host_bytes_per_s, fitted to images).",
            grid,
            *_sums(accelerator),
        ),
    }
