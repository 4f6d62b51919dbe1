"""TFLite files as networks, as :func:`hwcost.importers.from_tflite` describes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hwcost.arrays import as_size
from hwcost.errors import MISSING, InvalidValueError, unknown
from hwcost.files import read_given
from hwcost.importers.graph.record import network_of
from hwcost.importers.rules import Handler
from hwcost.importers.rules.own import OwnRows
from hwcost.importers.tflite.loading import Graph, load
from hwcost.importers.tflite.tracer import Tracer
from hwcost.network.network import Network

__all__ = ["read"]

_MOST_BYTES = 2**31 - 1


def read(
    source: Any,
    dims: Mapping[str, int],
    name: str | None = None,
    operators: Mapping[str, Handler] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Network:
    """The network of a TFLite file; see :func:`hwcost.from_tflite`."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        where, content = name or "model", bytes(source)
    elif isinstance(source, (str, os.PathLike)):
        where = os.fsdecode(source)
        content = read_given(where, _MOST_BYTES, "the model")
    else:
        raise InvalidValueError("the model", source, "the path of a TFLite file, or its content as bytes")
    graphs = load(content, where)
    shapes = _input_shapes(graphs[0], dims, where)
    rows = OwnRows("operators", operators, lambda key: isinstance(key, str) and bool(key), "the name of an operator")
    tracer = Tracer(graphs, shapes, where, rows, progress)
    operations = tracer.operations.named(tracer.values)
    outputs = tracer.operations.outputs(tracer.outputs)
    network = network_of(name or Path(where).stem, where, operations, tracer.parameters(), tracer.values, outputs)
    rows.warn_if_unused()
    return network


def _input_shapes(graph: Graph, dims: Mapping[str, int], where: str) -> list[tuple[int, ...]]:
    """The shapes of the inputs, with a size for each that is open, by the name of the input and its axis.

    Raises:
        InvalidValueError: a size that is not given, contradicts the file, or is of no input.
    """
    sizes = {key: int(as_size(size, f"dims[{key!r}]", minimum=0)) for key, size in dims.items()}
    known: dict[str, int] = {}
    for number in graph.inputs:
        tensor = graph.tensors[number]
        known.update((f"{tensor.name}:{axis}", size) for axis, size in enumerate(tensor.signature))
    for key, size in sizes.items():
        if key not in known:
            raise InvalidValueError("dims", key, list(known), form=unknown("name"))
        if known[key] not in (-1, size):
            raise InvalidValueError(f"dims[{key!r}]", size, f"{known[key]}, as {where} has it")
    missing = [key for key, size in known.items() if size < 0 and key not in sizes]
    if missing:
        options = " ".join(f"--dim {key}=1" for key in missing)
        allowed = f"a size, as dims={{{missing[0]!r}: 1}}, on the command line {options}"
        places = ", ".join(f"the size of dimension {key!r}" for key in missing)
        raise InvalidValueError(f"{where}: {places}", MISSING, allowed)
    found = iter([sizes.get(key, size) for key, size in known.items()])
    return [tuple(next(found) for _ in graph.tensors[number].signature) for number in graph.inputs]
