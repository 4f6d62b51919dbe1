"""Networks from files and programs: PyTorch modules, ONNX and TFLite files, lists of layers, SCALE-Sim topologies.

Each reader returns a :class:`hwcost.Network`: the operations in order (priced, known to be free, or unsupported) and
the widths that layers share. Nothing is computed, and no pickle is opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hwcost.errors import InvalidValueError, MissingDependencyError
from hwcost.files import read_given
from hwcost.importers.sources import source_kind
from hwcost.network.network import Network

if TYPE_CHECKING:
    import torch

    from hwcost.importers.torch.inputs import InputSpec

__all__ = ["from_onnx", "from_tflite", "from_torch", "read_network", "source_kind"]

__dir__ = [*__all__, "lists", "rules", "torch"].copy  # what tab completion offers

_MOST_BYTES = 2**31 - 1


def __getattr__(name: str) -> Any:
    """The packages inside are loaded when they are asked for."""
    if name in ("lists", "rules"):
        import hwcost.importers.lists
        import hwcost.importers.rules

        return globals()[name]
    if name == "torch":
        import hwcost.importers.torch  # noqa: F401

        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def from_torch(
    model: torch.nn.Module,
    input_size: Sequence[int] | Sequence[Sequence[int]] | InputSpec | Sequence[InputSpec] | None = None,
    *,
    example_inputs: Any = None,
    name: str | None = None,
    operators: Mapping[str, Callable[[Any], Any]] | None = None,
    modules: Mapping[type[torch.nn.Module], Callable[[Any], Any]] | None = None,
    partial: bool = False,
) -> Network:
    """The network that a PyTorch module is, for inputs of these shapes.

    The module runs once on PyTorch's *meta* device, where tensors have shapes and no data: weights take no memory, and
    nothing is computed. It is read from the operators that a device would run, below the level of composite ones.

    Args:
        model: the module, or a program of ``torch.export``, on any device, with or without weights. It runs in
            evaluation mode, and is left as it was, whatever its forward stores.
        input_size: the shape of the input, or of each of several.
        example_inputs: instead of shapes: a tensor, a sequence of arguments, or a mapping of keyword arguments. Only
            the shapes and types of tensors count, and, if the forward looks at them, the values of small ones of
            integers or truth values, as lengths and masks. Anything else is passed on, and left as it was.
        name: of the network; the module's class by default.
        operators: rows for operators of your own, by qualified name, as ``{"mylib::op": handler}``: a function of the
            call that states the axes of its outputs and returns the layers that it comes down to, or a ready-made rule
            of :mod:`hwcost.importers.rules`. They go before the rows that ship. A row for an operator that the model
            does not call is a :class:`hwcost.errors.UnusedRowWarning`.
        modules: the same for whole modules, by class (subclasses need an own row); the operators inside are not looked
            at. Both kinds of calls give arguments by name, as ``call["x"]``.
        partial: if the forward cannot run to its end, as one that looks at the values of activations, return what ran
            until then; the rest is one unsupported operation, and no width can change.

    Returns:
        Every operator that ran, named after its module: priced, known to be free, or unsupported.

    Raises:
        InvalidValueError: ``model`` is not a module, does not take these inputs, looks at values, or multiplies
            nothing; a row that raises an error.
        MissingDependencyError: PyTorch is not installed.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 28 * 28, 10))
    >>> network = from_torch(model, (1, 1, 28, 28))
    >>> network["0"]
    Conv2d(in_channels=1, out_channels=6, kernel_size=(5, 5), height=28, width=28, batch=1, stride=(1, 1),
           padding=(2, 2), dilation=(1, 1), groups=1)
    >>> network.macs, list(network), list(network.priced)
    (164640, ['0', '1', '3'], ['0', '3'])
    """
    from hwcost.importers.torch.reader import read

    return read(
        model,
        input_size,
        example_inputs=example_inputs,
        name=name,
        operators=operators,
        modules=modules,
        partial=partial,
    )


def from_onnx(
    source: str | os.PathLike[str] | Any,
    *,
    dims: Mapping[str, int] | None = None,
    name: str | None = None,
    operators: Mapping[str, Callable[[Any], Any]] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Network:
    """The network that an ONNX graph is.

    The graph is read, not run. Its weights are not needed: external data files are not opened.

    Args:
        source: the path of a file, an ``onnx.ModelProto``, or the program that ``torch.onnx.export`` returns.
        dims: the size of each dynamic dimension of an input, by its name, as ``{"batch": 1}``; one without a name by
            the input and the axis, as ``{"image:0": 1}``.
        name: of the network; that of the file or the graph by default.
        operators: rows for operators of your own, as ``{"my.domain::MyOperator": handler}`` (``ai.onnx`` is ONNX's own
            domain); see :func:`from_torch`.
        progress: called again and again with the number of nodes that were read, and that of all.

    Returns:
        Every node in execution order, named after the module that PyTorch's exporter recorded, or as in the file.

    Raises:
        InvalidValueError: a file that cannot be read or is not an ONNX graph, a graph with cycles, shapes that do not
            go together, dimensions without a size, a graph that multiplies nothing; a row that raises an error.
        MissingDependencyError: onnx is not installed.

    >>> import onnx.helper as make
    >>> x, y = (make.make_tensor_value_info(name, 1, ["batch", size]) for name, size in (("x", 4), ("y", 8)))
    >>> weight = make.make_tensor("fc.weight", 1, (8, 4), [0.0] * 32)
    >>> node = make.make_node("Gemm", ["x", "fc.weight"], ["y"], name="fc", transB=1)
    >>> model = make.make_model(make.make_graph([node], "net", [x], [y], [weight]))
    >>> from_onnx(model, dims={"batch": 2})["fc"]
    Linear(in_features=4, out_features=8, batch=2)
    """
    try:
        from hwcost.importers.onnx.reader import read
    except MissingDependencyError:
        if isinstance(source, (str, os.PathLike)):
            read_given(source, _MOST_BYTES, "the model")  # if the file is missing too, that comes first
        raise
    return read(source, dims or {}, name, operators, progress)


def from_tflite(
    source: str | os.PathLike[str] | bytes,
    *,
    dims: Mapping[str, int] | None = None,
    name: str | None = None,
    operators: Mapping[str, Callable[[Any], Any]] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Network:
    """The network in a TFLite (LiteRT) file, quantized or not.

    The graph is read, not run. The schema is that of the package ``tflite``; a damaged file is an error.

    Args:
        source: the path of a file, or its content, as a converter returns it.
        dims: the size of each open dimension of an input, by the input and the axis, as ``{"image:0": 1}``.
        name: of the network; that of the file by default.
        operators: rows for operators of your own, by the name of a custom operator, as ``{"MyOperator": handler}``;
            see :func:`from_torch`. Inputs are numbered, and the attributes of TFLite's own operators are in
            ``call.attributes``.
        progress: called again and again with the number of operators that were read, and that of all.

    Returns:
        Every operator in order, named after the tensor that it makes. Channels come last in TFLite; layers and widths
        are those of the same network in PyTorch.

    Raises:
        InvalidValueError: a file that cannot be read, is not a TFLite file or is damaged, dimensions without a size, a
            graph that multiplies nothing; a row that raises an error.
        MissingDependencyError: tflite is not installed.

    >>> from_tflite(b"not a model")
    Traceback (most recent call last):
    ...
    hwcost.errors.InvalidValueError: model cannot be used: it is not a TFLite file; convert the model again
    """
    try:
        from hwcost.importers.tflite.reader import read
    except MissingDependencyError:
        if isinstance(source, (str, os.PathLike)):
            read_given(source, _MOST_BYTES, "the model")  # if the file is missing too, that comes first
        raise
    return read(source, dims or {}, name, operators, progress)


def read_network(
    source: str,
    *,
    inputs: Sequence[InputSpec] = (),
    dims: Mapping[str, int] | None = None,
    partial: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Network:
    """The network in a file.

    Args:
        source: ``FILE.py:NAME`` (a module, or a class or function that makes one without arguments), or the path of an
            ONNX or TFLite file, a TOML or CSV list of layers, or a SCALE-Sim topology. A Python file is run, as
            importing it would run it.
        inputs: shapes of the inputs of a PyTorch module.
        dims: sizes of the dynamic dimensions of an ONNX or TFLite file.
        partial: of a PyTorch module that cannot run to its end, what ran until then; see :func:`from_torch`.
        progress: of an ONNX or TFLite file; see :func:`from_onnx`.

    Raises:
        InvalidValueError: a source that cannot be read, inputs or dims that it does not take.
        MissingDependencyError: torch, onnx or tflite is needed and not installed.
    """
    kind = source_kind(source)
    if inputs and kind != "torch":
        given, reason = [str(each) for each in inputs], "only a PyTorch module needs shapes of inputs"
        raise InvalidValueError("inputs", given, "leave them out", reason=reason)
    if dims and kind not in ("onnx", "tflite"):
        reason = "only an ONNX or TFLite file has dynamic dimensions"
        raise InvalidValueError("dims", dict(dims), "leave them out", reason=reason)
    if kind == "torch":
        try:
            from hwcost.importers.torch.reader import read_module
        except MissingDependencyError:
            read_given(source.rpartition(":")[0], _MOST_BYTES, "the model's file")
            raise
        return read_module(source, inputs, partial=partial)
    if kind == "onnx":
        return from_onnx(source, dims=dims, progress=progress)
    if kind == "tflite":
        return from_tflite(source, dims=dims, progress=progress)
    from hwcost.importers.lists import read_layers

    return read_layers(source)
