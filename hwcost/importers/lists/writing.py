"""Networks as lists of layers that :mod:`hwcost.importers.lists` reads back as the same products."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hwcost.arrays import is_number
from hwcost.errors import InvalidValueError
from hwcost.files import write_given
from hwcost.importers.lists.rows import LARGEST
from hwcost.importers.naming import UniqueNames
from hwcost.model.gemm import Gemm
from hwcost.model.layers import Conv2d, Linear, MatMul
from hwcost.model.layout import is_zero
from hwcost.network.network import Network
from hwcost.units import as_cell, be, shortlist

__all__ = ["SCHEMA", "left_out", "write_layers"]

SCHEMA = "hwcost.layers/1"
_COLUMNS = (
    *("name", "kind", "k", "k1", "k2", "c", "f", "h", "w", "batch", "stride", "padding", "dilation", "groups"),
    *("m", "n", "count", "window", "inputs", "weights_shared_by", "inputs_shared_by"),
)
_NAMED = 5
Row = dict[str, Any]


def write_layers(path: str | os.PathLike[str], network: Network) -> tuple[str, ...]:
    """Writes every priced layer of a network to a list, as TOML if the path ends in .toml, else as CSV.

    Args:
        path: of the file, which is replaced atomically.
        network: of layers whose sizes are single integers.

    Returns:
        Remarks: operations that are left out, layers that are written as their products.

    Raises:
        InvalidValueError: nothing to write, a size that is not an integer up to 10**15, a name that a file cannot hold,
            a path that cannot be written.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from hwcost.importers.lists import read_layers
    >>> network = Network.of_layers("net", {"conv": Conv2d(3, 8, 3, height=9, width=9, stride=(1, 2))})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.csv")
    ...     _ = write_layers(path, network)
    ...     print(Path(path).read_text().rstrip())
    ...     read_layers(path)["conv"] == network["conv"]
    name,kind,k,c,f,h,w,stride,padding
    conv,conv2d,3,3,8,9,9,1x2,0
    True
    """
    name = os.fspath(path)
    rows, products = _rows_of(network)
    notes = (*left_out(network), *([f"{_named(products)} written as matrix products"] if products else []))
    text = _toml(network.name, rows) if name.lower().endswith(".toml") else _csv(rows)
    write_given(name, text.encode(), "the file")
    return notes


def left_out(network: Network) -> Iterator[str]:
    """Remarks on what a list of layers cannot hold of a network.

    Raises:
        InvalidValueError: a network without priced layers.
    """
    if not network.priced:
        raise InvalidValueError("the number of layers to write", 0, "a network with at least one layer that is priced")
    free, missing = tuple(network.memory_only), tuple(network.unsupported)
    if free:
        yield f"{_named(free)} left out: without products"
    if missing:
        yield f"{_named(missing)} left out: not supported"


def _named(names: Sequence[str]) -> str:
    return f"{shortlist(names, _NAMED)} {be(len(names))}"


def _rows_of(network: Network) -> tuple[list[Row], list[str]]:
    """A row for each layer, and the names of the layers that are written as products."""
    rows: list[Row] = []
    products: list[str] = []
    taken = UniqueNames()
    for name in network.priced:
        taken(name)
    for name, operation in network.priced.items():
        if not name.isprintable() or name != name.strip() or not name:
            raise InvalidValueError("the name of a layer", name, "printable text without spaces around it")
        of_kind = _ROWS.get(type(operation.layer))
        gemms = [operation.layer] if of_kind else operation.layer.gemms()
        if of_kind is None:
            products.append(name)
        names = (name, *(taken(name) for _ in gemms[1:]))
        for each, layer in zip(names, gemms, strict=True):
            row = {"name": each} | (of_kind or _gemm)(layer)
            _check_sizes(name, row)
            rows.append(row)
    return rows, products


def _check_sizes(name: str, row: Row) -> None:
    for key, size in row.items():
        if key in ("name", "kind") or isinstance(size, str):
            continue
        for each in size if isinstance(size, tuple) else (size,):
            if not is_number(each) or each != int(each) or each > LARGEST:
                raise InvalidValueError(f"layer {name!r}: {key}", each, f"one integer up to {LARGEST:g}")


def _conv(layer: Conv2d) -> Row:
    k1, k2 = layer.kernel_size
    depthwise = is_number(layer.out_channels) and layer.is_depthwise and layer.out_channels == layer.in_channels
    return {
        "kind": "depthwise" if depthwise else "conv2d",
        **({"k": k1} if is_number(k1) and is_number(k2) and k1 == k2 else {"k1": k1, "k2": k2}),
        "c": layer.in_channels,
        **({} if depthwise else {"f": layer.out_channels}),
        "h": layer.height,
        "w": layer.width,
        **_unless_1("batch", layer.batch),
        **_unless_1("stride", layer.stride),
        "padding": _one_or_pair(layer.padding),
        **_unless_1("dilation", layer.dilation),
        **({} if depthwise else _unless_1("groups", layer.groups)),
    }


def _one_or_pair(size: Any) -> Any:
    return size[0] if isinstance(size, tuple) and all(map(is_number, size)) and size[0] == size[1] else size


def _unless_1(name: str, size: Any) -> Row:
    size = _one_or_pair(size)
    return {} if is_number(size) and size == 1 else {name: size}


def _linear(layer: Linear) -> Row:
    return {"kind": "linear", "c": layer.in_features, "f": layer.out_features, **_unless_1("batch", layer.batch)}


def _matmul(layer: MatMul) -> Row:
    sizes = {"m": layer.m, "n": layer.n, "k": layer.k, **_unless_1("batch", layer.batch)}
    return {"kind": "matmul", **sizes, **_sharing(layer)}


def _sharing(layer: MatMul | Gemm) -> Row:
    weights, inputs = layer.weights_shared_by, layer.inputs_shared_by
    return _unless_1("weights_shared_by", weights) | _unless_1("inputs_shared_by", inputs)


def _gemm(gemm: Gemm) -> Row:
    if not is_zero(gemm.of_activations):
        return _matmul(MatMul(gemm.m, gemm.n, gemm.k, gemm.count, gemm.weights_shared_by, gemm.inputs_shared_by))
    sizes = {"m": gemm.m, "n": gemm.n, "k": gemm.k, **_unless_1("count", gemm.count)}
    tensors = {"window": gemm.window, "inputs": gemm.inputs}
    return {"kind": "gemm", **sizes, **{name: each for name, each in tensors.items() if each}, **_sharing(gemm)}


_ROWS: Mapping[type, Any] = {Conv2d: _conv, Linear: _linear, MatMul: _matmul, Gemm: _gemm}


def _csv(rows: Sequence[Row]) -> str:
    columns = [column for column in _COLUMNS if any(column in row for row in rows)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    cells = ([row.get(column, "") for column in columns] for row in rows)
    writer.writerows([_cell(cell) for cell in row] for row in cells)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return (
        "x".join(map(str, value)) if isinstance(value, tuple) else as_cell(value) if isinstance(value, str) else value
    )


def _toml(name: str, rows: Iterable[Row]) -> str:
    from hwcost._version import __version__

    head = f'schema = "{SCHEMA}"\nversion = {_toml_value(__version__)}\nname = {_toml_value(name)}\n'
    tables = ("".join(f"{key} = {_toml_value(value)}\n" for key, value in row.items()) for row in rows)
    return head + "".join(f"\n[[layer]]\n{table}" for table in tables)


def _toml_value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    if not isinstance(value, str):
        return str(value)
    escaped = re.sub(r'[\x00-\x1f\x7f"\\]', lambda match: f"\\u{ord(match[0]):04x}", value)
    return f'"{escaped}"'
