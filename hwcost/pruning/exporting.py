"""A pruned module as an ONNX file, which has to cost what the module costs."""

from __future__ import annotations

import math
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from hwcost.errors import InvalidValueError, first_line, require
from hwcost.files import write_given
from hwcost.importers import from_onnx
from hwcost.machine.array import SystolicArray
from hwcost.network.pricing import network_cost

__all__ = ["check_exporter", "export_onnx"]

_MOST = 2**31 - 1


def check_exporter(purpose: str) -> None:
    """Raises unless what PyTorch's exporter needs is installed."""
    for library in ("onnx", "onnxscript"):
        require(library, "export", purpose)


def export_onnx(
    model: nn.Module,
    inputs: Sequence[Any] | Mapping[str, Any],
    path: str | os.PathLike[str],
    array: SystolicArray,
    cycles: float,
) -> None:
    """Writes a module as one ONNX file, once that was read again and priced.

    Args:
        model: the module, in evaluation mode.
        inputs: examples by position or by name.
        path: of the file.
        array: the accelerator.
        cycles: what the module takes on it.

    Raises:
        InvalidValueError: a module that PyTorch cannot export, a graph with other cycles, a file that cannot be
            written, or would be larger than the format allows.
        MissingDependencyError: a library that the exporter needs is not installed.
    """
    check_exporter("an ONNX file")
    args, named = ((), dict(inputs)) if isinstance(inputs, Mapping) else (tuple(inputs), None)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(model, args, kwargs=named, dynamo=True, verbose=False)
            content = program.model_proto.SerializeToString()  # type: ignore[union-attr]
    except Exception as error:
        reason = f"PyTorch cannot export it: {first_line(error)}"
        raise InvalidValueError(
            "the pruned module", type(model).__name__, "leave the file out", reason=reason
        ) from error
    if len(content) > _MOST:
        reason = f"it has {len(content)} bytes, and one file holds at most {_MOST}"
        raise InvalidValueError("path", os.fspath(path), "export the module with external data", reason=reason)
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "pruned.onnx")
        with open(copy, "wb") as file:
            file.write(content)
        found = network_cost(from_onnx(copy), array).total.cycles
    if not math.isclose(found, cycles, rel_tol=1e-9):  # sums in another order
        reason = f"the graph takes {found} cycles, and the module {cycles}"
        raise InvalidValueError("path", os.fspath(path), "export the module by hand, and compare", reason=reason)
    write_given(path, content, "path")
