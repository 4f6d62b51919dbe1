"""Text for programs: JSON documents and CSV tables, whole or in blocks, each with its schema and the version."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hwcost._version import __version__
from hwcost.units import as_cell, printable

__all__ = ["csv_blocks", "csv_document", "json_blocks", "json_document"]


def json_document(schema: str, content: Mapping[str, Any], *, indent: int | None = 2) -> str:
    """The content as one JSON document, on one line if ``indent`` is None; no limit, which is infinite, is null."""
    import json

    return json.dumps({"schema": schema, "version": __version__, **_finite(content)}, indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and value == math.inf else value


def json_blocks(
    schema: str, head: Mapping[str, Any], names: Sequence[str], blocks: Iterable[Iterable[Sequence[Any]]]
) -> Iterator[str]:
    """A JSON document, in pieces: what comes before the rows, and one line per row from names and blocks of values."""
    import json

    encode, separator = json.JSONEncoder(allow_nan=False).encode, "\n    "
    yield json_document(schema, head)[:-2] + ',\n  "rows": ['
    for rows in blocks:
        yield separator + ",\n    ".join(encode(dict(zip(names, row, strict=True))) for row in rows)
        separator = ",\n    "
    yield "\n  ]\n}\n"


def csv_document(schema: str, rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> str:
    """A header with the names (by default those of the first row), and a line per row; None is an empty cell."""
    names = list(names or rows[0])
    cells = ([_cell(row.get(name)) for name in names] for row in rows)
    return "".join(csv_blocks({"schema": schema, "version": __version__}, names, [cells]))


def csv_blocks(
    constants: Mapping[str, Any], names: Sequence[str], blocks: Iterable[Iterable[Sequence[Any]]]
) -> Iterator[str]:
    """A header and a line per row, in pieces; the columns that are constant come first."""
    import csv
    import io

    first = tuple(map(_cell, constants.values()))
    for i, rows in enumerate(blocks):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if i == 0:
            writer.writerow((*constants, *names))
        writer.writerows((*first, *row) for row in rows)
        yield text.getvalue()


def _cell(value: Any) -> Any:
    return "" if value is None else as_cell(printable(value)) if isinstance(value, str) else value
