"""Layers and networks that Vela prices."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hwcost.calibration.measurements import Measurement
from hwcost.calibration.vela.accelerators import ACCELERATORS
from hwcost.calibration.vela.writing import Step, outputs_of, tflite_of
from hwcost.errors import InvalidValueError, MissingDependencyError, check_one_of
from hwcost.model.layers import Conv2d

__all__ = ["Priced", "priced", "step_of", "vela_cycles", "vela_measurements"]


class Priced(NamedTuple):
    """What Vela says of files.

    Attributes:
        cycles: of each file.
        layers: cycles of the operators of each file, in order; what an operator fuses with another is in that one.
        clock_hz: of the accelerator.
        settings: version, system configuration and memory mode.
    """

    cycles: tuple[float, ...]
    layers: tuple[tuple[float, ...], ...]
    clock_hz: float
    settings: Mapping[str, str]


def priced(
    networks: Sequence[Sequence[Step]], accelerator: str, progress: Callable[[int, int], None] | None = None
) -> Priced:
    """Networks priced by Vela with its default settings, one after the other.

    Args:
        networks: the operators of each.
        accelerator: a name that Vela knows, like "ethos-u55-128".
        progress: called with the networks done and those to do.

    Raises:
        MissingDependencyError: Vela is not installed.
        InvalidValueError: Vela refuses a network.
    """
    schema, rows = _schema(), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"network{index:04}.tflite") for index in range(len(networks))]
        for file, steps in zip(files, networks, strict=True):
            file.write_bytes(tflite_of(steps, schema))
        for row in _rows([accelerator, *map(str, files)]):
            rows.append(row)
            if progress is not None:
                progress(len(rows), len(files))
    from importlib.metadata import version

    names = {"system_config": "system configuration", "memory_mode": "memory mode"}
    settings = {"version": version("ethos-u-vela")} | {words: rows[0][name] for name, words in names.items()}
    cycles = tuple(float(row["cycles_total"]) for row in rows)
    layers = tuple(
        tuple(row["layers"].get(name, 0.0) for name in outputs_of(steps))
        for row, steps in zip(rows, networks, strict=True)
    )
    return Priced(cycles, layers, float(rows[0]["core_clock"]), settings)


def vela_cycles(layers: Sequence[Conv2d], accelerator: str) -> list[float]:
    """Cycles of convolutions, each a network of its own.

    Args:
        layers: convolutions of int8 at batch 1 with "same" padding, depthwise ones with as many filters as channels.
        accelerator: a name of ``ACCELERATORS``.

    Raises:
        InvalidValueError: an unknown accelerator, or a layer that cannot be written so.
        MissingDependencyError: Vela is not installed.
    """
    return list(priced([[step_of(layer)] for layer in layers], _checked(accelerator)).cycles)


def vela_measurements(
    layers: Sequence[Conv2d], accelerator: str, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Measurement], Priced]:
    """Convolutions priced by Vela as measurements for :func:`hwcost.calibration.fit`, and the settings.

    Args:
        layers, accelerator: as of :func:`vela_cycles`.
        progress: called with the layers done and those to do.
    """
    found = priced([[step_of(layer)] for layer in layers], _checked(accelerator), progress)
    rows = zip(layers, found.cycles, strict=True)
    return [Measurement((layer,), cycles / found.clock_hz, name=_name(layer)) for layer, cycles in rows], found


def _name(layer: Conv2d) -> str:
    kind = "depthwise" if layer.is_depthwise else f"{layer.in_channels} to {layer.out_channels}"
    channels = f"{layer.in_channels} {kind}" if layer.is_depthwise else kind
    return (
        f"{channels}, {layer.kernel_size[0]}x{layer.kernel_size[1]}/{layer.stride[0]} at {layer.height}x{layer.width}"
    )


def step_of(layer: Conv2d, *reads: int) -> Step:
    """A convolution as an operator of a file.

    Raises:
        InvalidValueError: one that the writer does not know.
    """
    groups = layer.groups in (1, layer.in_channels) and (layer.groups == 1 or layer.out_channels == layer.in_channels)
    if layer.padding != "same" or layer.batch != 1 or not groups or layer.dilation != (1, 1):
        allowed = 'a convolution at batch 1 with padding "same", no dilation, and 1 group or one for each channel'
        raise InvalidValueError("layers", layer, allowed)
    return Step.of(layer, *reads)


def _checked(accelerator: str) -> str:
    check_one_of("accelerator", accelerator, ACCELERATORS)
    return accelerator


def _schema() -> Any:
    """The classes of the schema that come with Vela."""
    try:
        from ethosu.vela.tflite import (
            AddOptions,
            Buffer,
            BuiltinOperator,
            BuiltinOptions,
            Conv2DOptions,
            DepthwiseConv2DOptions,
            Model,
            Operator,
            OperatorCode,
            Padding,
            QuantizationParameters,
            SubGraph,
            Tensor,
            TensorType,
        )
    except ImportError:
        raise MissingDependencyError("ethos-u-vela", "vela", "a calibration from Vela") from None
    modules = (
        AddOptions, Buffer, BuiltinOperator, BuiltinOptions, Conv2DOptions, DepthwiseConv2DOptions, Model, Operator,
        OperatorCode, Padding, QuantizationParameters, SubGraph, Tensor, TensorType,
    )  # fmt: skip
    return types.SimpleNamespace(**{module.__name__.rpartition(".")[2]: module for module in modules})


def _rows(arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The summaries that another process prints: Vela writes to the streams of its own."""
    command = [sys.executable, str(Path(__file__).with_name("program.py")), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith("{"):
                yield json.loads(line)
        said = process.stderr.read()
    if process.returncode:
        raise InvalidValueError("Vela", said.strip().splitlines()[-1:], "a network that it can compile")
