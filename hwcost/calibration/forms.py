"""Named forms of a machine that a fit may choose from: what they set, and the numbers that they leave free.

All start from the device, slower or faster by the one factor that the measurements show, so that a clock that is stated
ten times too high does no further harm.

A form is chosen by cross-validation inside the measurements that a fit sees: of the forms that are as good as the best
one, the one with the fewest free numbers. So layers that are held out take no part in the choice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwcost.arrays import Table
from hwcost.calibration.measurements import Measurement
from hwcost.calibration.result import Array, folds
from hwcost.calibration.search import Candidate, Tick, best_fits, fits_from
from hwcost.calibration.settings import Settings, fit_parameters
from hwcost.errors import InvalidValueError, check_one_of
from hwcost.machine.array import SystolicArray
from hwcost.model.moves import moves_of

__all__ = ["AUTO", "FORMS", "Form", "chosen_forms", "forms_of"]

AUTO = "auto"
"""The word for a choice among all forms."""
FARTHEST = 1.0
"""Errors above this factor of e count alike, so that one wrong row does not hide what the others tell."""
LEAST_GAIN = 0.02
"""The share of the least error by which another form must be worse to be worth more numbers."""
INNER_PARTS, INNER_REPEATS, INNER_STARTS, ROUGHLY = 5, 2, 2, 1e-4


@dataclass(frozen=True)
class Form:
    """A row of :data:`hwcost.calibration.FORMS`, or a form of the caller's own.

    Args:
        name: as reports call it.
        summary: one line for people.
        free: the numbers that are fitted.
        fields: fields of the machine that the form sets.
        of_runs: whether its numbers are those of a run, which measurements of networks of one depth do not tell from
            those of their layers.

    Raises:
        InvalidValueError: no name, an unknown number or field.

    >>> Form("mine", "rows, and half of the steps along rows", ["cycles_per_row"], {"row_stairs": 0.5}).free
    ('cycles_per_row',)
    """

    name: str
    summary: str
    free: tuple[str, ...]
    fields: Mapping[str, Any] = Table({})
    of_runs: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name == AUTO:
            raise InvalidValueError("Form.name", self.name, f"a text other than {AUTO!r}")
        try:
            object.__setattr__(self, "free", tuple(row.name for row in fit_parameters(self.free)))
        except InvalidValueError as error:
            raise error.at("Form.free") from None
        for name in self.fields:
            check_one_of("Form.fields", name, SystolicArray.declarations, what="field")
        object.__setattr__(self, "fields", Table(dict(self.fields)))

    def for_measurements(self, measurements: Sequence[Measurement]) -> Form:
        """The form with a bandwidth for operations without products, if any were measured."""
        if not any(moves_of(layer) for one in measurements for layer in one.layers) or VECTOR in self.free:
            return self
        return dataclasses.replace(self, free=(*self.free, VECTOR))


_COMPUTE = ("cycles_per_row", "cycles_per_layer")
_OPERANDS = (*_COMPUTE, "weight_bytes_per_s", "input_bytes_per_s", "output_bytes_per_s", "overlap")
_AGAIN = {"rereads_inputs": True, "reread_stairs": 1.0}
_HALF = {"row_stairs": 0.5, "col_stairs": 0.5}
_RUN = ("cycles_per_row", "host_bytes_per_s", "cycles_per_run")
VECTOR = "vector_bytes_per_s"


_SHARED = "cycles_per_row", "cycles_per_layer", "weight_bytes_per_s", "input_bytes_per_s", "overlap"
_ROOM = (
    "cycles_per_row", "cycles_per_layer", "cycles_per_fold", "cycles_per_output_block", "fold_latency",
    "weight_bytes_per_s", "input_bytes_per_s",
)  # fmt: skip


def _table(*rows: Form) -> Mapping[str, Form]:
    return Table({row.name: row for row in rows})


FORMS: Mapping[str, Form] = _table(
    Form("scaled", "the device, slower or faster by one factor", ("cycles_per_row",)),
    Form("compute", "rows and a constant for each layer", _COMPUTE),
    Form("folds", "compute, and cycles for each fold", (*_COMPUTE, "cycles_per_fold")),
    Form("roof", "compute or memory, the longer", (*_COMPUTE, "dram_bytes_per_s", "overlap")),
    Form("operands", "a bandwidth for each operand", _OPERANDS),
    Form("partial stairs", "part of the steps hidden",
         ("cycles_per_row", "cycles_per_layer", "output_bytes_per_s", "stairs", "overlap"), _HALF),
    Form("rereading", "inputs read again for each block of columns", _OPERANDS, _AGAIN),
    Form("channels", "rereading, with each operand on a channel of its own", _OPERANDS,
         {**_AGAIN, "parallel_operands": True}),
    Form("padded channels", "that, with channels padded to a multiple of 4", _OPERANDS,
         {**_AGAIN, "parallel_operands": True, "channel_multiple": 4}),
    Form("vectors", "that, with products of one row spread over rows and columns", _OPERANDS,
         {**_AGAIN, "parallel_operands": True, "channel_multiple": 4, "spreads_vectors": True}),
    Form("blocks", "inputs read again for blocks of filters of a size that is fitted",
         ("cycles_per_layer", "min_streamed", "weight_bytes_per_s", "input_bytes_per_s", "output_bytes_per_s",
          "filter_block", "overlap"), {"fold_timing": "ideal"}),
    Form("near memory", "inputs read again from a nearer memory for each block that 8192 accumulators hold",
         (*_SHARED, "reread_bytes_per_s"), {"rereads_inputs": True, "accumulators": 8192}),
    Form("one reader", "roof, with one of 8 readers for a single block of 512 positions or filters",
         (*_COMPUTE, "dram_bytes_per_s", "overlap"), {"readers": 8, "single_block": 512}),
    Form("room", "folds that follow one another as the accumulators have room", _ROOM,
         {"fold_timing": "double-buffered", "overlap": 1.0}),
    Form("serial room", "that, with folds one after the other", _ROOM, {"fold_timing": "serial", "overlap": 1.0}),
    Form("run", "rows, the way to the host, a constant for each run", _RUN, of_runs=True),
    Form("constants", "rows, a constant for each layer, and one for each run", (*_COMPUTE, "cycles_per_run"),
         of_runs=True),
    Form("run with partial stairs", "run, with part of the steps hidden", (*_RUN, "stairs"), _HALF, of_runs=True),
    Form("run and memory", "that, with a bandwidth that all operands share",
         (*_RUN, "dram_bytes_per_s", "stairs", "overlap"), _HALF, of_runs=True),
)  # fmt: skip
"""Every form that a fit tries, by name."""


def forms_of(free: object) -> tuple[Form, ...]:
    """The forms that an argument names: all, or some by name or of the caller's own; none if it names numbers.

    >>> [form.name for form in forms_of(["scaled", "compute"])], forms_of(["cycles_per_row"])
    (['scaled', 'compute'], ())
    """
    if free == AUTO:
        return tuple(FORMS.values())
    several = (free,) if isinstance(free, (str, Form)) else free
    if not isinstance(several, Sequence) or isinstance(free, str):
        check_one_of("free", free, [AUTO, *FORMS], what="form")
        return (FORMS[str(free)],)
    if not any(isinstance(each, Form) or (isinstance(each, str) and each in FORMS) for each in several):
        return ()
    for each in several:
        if not isinstance(each, Form):
            check_one_of("free", each, FORMS, what="form")
    found = {form.name: form for form in (each if isinstance(each, Form) else FORMS[each] for each in several)}
    if len(found) < len(several) or not all(found):
        raise InvalidValueError("free", list(found), "forms of different names")
    return tuple(found.values())


def chosen_forms(
    candidates: Mapping[str, Sequence[Candidate]],
    groups: Sequence[Any],
    settings: Settings,
    seen: Array,
    tick: Tick,
) -> list[tuple[str, dict[str, float]]]:
    """The form that each selection of the measurements chooses, and the mean errors by cross-validation within it.

    Args:
        candidates: of each form, in the order of the forms.
        groups: of all measurements; those of one group are held out together.
        settings: of the fits.
        seen: a row of truth values for each selection.
        tick: called for each candidate that was tried, if there is a choice.
    """
    first: list[tuple[str, dict[str, float]]] = [(next(iter(candidates)), {})] * len(seen)
    several = [len({groups[index] for index in np.flatnonzero(own).tolist()}) >= INNER_PARTS for own in seen]
    choosing = np.flatnonzero(several)
    if len(candidates) == 1:
        return first
    of_each = {name: _held_out(own, groups, settings, seen[choosing], tick) for name, own in candidates.items()}
    free = {name: len(own[0].free) for name, own in candidates.items()}
    for position, index in enumerate(choosing):
        first[index] = _chosen({name: logs[position] for name, logs in of_each.items()}, free)
    return first


def _chosen(logs: Mapping[str, Array], free: Mapping[str, int]) -> tuple[str, dict[str, float]]:
    """The form of the fewest free numbers of those that are as good as the best, by logarithms of errors.

    A standard error of the difference in the place of ``LEAST_GAIN`` was tried: of 16 layers it takes forms that are
    too simple, and held-out errors grow from 11 to 15 %.
    """
    errors = {name: np.minimum(np.abs(own), FARTHEST) for name, own in logs.items()}
    means = {name: float(error.mean()) for name, error in errors.items()}
    best = min(means, key=lambda name: means[name])
    for name in sorted(logs, key=lambda name: (free[name], means[name])):
        if means[name] <= (1 + LEAST_GAIN) * means[best]:
            return name, means
    return best, means


def _held_out(
    candidates: Sequence[Candidate], groups: Sequence[Any], settings: Settings, seen: Array, tick: Tick
) -> list[Array]:
    """For each selection the logarithms of predicted over measured seconds that a fit to the others has not seen.

    The machine of the grid and the factor of the start are those of all of the selection together. A row for each of
    ``INNER_REPEATS`` cross-validations, since a single one of so few measurements is as much chance as choice.
    """
    found = [np.empty((INNER_REPEATS, own.sum())) for own in seen]
    firsts = best_fits(candidates, settings.with_starts(INNER_STARTS), seen, tick, ROUGHLY)
    for candidate in candidates:
        parts = [
            (index, repeat, part)
            for index, first in enumerate(firsts)
            if first.candidate is candidate
            for repeat, part in _inner_folds(groups, settings, seen[index])
        ]
        if not parts:
            continue
        inner = np.array([seen[index] & ~part for index, _, part in parts])
        starts = np.array([firsts[index].x for index, *_ in parts])
        scales = np.array([firsts[index].scale for index, *_ in parts])
        fits = fits_from(candidate, settings, inner, starts, scales, ROUGHLY)
        logs = np.log(candidate.seconds(np.array([fit.x for fit in fits]), scales) / candidate.stack.seconds)
        for (index, repeat, part), own in zip(parts, logs, strict=True):
            found[index][repeat, part[seen[index]]] = own[part]
    return found


def _inner_folds(groups: Sequence[Any], settings: Settings, seen: Array) -> Iterator[tuple[int, Array]]:
    """The parts of a selection that are held out in turn, as truth values over all measurements, by repeat."""
    which = np.flatnonzero(seen)
    for repeat in range(INNER_REPEATS):
        for part in folds([groups[index] for index in which.tolist()], INNER_PARTS, settings.seed + repeat):
            held_out = np.zeros_like(seen)
            held_out[which[part]] = True
            yield repeat, held_out
