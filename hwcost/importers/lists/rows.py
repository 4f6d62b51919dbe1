"""Layers as rows of files: the kinds of rows, and the rows of a CSV file.

Column ``kind`` gives the kind of layer; the sizes have the names of the command line:

    conv2d      k (or k1, k2), c, f, h, w; batch, stride (or stride_h, stride_w), padding, groups, dilation
    depthwise   k (or k1, k2), c, h, w; f (the same as c), batch, stride, padding, dilation
    linear      c, f; batch
    gemm        m, n, k; count, window, inputs, weights_shared_by, inputs_shared_by
    matmul      m, n, k; batch, weights_shared_by, inputs_shared_by
    memory      reads, writes: elements of an operation without products, such as an addition or a pooling

Stride, padding and dilation may be a pair, as ``1x2``. Padding is "same" by default. ``window`` holds the sizes of a
kernel that k goes over, ``inputs`` those of the input tensor if windows overlap, as ``1x3x224x224``.
``weights_shared_by`` is the number of consecutive products with the same weights, as queries of a group share keys.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

from hwcost.errors import MISSING, InvalidValueError
from hwcost.files import read_given
from hwcost.model.gemm import Gemm
from hwcost.model.layers import Conv2d, Layer, Linear, MatMul
from hwcost.network.operations import MemoryOnly

__all__ = [
    "KINDS", "LARGEST", "SIZES", "by_column", "csv_rows", "kinds_of_faults", "read_number", "read_row", "read_size",
    "read_text", "with_others",
]  # fmt: skip

LARGEST = 10**15
"""The largest size of a row: beyond it, spreadsheets and floats no longer hold every integer."""
MOST_ROWS = 1_000_000
_MOST_BYTES = 2**28

_PLACE = re.compile(r", (?:line|layer) \d+(?: \('[^']*'\))?")
"""A row of a file in an error."""

Sizes: TypeAlias = dict[str, Any]


def _conv(sizes: Sizes) -> Layer:
    stride = sizes.get("stride", 1)
    high, wide = stride if isinstance(stride, tuple) else (stride, stride)
    return Conv2d(
        sizes["c"],
        sizes["f"],
        (sizes["k1"], sizes["k2"]),
        height=sizes["h"],
        width=sizes["w"],
        batch=sizes.get("batch", 1),
        stride=(sizes.get("stride_h", high), sizes.get("stride_w", wide)),
        padding=sizes.get("padding", "same"),
        dilation=sizes.get("dilation", 1),
        groups=sizes.get("groups", 1),
    )


_STRIDES = ("stride", "stride_h", "stride_w")
_SHARING = ("weights_shared_by", "inputs_shared_by")
KINDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], Callable[[Sizes], Layer]]] = MappingProxyType(
    {
        "conv2d": (("k", "c", "f", "h", "w"), ("k1", "k2", "batch", *_STRIDES, "groups", "dilation", "padding"), _conv),
        "depthwise": (
            ("k", "c", "h", "w"),
            ("k1", "k2", "f", "batch", *_STRIDES, "dilation", "padding"),
            lambda sizes: _conv(sizes | {"f": sizes["c"], "groups": sizes["c"]}),
        ),
        "linear": (("c", "f"), ("batch",), lambda sizes: Linear(sizes["c"], sizes["f"], batch=sizes.get("batch", 1))),
        "gemm": (("m", "n", "k"), ("count", "window", "inputs", *_SHARING), lambda sizes: Gemm(**sizes)),
        "matmul": (("m", "n", "k"), ("batch", *_SHARING), lambda sizes: MatMul(**sizes)),
        "memory": (("reads", "writes"), (), lambda sizes: MemoryOnly("memory", **sizes)),
    }
)
"""Every kind of row: the sizes that it needs, those that it may have, and the layer that it makes of them."""

SIZES = frozenset().union(*((*needed, *more) for needed, more, _ in KINDS.values()))
"""The names of all sizes."""


def read_row(row: Mapping[str, str], source: str) -> Layer:
    """The layer that a row is.

    Args:
        row: the cells by column; empty ones and columns that are not sizes are ignored.
        source: its place, for errors, as "layers.csv, line 3".

    Raises:
        InvalidValueError: an unknown kind, a size that is missing, that the kind does not have or that is not one,
            sizes that do not go together.

    >>> read_row({"kind": "linear", "c": "400", "f": "120"}, "here")
    Linear(in_features=400, out_features=120, batch=1)
    >>> read_row({"kind": "linear", "c": "400", "f": "-1"}, "here")
    Traceback (most recent call last):
    ...
    hwcost.errors.InvalidValueError: here: Linear.out_features is -1; allowed: an integer of at least 1
    """
    kind = row.get("kind", "").lower()
    if kind not in KINDS:
        raise InvalidValueError(f"{source}: kind", row.get("kind") or MISSING, KINDS)
    needed, optional, make = KINDS[kind]
    for name, text in row.items():
        if text and name in SIZES and name not in (*needed, *optional):
            raise InvalidValueError(f"{source}: {name}", text, "leave it empty", reason=f"{kind} does not have it")
    given = [name for name in (*needed, *optional) if row.get(name)]
    sizes: Sizes = {name: _READERS.get(name, read_size)(row[name], f"{source}: {name}") for name in given}
    if "k1" in optional:
        needed = (*_spread_kernel(sizes, row, source), *(name for name in needed if name != "k"))
    for name in needed:
        if name not in sizes:
            raise InvalidValueError(f"{source}: {name}", MISSING, f"an integer, since {kind} needs it")
    if kind == "depthwise" and sizes.get("f", sizes["c"]) != sizes["c"]:
        allowed = f"{sizes['c']}, since depthwise has as many filters as channels, or leave it empty"
        raise InvalidValueError(f"{source}: f", row["f"], allowed)
    try:
        return make(sizes)
    except InvalidValueError as error:
        allowed = error.allowed.removesuffix(", or an array of them")
        raise error.at(f"{source}: {error.field}", allowed=allowed) from None


def _spread_kernel(sizes: Sizes, row: Mapping[str, str], source: str) -> tuple[str, str]:
    """Sets both sides of a kernel if one size is given; returns their names."""
    for part in ("k1", "k2"):
        if part in sizes and "k" in sizes:
            reason = "k is given, which is both k1 and k2"
            raise InvalidValueError(f"{source}: {part}", row[part], "leave it empty", reason=reason)
        if "k" in sizes:
            sizes[part] = sizes["k"]
    return "k1", "k2"


def read_size(text: str, place: str) -> int:
    """An integer; zeros after a decimal point are fine, since spreadsheets write them.

    Raises:
        InvalidValueError: anything else, or a number above :data:`LARGEST`; the layer checks which are too small.
    """
    number = read_number(text, place)
    if not number.is_integer() or number > LARGEST:
        raise InvalidValueError(place, text, f"an integer up to {LARGEST:g}")
    return int(number)


def read_number(text: str, place: str) -> float:
    """A finite number.

    Raises:
        InvalidValueError: anything else.
    """
    try:
        number = math.nan if "_" in text or not text.isascii() else float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidValueError(place, text, "a finite number")
    return number


def _several(text: str, place: str) -> tuple[int, ...]:
    return tuple(read_size(part.strip(), place) for part in text.lower().split("x"))


def _one_or_pair(text: str, place: str) -> int | tuple[int, ...]:
    if "x" not in text.lower():
        return read_size(text, place)
    pair = _several(text, place)
    if len(pair) != 2:
        raise InvalidValueError(place, text, "an integer, or a pair like 1x2")
    return pair


def _padding(text: str, place: str) -> str | int | tuple[int, ...]:
    return text if text in ("same", "valid") else _one_or_pair(text, place)


_READERS: Mapping[str, Callable[[str, str], Any]] = MappingProxyType(
    {
        "stride": _one_or_pair,
        "dilation": _one_or_pair,
        "padding": _padding,
        "window": _several,
        "inputs": _several,
    }
)


def read_text(name: str, what: str) -> str:
    """The text of a file; ``what`` is its content, for errors, as "the file of measurements".

    Raises:
        InvalidValueError: a file that cannot be read or is not UTF-8.
    """
    try:
        return read_given(name, _MOST_BYTES, what).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidValueError(name, name, "save it as UTF-8", reason="it is not a text in UTF-8") from None


def csv_rows(name: str, what: str) -> Iterator[tuple[int, list[str]]]:
    """The header in lower case and all rows that are not empty, each with its line number.

    Args:
        name: of the file.
        what: its content, for errors.

    Raises:
        InvalidValueError: as :func:`read_text`; no comma-separated values, too many rows, a column twice.
    """
    reader = csv.reader(io.StringIO(read_text(name, what), newline=""), strict=True)
    header: list[str] = []
    try:
        for count, cells in enumerate(reader):
            texts = [cell.strip() for cell in cells]
            if not any(texts):
                continue
            if count > MOST_ROWS:
                raise InvalidValueError(f"{name}: the number of rows", count, f"at most {MOST_ROWS}")
            if not header:
                texts = header = [text.lower() for text in texts]
                for column in header:
                    if not column or header.count(column) > 1:
                        allowed = "give each column another name"
                        reason = f"the column {column!r} is there twice" if column else "a column has no name"
                        raise InvalidValueError(f"{name}: the header", column, allowed, reason=reason)
            yield reader.line_num, texts
    except csv.Error as error:
        allowed, where = "write comma-separated values", f"{name}, line {reader.line_num}"
        raise InvalidValueError(where, name, allowed, reason=str(error)) from None


def by_column(header: Sequence[str], row: Sequence[str], source: str) -> dict[str, str]:
    """The cells of a row by column.

    Raises:
        InvalidValueError: more or fewer cells than columns.
    """
    if len(row) != len(header):
        raise InvalidValueError(f"{source}: the number of cells", len(row), f"{len(header)}, as in the header")
    return dict(zip(header, row, strict=True))


def kinds_of_faults(texts: Iterable[str]) -> dict[int, int]:
    """Of faults of rows that differ in the row alone, the index of the first, and the number of the others.

    >>> kinds_of_faults(["net.csv, line 2: kind is 'fc'", "net.csv, line 3: c is 0", "net.csv, line 4: kind is 'fc'"])
    {0: 1, 1: 0}
    """
    first: dict[str, int] = {}
    found: dict[int, int] = {}
    for index, text in enumerate(texts):
        place = first.setdefault(_PLACE.sub("", text, count=1), index)
        found[place] = found.get(place, -1) + 1
    return found


def with_others(text: str, others: int) -> str:
    """The fault of a row, or its place, with the number of other rows that have the same.

    >>> with_others("net.csv, line 2: kind", 11)
    'net.csv, line 2 and 11 more: kind'
    """
    return _PLACE.sub(lambda found: f"{found[0]} and {others} more", text, count=1) if others else text
