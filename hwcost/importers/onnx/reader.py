"""Networks out of ONNX graphs: every node priced, known to be free, or named as not supported.

The graph is read, not run. Its weights are not needed: those in files beside it are not opened. Dynamic sizes of inputs
are given by name, and all other shapes follow from them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hwcost.errors import InvalidValueError
from hwcost.importers.onnx.loading import fix_dims, load_graph
from hwcost.importers.onnx.tracer import Tracer
from hwcost.network.network import Network, Operation, SizeExpression, Width

__all__ = ["from_onnx"]


def from_onnx(
    path: str | os.PathLike[str], *, dims: Mapping[str, int] | None = None, name: str | None = None
) -> Network:
    """What an ONNX graph comes down to.

    Args:
        path: of the file.
        dims: the size of each dynamic dimension of an input, by its name, as ``{"batch": 1}``; one without a name by
            the name of the input and the axis, as ``{"image:0": 1}``.
        name: of the network; that of the file by default.

    Returns:
        Every node in the order in which they run, named as in the file, or after the module that PyTorch's exporter
        says it is from.

    Raises:
        InvalidValueError: a file that cannot be read or is no ONNX graph, one with circles, shapes that do not go
            together, dimensions without a size, a graph that multiplies nothing.
        MissingDependencyError: onnx is not installed.

    >>> import onnx.helper as made, tempfile
    >>> x, y = (made.make_tensor_value_info(name, 1, ["batch", size]) for name, size in (("x", 4), ("y", 8)))
    >>> weight = made.make_tensor("fc.weight", 1, (8, 4), [0.0] * 32)
    >>> node = made.make_node("Gemm", ["x", "fc.weight"], ["y"], name="fc", transB=1)
    >>> model = made.make_model(made.make_graph([node], "net", [x], [y], [weight]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "net.onnx")
    ...     _ = path.write_bytes(model.SerializeToString())
    ...     from_onnx(path, dims={"batch": 2})["fc"]
    Linear(in_features=4, out_features=8, batch=2)
    """
    where = os.fspath(path)
    model = load_graph(where)
    fix_dims(model, dims or {}, where)
    tracer = Tracer(model, where)
    operations, parameters = tracer.operations(), tracer.parameters()
    network = Network(
        name or Path(where).stem,
        operations,
        _in_use(tracer.widths.table(), operations, parameters),
        parameters,
        notes=tuple(tracer.notes),
        source=where,
    )
    if not network.priced and not network.unsupported:
        allowed = "a graph with a convolution or a matrix product"
        raise InvalidValueError("the model", f"{where}, which multiplies nothing", allowed)
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
