"""Tables of rows that ship, and rows of the caller's: what a field of a machine may name or hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from hwcost.arrays import Table, as_quantity
from hwcost.errors import InvalidValueError, check_one_of, raised
from hwcost.machine.fields import Kind

__all__ = ["Row", "called", "check_name", "figure", "resolved", "row_of", "table", "with_rows"]

_R = TypeVar("_R", bound="Row")


def check_name(value: object, place: str) -> None:
    """Raises unless the value is a name that reports can print."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidValueError(place, value, "a text that is not empty")


def called(row: Row, function: str, argument: object) -> Any:
    """What a function of a caller's row returns; the error names the row if it raises one."""
    try:
        return getattr(row, function)(argument)
    except Exception as error:
        raise raised(f"{type(row).__name__}.{function} of {row.name!r}", getattr(row, function), error) from error


def figure(row: Row, function: str, argument: object) -> Any:
    """What a function of a caller's row returns, which is a number of at least 0, or an array of them."""
    result = called(row, function, argument)
    as_quantity(result, f"{type(row).__name__}.{function} of {row.name!r}")
    return result


@dataclass(frozen=True)
class Row:
    """Base of the rows of tables: a name for reports, and functions.

    Attributes:
        functions: the fields that hold a function, each with its argument and result in words.

    Raises:
        InvalidValueError: an empty name, or something that cannot be called in place of a function.
    """

    functions: ClassVar[Mapping[str, str]] = Table({})
    name: str

    def __post_init__(self) -> None:
        kind = type(self).__name__
        check_name(self.name, f"{kind}.name")
        for name, words in self.functions.items():
            if not callable(value := getattr(self, name)):
                raise InvalidValueError(f"{kind}.{name}", value, f"a function of {words}")

    def __str__(self) -> str:
        return self.name


def table(*rows: _R) -> Mapping[str, _R]:
    """A read-only table of rows by name."""
    return Table({row.name: row for row in rows})


def resolved(rows: Mapping[str, _R], value: str | _R) -> _R:
    """The row that a field names, or that it holds."""
    return rows[value] if isinstance(value, str) else value


def row_of(rows: Mapping[str, Any], kind: type[Row]) -> Kind:
    """The name of a row of a table that ships, or a row of the caller's."""

    def check(value: Any, place: str, unit: str) -> Any:
        if isinstance(value, kind):
            if value == rows.get(value.name):
                return value.name
            if value.name in rows:
                allowed = f"a name other than those that ship: {', '.join(rows)}"
                raise InvalidValueError(f"{place}.name", value.name, allowed)
            return value
        check_one_of(place, value, rows, f"; or {'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}")
        return value

    return Kind(check, (str,), "a text in quotes", names=tuple(rows), rows=(kind,))


def with_rows(content: Mapping[str, Any], kinds: Mapping[str, Kind], rows: Sequence[Row]) -> dict[str, Any]:
    """Values by field; where ``rows`` has one that the field takes, the row takes the place of its name.

    >>> kinds = {"row": row_of({}, Row)}
    >>> with_rows({"row": "mine", "rows": 8}, kinds, [Row("mine")])
    {'row': Row(name='mine'), 'rows': 8}
    """
    found = dict(content)
    for field in kinds.keys() & found.keys():
        known = {row.name: row for row in rows if isinstance(row, kinds[field].rows)}
        value = found[field]
        found[field] = tuple(known.get(v, v) for v in value) if isinstance(value, list) else known.get(value, value)
    return found
