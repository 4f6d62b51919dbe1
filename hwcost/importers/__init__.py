"""Networks from files and programs: PyTorch modules, ONNX graphs, lists of layers, SCALE-Sim topologies.

Each gives a :class:`hwcost.Network`: its operations in order, those that are priced, those that are known to be free,
and those that are not understood, with the widths that layers share. Nothing is computed on the way, and no pickle is
read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hwcost.errors import InvalidValueError
from hwcost.network.network import Network

if TYPE_CHECKING:
    from hwcost.importers.torch import InputSpec

__all__ = ["read_network", "source_kind"]

ENDINGS = {"onnx": "an ONNX graph", "toml": "a list of layers", "csv": "a list of layers or a SCALE-Sim topology"}
ALLOWED = "FILE.py:NAME for a PyTorch module, or a file that ends in .onnx, .toml or .csv"
_PICKLES = ("pt", "pth", "ckpt", "bin", "pkl", "pickle", "safetensors")


def source_kind(source: str) -> str:
    """How a source is read: "torch", "onnx", "toml" or "csv".

    >>> source_kind("models/net.py:LeNet"), source_kind("net.ONNX")
    ('torch', 'onnx')

    Raises:
        InvalidValueError: a source that is none of these.
    """
    path, colon, name = source.rpartition(":")
    if colon and path.lower().endswith(".py"):
        if not name.isidentifier():
            raise InvalidValueError("model", source, "FILE.py:NAME with the name of a module, class or function in it")
        return "torch"
    ending = source.rpartition(".")[2].lower() if "." in source else ""
    if ending in ENDINGS:
        return ending
    if ending == "py":
        raise InvalidValueError("model", source, f"with the name of what is in it behind a colon: {source}:NAME")
    if ending in _PICKLES:
        raise InvalidValueError("model", source, f"{ALLOWED}; weights alone say no layers, and pickles are not opened")
    raise InvalidValueError("model", source, ALLOWED)


def read_network(source: str, *, inputs: Sequence[InputSpec] = (), dims: Mapping[str, int] | None = None) -> Network:
    """The network that a file holds.

    Args:
        source: ``FILE.py:NAME`` (a module, or a class or function without arguments that makes one), or the path of an
            ONNX file, a TOML or CSV list of layers, or a SCALE-Sim topology. A Python file is run, as importing it
            would run it.
        inputs: shapes of the inputs of a PyTorch module.
        dims: sizes of an ONNX graph's dynamic dimensions.

    Raises:
        InvalidValueError: a source that cannot be read, inputs or dims that it does not take.
        MissingDependencyError: torch or onnx is needed and not installed.
    """
    kind = source_kind(source)
    if inputs and kind != "torch":
        raise InvalidValueError("inputs", [str(each) for each in inputs], "none: only a PyTorch module needs them")
    if dims and kind != "onnx":
        raise InvalidValueError("dims", dict(dims), "none: only an ONNX graph has dynamic dimensions")
    return _read(kind, source, inputs, dims or {})


def _read(kind: str, source: str, inputs: Sequence[InputSpec], dims: Mapping[str, int]) -> Network:
    if kind == "torch":
        from hwcost.importers.torch import read_module

        return read_module(source, inputs)
    if kind == "onnx":
        from hwcost.importers.onnx import from_onnx

        return from_onnx(source, dims=dims)
    from hwcost.importers.lists import read_layers

    return read_layers(source)


def __getattr__(name: str) -> Any:
    """The importers themselves, loaded on use."""
    if name in ("from_torch", "InputSpec"):
        from hwcost.importers import torch

        return getattr(torch, name)
    if name == "from_onnx":
        from hwcost.importers.onnx import from_onnx

        return from_onnx
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
