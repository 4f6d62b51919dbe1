"""ONNX graphs as networks, as :func:`hwcost.importers.from_onnx` describes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hwcost.importers.graph.record import network_of
from hwcost.importers.onnx.dims import fix_dims
from hwcost.importers.onnx.loading import load_graph, source_name
from hwcost.importers.onnx.tracer import Tracer
from hwcost.importers.rules import Handler
from hwcost.importers.rules.own import OwnRows, is_qualified
from hwcost.network.network import Network

__all__ = ["read"]


def read(
    source: Any,
    dims: Mapping[str, int],
    name: str | None = None,
    operators: Mapping[str, Handler] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Network:
    """The network of an ONNX graph; see :func:`hwcost.from_onnx`."""
    source = getattr(source, "model_proto", source)  # of a torch.onnx.ONNXProgram
    where = source_name(source)
    model = load_graph(source)
    fix_dims(model, dims, where)
    rows = OwnRows("operators", operators, is_qualified, "a qualified name like 'my.domain::MyOperator'")
    tracer = Tracer(model, where, rows, progress)
    operations, parameters = tracer.operations.named(tracer.values), tracer.parameters()
    outputs = tracer.operations.outputs(tracer.outputs)
    network = network_of(name or Path(where).stem, where, operations, parameters, tracer.values, outputs)
    rows.warn_if_unused()
    return network
