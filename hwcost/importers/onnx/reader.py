"""ONNX graphs as networks, as :func:`hwcost.importers.from_onnx` describes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hwcost.errors import InvalidValueError
from hwcost.importers.onnx.loading import fix_dims, load_graph, source_name
from hwcost.importers.onnx.tracer import Tracer
from hwcost.importers.rules import Handler
from hwcost.importers.rules.own import OwnRows, is_qualified
from hwcost.network.network import Network
from hwcost.network.operations import Operation, SizeExpression, Width

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
    operations, parameters = tracer.operations(), tracer.parameters()
    network = Network(
        name or Path(where).stem,
        operations,
        _in_use(tracer.values.widths.table(), operations, parameters),
        parameters,
        notes=tuple(tracer.values.notes),
        source=where,
    )
    if not network.priced and not network.unsupported:
        allowed = "pass a graph with a convolution or a matrix product"
        raise InvalidValueError("the model", where, allowed, reason=f"{where} multiplies nothing")
    rows.warn_if_unused()
    return network


def _in_use(
    widths: Mapping[str, Width],
    operations: Mapping[str, Operation],
    parameters: Mapping[str, tuple[SizeExpression, ...]],
) -> dict[str, Width]:
    """The widths that some layer or parameter follows."""
    used = {name for operation in operations.values() for name in operation.widths}
    used |= {name for rules in parameters.values() for rule in rules for name, _ in rule}
    return {name: width for name, width in widths.items() if name in used}
