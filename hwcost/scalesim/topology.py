"""SCALE-Sim's topologies: the layers of a network, one per row, read and written.

SCALE-Sim splits rows at commas and drops the text after the last one, so files without a trailing comma, with tabs or
with extra columns do not load there. They load here if their meaning is unambiguous. A row that cannot be read is an
error that names the line; no row is skipped.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

from hwcost.errors import MISSING, InvalidValueError, check_one_of
from hwcost.scalesim.files import INTEGER_ALLOWED, PathLike, integer, read_text, size, write_text
from hwcost.scalesim.layers import TopologyLayer
from hwcost.units import as_cell, of_cell

__all__ = ["Topology", "read_topology", "write_topology"]

Kind: TypeAlias = Literal["conv", "gemm"]

_CONV = ("IFMAP Height", "IFMAP Width", "Filter Height", "Filter Width", "Channels", "Num Filter", "Strides")
_GEMM = ("M", "N", "K")
_COLUMNS: Mapping[Kind, tuple[str, ...]] = MappingProxyType({"conv": _CONV, "gemm": _GEMM})
_DEPTHWISE = "DP"
_RATIO = re.compile(r"[0-9]{1,9}(\s*:\s*[0-9]{1,9})?", re.ASCII)


@dataclass(frozen=True)
class Topology:
    """The layers of a network, in order.

    Attributes:
        name: of the file, without its folder and suffix.
        kind: "conv" or "gemm".
        layers: one for each row. Names may repeat, as they do in files.
        notes: remarks on how the source was interpreted; empty if there are none.
    """

    name: str
    kind: Kind
    layers: tuple[TopologyLayer, ...]
    notes: tuple[str, ...] = ()

    def by_name(self) -> dict[str, TopologyLayer]:
        """The layers by names that differ from each other: a repeated name gets a number.

        >>> layer = TopologyLayer.product("fc", m=1, n=2, k=3)
        >>> list(Topology("net", "gemm", (layer, layer)).by_name())
        ['fc', 'fc (2)']
        """
        named: dict[str, TopologyLayer] = {}
        for layer in self.layers:
            name, again = layer.name, 1
            while name in named:
                again += 1
                name = f"{layer.name} ({again})"
            named[name] = layer
        return named


def read_topology(path: PathLike, kind: Kind | None = None) -> Topology:
    """The layers of a topology file.

    A file is UTF-8 (or UTF-16 with a byte order mark), its cells between commas, tabs or semicolons, quoted or not.

    - Empty rows are left out, and so are rows that start with "#", with a note. A cell that starts with "#" ends its
      row.
    - Rows without numbers above the headings are titles. If no headings are recognised, the first row may be one
      without numbers. Every further row is a layer, or repeats the headings.
    - Cells after those that a layer needs are read by their headings: a second stride; a sparsity ratio, of no effect;
      a batch size, groups or dilation, which must be 1; a padding, which must be 0. Cells under other headings are
      ignored, with a note. A cell without a heading must be a ratio, or repeat the stride.
    - A convolution whose name contains "DP" is depthwise, as in SCALE-Sim: ``channels`` layers of one channel each.

    Args:
        path: of the file.
        kind: "conv" or "gemm"; found from the headings, or else from the number of columns.

    Raises:
        InvalidValueError: a file that cannot be read or has no layers, or a row that is not understood; with file,
            line, value and what is allowed.
    """
    path = Path(path)
    if kind is not None:
        check_one_of("kind", kind, _COLUMNS, "; or None")
    found = list(_rows(path))
    headings, rows = _headings(path, [row for row in found if row.cells])
    if not rows:
        reason = "it has headings only" if headings.cells else "it is empty"
        raise InvalidValueError(
            f"the topology {path}", "", "give each layer a row with a name and sizes", reason=reason
        )
    kind = _kind(path, kind, headings, rows[0])
    _check_order(path, kind, headings)
    reader = _RowReader(path, kind, headings.cells)
    reader.notes += [f'line {row.line} starts with "#" and is left out' for row in found if not row.cells]
    layers = tuple(reader.layer(row) for row in rows)
    return Topology(path.stem, kind, layers, tuple(reader.notes))


@dataclass(frozen=True)
class _Row:
    """The cells of a line, which counts from 1."""

    line: int
    cells: tuple[str, ...]

    @property
    def has_numbers(self) -> bool:
        return any(integer(cell) is not None for cell in self.cells[1:])

    @property
    def known_headings(self) -> int:
        return sum(_heading(cell) != "" for cell in self.cells[1:])


def _rows(path: Path) -> Iterator[_Row]:
    """The rows that are not empty; those that are a comment have no cells."""
    for number, line in enumerate(re.split(r"\r\n|\r|\n", read_text(path, "topology")), start=1):
        delimiter = next((mark for mark in ",\t;" if mark in line), ",")
        tight = re.sub(rf'" +(?={delimiter}|$)', '"', line)  # csv needs the delimiter right after a quote
        try:
            cells = next(csv.reader([tight], delimiter=delimiter, skipinitialspace=True, strict=True), [])
        except csv.Error:
            raise InvalidValueError(f"{path}, line {number},", line, "cells whose quotes are closed") from None
        cells = [cell.strip() for cell in cells]
        comment = next((index for index, cell in enumerate(cells) if cell.startswith("#")), len(cells))
        cells = cells[:comment]
        while cells and not cells[-1]:
            cells.pop()
        if cells or comment == 0 < len(line.strip()):
            yield _Row(number, tuple(cells))


_HEADINGS = (
    (r"[mnk]", r"\g<0>"),
    (r"(ifmap|input).*", "ifmap"),
    (r"(stride|stride ?h|stride height|strides)", "stride"),
    (r"(stride ?w|stride width|strides? ?2)", "stride width"),
    (r"num(ber)?( of)? ?filters?|filters?", "filters"),
    (r"filt(er)?s? ?(h|w|height|width)", "filter"),
    (r"(num ?)?channels?", "channels"),
    (r"spars(e|ity).*", "sparsity"),
    (r"batch.*", "batch"),
    (r"pad(ding)?s?.*", "padding"),
    (r"dilations?.*", "dilation"),
    (r"groups?", "groups"),
)
"""What a heading means, by the first of the patterns that it fits."""

_MUST_BE = MappingProxyType({"batch": "1", "groups": "1", "dilation": "1", "padding": "0"})


def _heading(cell: str) -> str:
    """The meaning of a heading; empty if it is unknown.

    >>> _heading("IFMAP Height"), _heading("Num Filter"), _heading("M"), _heading("Eh")
    ('ifmap', 'filters', 'm', '')
    """
    text = " ".join(re.sub(r"[_\-.()]+", " ", cell.lower()).split())
    return next((match.expand(meaning) for form, meaning in _HEADINGS if (match := re.fullmatch(form, text))), "")


def _headings(path: Path, rows: Sequence[_Row]) -> tuple[_Row, Sequence[_Row]]:
    """The row of headings, without cells if the file has none, and the rows of layers."""
    found = next((i for i, row in enumerate(rows) if row.has_numbers or row.known_headings >= 3), len(rows))
    if found < len(rows) and not rows[found].has_numbers:
        headings = rows[found]
        return headings, [row for row in rows[found + 1 :] if row.cells != headings.cells]
    if found > 1:
        row = rows[1]
        examples = " or ".join(repr(", ".join(("Layer", *columns))) for columns in _COLUMNS.values())
        raise InvalidValueError(f"{path}, line {row.line},", ", ".join(row.cells), f"headings like {examples}")
    return (rows[0], rows[1:]) if found else (_Row(0, ()), rows)


def _kind(path: Path, asked: Kind | None, headings: _Row, first: _Row) -> Kind:
    meanings = {_heading(cell) for cell in headings.cells[1:]}
    found: Kind | None = "gemm" if {"m", "n", "k"} <= meanings else "conv" if {"ifmap", "filter"} & meanings else None
    if found and asked and found != asked:
        where = f"the headings of {path}, line {headings.line},"
        raise InvalidValueError(where, ", ".join(headings.cells), f"those of a {asked} topology, or kind={found!r}")
    if kind := found or asked:
        return kind
    numbers = sum(cell != "" for cell in first.cells[1:])
    if numbers in (3, 4):
        return "gemm"
    if numbers >= len(_CONV):
        return "conv"
    allowed = "3 sizes of a product or 7 of a convolution after a name; or pass kind"
    raise InvalidValueError(f"{path}, line {first.line},", ", ".join(first.cells), allowed)


def _check_order(path: Path, kind: Kind, headings: _Row) -> None:
    """Raises if known headings are in another order than the columns."""
    for index, column in enumerate(_COLUMNS[kind], start=1):
        cell = headings.cells[index] if index < len(headings.cells) else ""
        other = "width" if "height" in column.lower() else "height" if "width" in column.lower() else ""
        follows = headings.cells[index + 1] if index + 1 < len(headings.cells) else ""
        swapped = other == "width" and "width" in cell.lower() and "height" in follows.lower()
        meaning = _heading(cell)
        is_letter = kind == "conv" and len(meaning) == 1  # such as K for filters, in another notation
        if swapped or (meaning not in ("", _heading(column)) and not is_letter):
            where = f"column {index + 1} of {path}, line {headings.line},"
            raise InvalidValueError(where, cell, f"{column!r}, in the order {', '.join(_COLUMNS[kind])}")


class _RowReader:
    """Rows of one file as layers, and remarks on them."""

    def __init__(self, path: Path, kind: Kind, headings: Sequence[str]) -> None:
        self.path, self.kind = path, kind
        self.columns, self.headings = _COLUMNS[kind], headings
        self.notes: list[str] = []

    def layer(self, row: _Row) -> TopologyLayer:
        sizes = [self._size(row, index) for index in range(1, len(self.columns) + 1)]
        stride_width = self._extras(row, sizes[-1])
        name = of_cell(row.cells[0])
        try:
            if self.kind == "gemm":
                m, n, k = sizes
                return TopologyLayer.product(name, m=m, n=n, k=k)
            height, width, kernel_height, kernel_width, channels, filters, stride = sizes
            count = channels if _DEPTHWISE in name else 1
            if count > 1:
                self._note(f"layers whose name contains {_DEPTHWISE} are depthwise: one layer for each channel")
                channels = 1
            layer = TopologyLayer(
                name, height, width, kernel_height, kernel_width, channels, filters, stride, stride_width, count
            )
        except InvalidValueError as error:
            field = error.field.partition(".")[2].replace("_", " ")
            raise error.at(self._where(row, field)) from None
        return layer

    def _where(self, row: _Row, column: str) -> str:
        return f"{column} in {self.path}, line {row.line} ({row.cells[0] or 'no name'}),"

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _size(self, row: _Row, index: int) -> int:
        cell = row.cells[index] if index < len(row.cells) else ""
        found = size(cell)
        if found is None:
            column = self.columns[index - 1] if index <= len(self.columns) else self.headings[index]
            raise InvalidValueError(self._where(row, column), cell or MISSING, INTEGER_ALLOWED)
        return found

    def _extras(self, row: _Row, stride: int) -> int:
        """Reads the cells after the sizes; returns the second stride."""
        stride_width = stride
        for index in range(len(self.columns) + 1, len(row.cells)):
            cell = row.cells[index]
            heading = self.headings[index] if index < len(self.headings) else ""
            meaning = _heading(heading)
            if not cell:
                continue
            if meaning == "stride width" or (meaning == "stride" and index == len(self.columns) + 1):
                stride_width = self._size(row, index)
            elif meaning == "sparsity" or (not heading and ":" in cell):
                self._ratio(row, cell)
            elif meaning in _MUST_BE:
                self._neutral(row, cell, heading, _MUST_BE[meaning])
            elif heading and not meaning:
                self._note(f"the column {heading!r} is ignored")
            elif not (self.kind == "conv" and index == len(self.columns) + 1 and cell == str(stride)):
                where = self._where(row, f"column {index + 1} ({heading or 'without a heading'})")
                raise InvalidValueError(where, cell, "an empty cell, or a heading that names the column")
        return stride_width

    def _ratio(self, row: _Row, cell: str) -> None:
        if not _RATIO.fullmatch(cell):
            raise InvalidValueError(self._where(row, "the sparsity ratio"), cell, "a ratio like 2:4")
        self._note("sparsity ratios are ignored, as SCALE-Sim does while SparsitySupport is false")

    def _neutral(self, row: _Row, cell: str, heading: str, only: str) -> None:
        if integer(cell) != int(only):
            allowed = f"{only}: SCALE-Sim knows no other, and has no such column"
            raise InvalidValueError(self._where(row, heading), cell, allowed)


def write_topology(path: PathLike, topology: Topology) -> None:
    """Writes a topology that SCALE-Sim reads too, with a trailing comma in each row.

    Raises:
        InvalidValueError: a layer that the format cannot hold (a name with a comma or a quote, a second stride that
            differs from the first, a product whose sizes are not those of one), or a file that cannot be written.
    """
    rows = [("Layer name", *_COLUMNS[topology.kind])]
    for layer in topology.layers:
        _check_name(layer, topology.kind)
        rows.append((as_cell(layer.name), *map(str, _cells(layer, topology.kind))))
    write_text(path, "".join(f"{','.join(row)},\n" for row in rows))


def _check_name(layer: TopologyLayer, kind: Kind) -> None:
    name = layer.name
    if not name.isprintable() or name != name.strip() or re.search(r'[,;"#]', name):
        raise InvalidValueError("the name of a layer", name, "printable text without , ; # quotes and outer spaces")
    is_depthwise = kind == "conv" and _DEPTHWISE in name
    if layer.count != 1 and not is_depthwise:
        raise InvalidValueError("the name of a layer that counts more than once", name, f"one with {_DEPTHWISE} in it")
    if layer.channels != 1 and is_depthwise:
        raise InvalidValueError("the name of a layer with channels", name, f"one without {_DEPTHWISE}: not depthwise")


def _cells(layer: TopologyLayer, kind: Kind) -> tuple[int, ...]:
    if kind == "gemm":
        product = TopologyLayer.product(layer.name, m=layer.height, n=layer.filters, k=layer.width)
        if product != layer:
            raise InvalidValueError(f"layer {layer.name!r}", layer, "a product, as TopologyLayer.product makes it")
        return layer.height, layer.filters, layer.width
    if layer.stride_height != layer.stride_width:
        raise InvalidValueError(f"the second stride of {layer.name!r}", layer.stride_width, "the same as the first")
    sizes = (layer.height, layer.width, layer.kernel_height, layer.kernel_width)
    return (*sizes, layer.channels * layer.count, layer.filters, layer.stride_height)
