"""A calibration for people, line by line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

from hwcost.units import percent, plural, printable

__all__ = ["lines_of"]

Calibration_: TypeAlias = Any
"""A Calibration, whose module imports this one."""


def lines_of(found: Calibration_) -> Iterator[str]:
    """The calibration line by line: errors, numbers and how far the data determine them, forms, doubts."""
    held_out, seen = found.scores, found.scores_seen
    of_form = f", form {found.form!r}" if found.form else ""
    yield f"{held_out.count} measurements, {plural(len(found.estimates), 'number')} fitted{of_form}"
    yield ""
    yield f"{'':24}{'held out':>10}  {'seen':>10}"
    for label, name in (("mean error", "mape"), ("median error", "median")):
        yield f"{label:24}{percent(getattr(held_out, name), 2):>8} %  {percent(getattr(seen, name), 2):>8} %"
    for label, name in (("rank correlation", "spearman"), ("Kendall's tau", "kendall")):
        yield f"{label:24}{getattr(held_out, name):>10.4f}  {getattr(seen, name):>10.4f}"
    by_seed = ", ".join(f"{percent(each.mape, 2)} %" for each in found.scores_by_seed)
    yield f"{'mean error by shuffle':24}{by_seed}"
    if found.margin is not None:
        within = held_out.count - len(found.outside)
        ends = f"{math.exp(-found.margin):.3f} to {math.exp(found.margin):.3f} times the prediction"
        yield f"{'90 % interval':24}{ends}; {within} of {held_out.count} held-out ones are within"
    yield ""
    yield f"{'number':24}{'value':>12}  {'1 sd':>17}  determined by the data"
    for name, each in found.estimates.items():
        verdict = ("yes" if each.is_determined else "no") + (each.goes_with and f", goes with {each.goes_with}")
        yield f"{name:24}{each.value:>12.5g}  {each.deviation_in_words:>17}  {verdict}"
    for name, counts in ((name, counts) for name, counts in found.chosen.items() if name != "form"):
        often = ", ".join(f"{value} in {count}" for value, count in counts.items())
        yield f"{name:24}{found.values[name]!s:>12}  {'':>17}  of the grid; in the folds {often}"
    if found.beaten:
        left = "; ".join(", ".join(f"{name} {value}" for name, value in each.items()) for each in found.beaten)
        yield f"left out of the grid, since a measurement is faster than all PEs: {left}"
    if found.forms:
        yield ""
        yield f"{'form':24}{'mean error':>10}  {'numbers':>8}"
        times = found.chosen["form"]
        for name, error in found.forms.items():
            chosen = f", chosen in {times[name]} of {sum(times.values())} folds" if name in times else ""
            mark = ", by this fit" if name == found.form else ""
            numbers, summary = found.form_words.get(name, ("", "a form of your own"))
            words = f"{summary}{chosen}{mark}"
            yield f"{name:24}{100 * error:>8.2f} %  {numbers:>8}  {words}"
        yield "errors of forms: mean absolute logarithm of predicted over measured, held out; fewer numbers win a tie"
    yield ""
    worst = ", ".join(f"{printable(name)} {ratio:.3g}" for name, ratio in found.worst)
    yield f"predicted worst, predicted / measured: {worst}"
    ends = ", ".join(f"{name} {known.low:g} to {known.high:g}" for name, known in found.ranges.items())
    yield from (f"in doubt: {doubt}" for doubt in found.doubts)
    yield from (f"few data: {limit}" for limit in found.limits)
    yield from (f"to check: {question}" for question in found.questions)
    yield f"measured: {ends}; beyond, errors grow (at 4 times the size they can be half or more)"
