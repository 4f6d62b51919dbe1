"""A calibration for people: its errors, its numbers and how far the data determine them, forms, doubts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from operator import itemgetter
from typing import Any, TypeAlias

from hwcost.calibration.measurements import FIELDS
from hwcost.tables import Column, Document, Documents, even_percent
from hwcost.units import be, number, percent, plural, printable, with_unit

__all__ = ["document_of", "records_of"]

Calibration_: TypeAlias = Any
"""A Calibration, whose module imports this one."""

_TERMS = {
    "held out": "errors on measurements that the fit has not seen",
    "seen": "errors on those that it has",
    "1 sd": "one standard deviation by the data alone",
}


def document_of(found: Calibration_) -> Documents:
    """The tables of the calibration, and what is known of it in sentences."""
    forms = [_forms(found)] if found.forms else []
    return Documents([_errors(found), _numbers(found), *forms, Document(below=_known(found))])


def _errors(found: Calibration_) -> Document:
    of_form = f", form {found.form!r}" if found.form else ""
    numbers = plural(len(found.estimates), "number")
    both = found.scores, found.scores_seen
    rows = [(words, *(f"{percent(getattr(each, name), 2)} %" for each in both))
            for words, name in (("mean error", "mape"), ("median error", "median"))]  # fmt: skip
    rows += [(words, *(f"{getattr(each, name):.4f}" for each in both))
             for words, name in (("rank correlation", "spearman"), ("Kendall's tau", "kendall"))]  # fmt: skip
    columns = [Column[Any](title, itemgetter(i), i == 0) for i, title in enumerate(("", "held out", "seen"))]
    by_seed = ", ".join(f"{percent(each.mape, 2)} %" for each in found.scores_by_seed)
    below = {" shuffles": f"mean error by shuffle: {by_seed}"}
    if found.margin is not None:
        count = found.scores.count
        ends = f"{math.exp(-found.margin):.3f} to {math.exp(found.margin):.3f} times the prediction"
        within = count - len(found.outside)
        below[" interval"] = (
            f"90 % interval: {ends}; {number(within)} of {number(count)} held-out ones {be(within)} within"
        )
    heading = f"{plural(found.scores.count, 'measurement')}, {numbers} fitted{of_form}"
    return Document(heading, columns, rows, below=below, terms=_TERMS)


def _numbers(found: Calibration_) -> Document:
    rows = []
    for name, each in found.estimates.items():
        verdict = ("yes" if each.is_determined else "no") + (each.goes_with and f", goes with {each.goes_with}")
        value = with_unit(float(f"{each.value:.5g}"), FIELDS[name].unit if name in FIELDS else "")
        rows.append((name, value, each.deviation_in_words, verdict))
    for name, counts in ((name, counts) for name, counts in found.chosen.items() if name != "form"):
        often = ", ".join(f"{value} in {count}" for value, count in counts.items())
        rows.append((name, str(found.values[name]), "", f"of the grid; in the folds {often}"))
    titles = ("number", "value", "1 sd", "determined by the data")
    columns = [Column[Any](title, itemgetter(i), i in (0, 3)) for i, title in enumerate(titles)]
    left = "; ".join(", ".join(f"{name} {value}" for name, value in each.items()) for each in found.beaten)
    below = {" beaten": f"left out of the grid, since a measurement is faster than all PEs: {left}"} if left else {}
    return Document(columns=columns, rows=rows, below=below)


def _forms(found: Calibration_) -> Document:
    times, error = found.chosen["form"], even_percent(found.forms.values())

    def words(name: str) -> str:
        by = [f"in {times[name]} of {sum(times.values())} folds"] if name in times else []
        by += ["by this fit"] if name == found.form else []
        chosen = f", chosen {' and '.join(by)}" if by else ""
        return f"{found.form_words.get(name, ('', 'a form of your own'))[1]}{chosen}"

    columns = [
        Column[str]("form", printable, to_the_left=True),
        Column[str]("mean error[%]", lambda name: error(found.forms[name])),
        Column[str]("numbers", lambda name: str(found.form_words.get(name, ("",))[0])),
        Column[str]("what it frees", words, to_the_left=True),
    ]
    how = "errors of forms: mean absolute logarithm of predicted over measured, held out; fewer numbers win a tie"
    return Document(columns=columns, rows=list(found.forms), below={" how": how})


def _known(found: Calibration_) -> dict[str, str]:
    """What was predicted worst, doubts, questions, and how far the measurements reach."""
    return {f" {index}": line for index, line in enumerate(_sentences(found))}


def _sentences(found: Calibration_) -> Iterator[str]:
    worst = ", ".join(f"{printable(name)} {ratio:.3g}" for name, ratio in found.worst)
    yield f"predicted worst, predicted / measured: {worst}"
    yield from (f"in doubt: {doubt}" for doubt in found.doubts)
    yield from (f"few data: {limit}" for limit in found.limits)
    yield from (f"to check: {question}" for question in found.questions)
    names = {"macs": "MACs"}
    ends = ", ".join(f"{names.get(name, name)} {known.in_words}" for name, known in found.ranges.items())
    yield f"measured: {ends}; beyond, errors grow (at 4 times the size they can be half or more)"


def records_of(found: Calibration_) -> list[dict[str, Any]]:
    """A dictionary for each measurement: its seconds, those that were predicted, and their ratio."""
    pairs = zip(found.names, found.measured, found.predicted, strict=True)
    return [
        {"name": name, "measured_seconds": measured, "predicted_seconds": predicted, "ratio": predicted / measured}
        for name, measured, predicted in pairs
    ]
