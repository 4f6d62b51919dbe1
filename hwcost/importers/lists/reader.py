"""Lists of layers: CSV with a column ``kind``, TOML with a table for each layer, and SCALE-Sim topologies.

The columns and keys are those of ``hwcost.importers.lists.rows``, ``name`` (a module path with points) and ``count``,
the number of times that the layer runs; ``name = "net"`` above the tables of a TOML file names the network.
A list does not state how layers connect, so no layer shares a width.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from hwcost.errors import Faults, InvalidValueError, check_all, check_one_of, unknown
from hwcost.files import read_given, toml_of
from hwcost.importers.lists.rows import (
    KINDS,
    SIZES,
    by_column,
    csv_rows,
    kinds_of_faults,
    read_row,
    read_size,
    with_others,
)
from hwcost.importers.lists.writing import SCHEMA
from hwcost.importers.naming import UniqueNames
from hwcost.machine.array import SystolicArray
from hwcost.model.layers import Layer
from hwcost.network.network import UNCONNECTED, Network
from hwcost.network.operations import Operation, SizeExpression, Width
from hwcost.scalesim import TopologyLayer, read_topology
from hwcost.units import of_cell

__all__ = ["read_layers"]

_MOST_BYTES = 2**26
_MOST_LAYERS = 100_000
_MOST_TOLD = 20
"""Faults of a file from which on the others are left for another time."""
_TABLES = ("schema", "version", "name", "layer")
_KEYS = ("kind", "name", *sorted(SIZES))
_MEASURED = frozenset({"cycles", "seconds", "ms", "us", "ns"})
_ASIDE = frozenset({"comment", "comments", "note", "notes", "network", "run"})
_OF_DEVICES = frozenset(f.name for f in fields(SystolicArray))
_ONLY_OURS = frozenset({"c", "f", "h", "w", "k1", "k2", "count"})


def read_layers(path: str | os.PathLike[str]) -> Network:
    r"""The network that a list of layers is.

    Args:
        path: of a TOML file, or of a CSV file: one with a column ``kind``, or a SCALE-Sim topology.

    Returns:
        The layers in order; if a name repeats, or a layer runs several times, the later ones get a number.

    Raises:
        InvalidValueError: a file that cannot be read or has no layers, an invalid row; with file, line or table, key,
            and the values allowed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.csv")
    ...     _ = Path(path).write_text("name,kind,c,f,count\nfc,linear,400,120,2\n")
    ...     network = read_layers(path)
    >>> list(network), network["fc"]
    (['fc', 'fc (2)'], Linear(in_features=400, out_features=120, batch=1))
    """
    name = os.fspath(path)
    if name.lower().endswith(".toml"):
        return _read_toml(name)
    header = _first_cells(name)
    if "kind" in header:
        return _read_csv(name)
    ours = [cell for cell in header if cell in _ONLY_OURS]
    if ours:
        reason = f"it has the column {ours[0]!r} of a list of layers, and no column 'kind'"
        allowed = f"add a column 'kind' ({', '.join(KINDS)})"
        raise InvalidValueError(f"{name}: the header", ", ".join(header), allowed, reason=reason)
    return _read_topology(name)


class _Entry(NamedTuple):
    """A row: its layer, the number of times that it runs, and its name, which may be empty."""

    layer: Layer
    times: int
    name: str


def _entry(row: Mapping[str, str], source: str) -> _Entry:
    """The ``count`` of a product is part of it; that of other layers is the number of times that they run."""
    is_product = row.get("kind", "").lower() == "gemm"
    count = "" if is_product else row.get("count", "")
    layer = read_row(row if is_product else {key: cell for key, cell in row.items() if key != "count"}, source)
    times = read_size(count, f"{source}: count") if count else 1
    if not 1 <= times <= _MOST_LAYERS:
        raise InvalidValueError(f"{source}: count", count, f"an integer from 1 to {_MOST_LAYERS}")
    return _Entry(layer, times, row.get("name", ""))


def _first_cells(name: str) -> list[str]:
    """The cells of the first line that is not empty, in lower case."""
    content = read_given(name, _MOST_BYTES, "the list of layers")
    text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", errors="replace")
    lines = (line for line in text.splitlines() if line.strip(' \t,;"'))
    first = next(lines, None)
    if first is None:
        allowed = "write rows below a header with a column 'kind', or a SCALE-Sim topology"
        raise InvalidValueError("the list of layers", name, allowed, reason=f"{name} is empty")
    return [cell.strip(' "').lower() for cell in re.split("[,;\t]", first)]


def _read_csv(name: str) -> Network:
    rows = csv_rows(name, "the list of layers")
    header = next(rows, (0, []))[1]
    if "kind" not in header:
        raise InvalidValueError(f"{name}: the header", ", ".join(header), "columns between commas, one of them 'kind'")
    notes = tuple(_check_columns(name, header))

    def entries() -> Iterator[Callable[[], _Entry]]:
        for line, row in rows:
            yield functools.partial(_csv_entry, header, row, f"{name}, line {line}")

    return _network(Path(name).stem, name, _all_of(entries()), notes)


def _csv_entry(header: Sequence[str], row: Sequence[str], source: str) -> _Entry:
    entry = _entry(by_column(header, row, source), source)
    return entry._replace(name=of_cell(entry.name))


def _all_of(entries: Iterable[Callable[[], _Entry]]) -> list[_Entry]:
    """The rows that functions return; raises the faults of all, each kind once, up to a number that can be read."""
    found, faults = [], Faults()
    with faults.caught():  # a fault of the file ends it
        for entry in entries:
            with faults.caught():
                found.append(entry())
    kinds = kinds_of_faults(map(str, faults.errors))
    errors = [(faults.errors[index], others) for index, others in itertools.islice(kinds.items(), _MOST_TOLD)]
    check_all(error.at(with_others(error.field, others)) for error, others in errors)
    return found


def _check_columns(name: str, header: Sequence[str]) -> Iterator[str]:
    """Raises if a column is unknown, since it may be a misspelt size; yields remarks on ignored columns."""
    is_measured, faults = bool(_MEASURED & set(header)), Faults()
    aside = _ASIDE | _MEASURED | (_OF_DEVICES | {"group"} if is_measured else frozenset())
    for column in header:
        if column in aside or column.startswith("#"):
            yield f"the column {column!r} is ignored"
        elif column not in _KEYS:
            faults.add(InvalidValueError(name, column, _KEYS, form=unknown("column")))
    faults.check()


def _read_toml(name: str) -> Network:
    document = toml_of(read_given(name, _MOST_BYTES, "the list of layers"), name)
    for key in document:
        check_one_of(name, key, _TABLES, what="key")
    if document.get("schema", SCHEMA) != SCHEMA:
        raise InvalidValueError(f"{name}: schema", document["schema"], repr(SCHEMA))
    title, tables = document.get("name", Path(name).stem), document.get("layer", [])
    if not isinstance(title, str) or not title:
        raise InvalidValueError(f"{name}: name", title, "a text")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InvalidValueError(f"{name}: layer", tables, "a table [[layer]] for each layer")
    entries = (functools.partial(_toml_entry, name, *numbered) for numbered in enumerate(tables, start=1))
    return _network(title, name, _all_of(entries))


def _toml_entry(name: str, number: int, table: Mapping[str, Any]) -> _Entry:
    called = table.get("name", "")
    source = f"{name}, layer {number}" + (f" ({called!r})" if isinstance(called, str) and called else "")
    for key in table:
        check_one_of(source, key, _KEYS, what="key")
    return _entry({key: _toml_text(key, value, f"{source}: {key}") for key, value in table.items()}, source)


def _toml_text(key: str, value: Any, place: str) -> str:
    """A value as the text of a cell."""
    if isinstance(value, str):
        if not value.strip():
            raise InvalidValueError(place, value, "a text that is not empty, or leave the key out")
        return value.strip()
    numbers = value if isinstance(value, list) else [value]
    if key in ("kind", "name") or not numbers or any(type(number) not in (int, float) for number in numbers):
        raise InvalidValueError(place, value, "a text" if key in ("kind", "name") else "an integer")
    return "x".join(map(str, numbers))


def _read_topology(name: str) -> Network:
    try:
        topology = read_topology(name)
    except InvalidValueError as error:
        allowed = f"{error.allowed} (read as a SCALE-Sim topology, since no header has a column 'kind')"
        raise error.at(error.field, allowed=allowed) from None
    entries = [_Entry(layer, 1, layer.name) for layer in topology.layers]
    return _network(topology.name, name, entries, topology.notes)


def _topology_widths(name: str, layer: TopologyLayer) -> tuple[dict[str, Width], dict[str, SizeExpression]]:
    """Filters and channels; the channels of a depthwise row are its count, those of a product its pixels in a row."""
    is_product = (layer.kernel_height, layer.kernel_width, layer.channels) == (1, layer.width, 1)
    inner = ("count",) if layer.count > 1 else ("width", "kernel_width") if is_product else ("channels",)
    follows: dict[str, tuple[str, ...]] = {"channels": inner, "filters": ("filters",)}
    widths = {f"{name}.{width}": Width(getattr(layer, of[0])) for width, of in follows.items()}
    rules: dict[str, SizeExpression] = {
        field: ((f"{name}.{width}", Fraction(1)),) for width, of in follows.items() for field in of
    }
    return widths, rules


def _network(title: str, name: str, entries: Sequence[_Entry], notes: tuple[str, ...] = ()) -> Network:
    total = sum(entry.times for entry in entries)
    if not 1 <= total <= _MOST_LAYERS:
        raise InvalidValueError(
            f"{name}: the number of layers", total, f"from 1 to {_MOST_LAYERS}, as rows or tables [[layer]]"
        )
    unique = UniqueNames()
    named = [
        [unique(entry.name or f"layer {number}") for _ in range(entry.times)]
        for number, entry in enumerate(entries, start=1)
    ]
    firsts = {names[0]: entry.layer for names, entry in zip(named, entries, strict=True)}
    network = Network.of_layers(title, firsts, notes=notes)
    operations: dict[str, Operation] = {}
    widths = dict(network.widths)
    for first, *others in named:
        operation = network.operations[first]
        layer, rules = operation.layer, dict(operation.sizes)
        if isinstance(layer, TopologyLayer):
            own, rules = _topology_widths(first, layer)
            widths |= own
        operation = Operation(layer, kind=operation.kind, path=_path_of(first), sizes=rules)
        operations |= dict.fromkeys((first, *others), operation)
    notes = network.notes if UNCONNECTED in network.notes or not widths else (*network.notes, UNCONNECTED)
    return dataclasses.replace(network, operations=operations, widths=widths, notes=notes, source=name)


def _path_of(name: str) -> str:
    """The module in a name: without the number of a repeat, and without the part after a colon.

    >>> _path_of("encoder.0 (2)"), _path_of("encoder.attention:scores")
    ('encoder.0', 'encoder.attention')
    """
    path = re.sub(r" \([0-9]+\)$", "", name)
    return path.partition(":")[0].strip() or path
