"""The output of ``hwcost advise`` apart from its table: JSON, CSV, and the result of an application."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hwcost.advice.shown import amount, unit_word
from hwcost.cli.shared.documents import csv_document, json_document
from hwcost.cli.shared.networks import changed_lines

if TYPE_CHECKING:
    from hwcost.advice import Advice

__all__ = ["as_csv", "as_json", "checked"]

SCHEMA = "hwcost.advise/1"


def as_json(advice: Advice, check: Mapping[str, Any] | None, written: str | None) -> str:
    """The advice as one document."""
    return json_document(SCHEMA, {**advice.as_dict(), "applied": check, "file": written})


def as_csv(advice: Advice, sizes: Mapping[str, int]) -> str:
    """A row per width, with the size that a budget or the caller takes."""
    rows = [row | {"taken": sizes.get(row["width"], row["size"])} for row in advice.records()]
    return csv_document(SCHEMA, rows, () if rows else ("width",))


def checked(check: Mapping[str, Any]) -> Iterator[str]:
    """What a module takes that was rebuilt with other widths, and what was changed in it."""
    measure = str(check["measure"])
    predicted, rebuilt = (amount(check[f"{name}_{measure}"], measure) for name in ("predicted", "rebuilt"))
    yield f"applied: predicted {predicted}{unit_word(measure)}, rebuilt and priced {rebuilt}"
    yield from changed_lines(check["changes"])
