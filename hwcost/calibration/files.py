"""A calibration as a device file: fitted numbers next to those that were there, each with its source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hwcost.calibration.result import Calibration
from hwcost.calibration.settings import FIT_PARAMETERS, GRIDS
from hwcost.devices import FIELD_UNITS, DeviceFile, Entry, Fit
from hwcost.devices.measured import error_in_words
from hwcost.errors import InvalidValueError
from hwcost.machine.array import SystolicArray
from hwcost.units import plural

__all__ = ["device_file"]

_LIMITS = (
    "The numbers hold for layers of the sizes that were measured. A layer of four times the size can be off by half or "
    "more, though the order of layers mostly holds."
)


def device_file(
    found: Calibration,
    base: DeviceFile | SystolicArray,
    *,
    name: str,
    data: str,
    source: str,
    licence: str,
    summary: str = "",
    notes: Sequence[str] = (),
) -> DeviceFile:
    """The fitted device, ready for :func:`hwcost.devices.write_device`.

    Args:
        found: the calibration.
        base: the device that it started from; entries that the fit did not change are kept.
        name: of the new device.
        data, source, licence: what was measured, where that comes from, and its licence.
        summary, notes: for people.

    Raises:
        InvalidValueError: an empty text, a name with other characters than devices have, or a machine with functions of
            the caller's, which a file cannot hold.

    >>> from hwcost import Linear, SystolicArray, layer_cost
    >>> from hwcost.calibration import Measurement, fit
    >>> truth = SystolicArray(16, 16, cycles_per_layer=800.0)
    >>> layers = [Linear(k, 60, batch=m) for k in (40, 100) for m in (20, 90, 400)]
    >>> measured = [Measurement((layer,), layer_cost(layer, truth).seconds) for layer in layers]
    >>> found = fit(SystolicArray(16, 16), measured, free=["cycles_per_layer"], prior=None, folds=3)
    >>> mine = device_file(found, SystolicArray(16, 16), name="mine", data="6 layers", source="us", licence="CC0-1.0")
    >>> round(mine.array.cycles_per_layer, 6), mine.entries["cycles_per_layer"].status
    (800.0, 'derived')
    """
    if isinstance(base, DeviceFile) and base.fit is not None:
        notes = (*notes, f"The fit started from {base.name}, which was itself fitted to {base.fit.data}.")
    before = base.entries if isinstance(base, DeviceFile) else {}
    kept = {name: entry for name, entry in before.items() if getattr(found.device, name) == entry.value}
    fitted = dict(_fitted(found, data))
    given = {name: entry for name, entry in _given(found) if name not in kept | fitted}
    if dropped := [name for name in before if name not in kept | given | fitted]:
        notes = (*notes, f"Left out, since they have no effect next to the fitted numbers: {', '.join(dropped)}.")
    determined, others = (tuple(_fields(found, is_determined)) for is_determined in (True, False))
    return DeviceFile(
        name=name,
        summary=summary or f"{name}: fitted to {data}",
        notes=(*notes, *_warnings(found), _LIMITS),
        entries=kept | given | fitted,
        facts=base.facts if isinstance(base, DeviceFile) else {},
        fit=Fit(data, source, licence, found.errors, determined, others, found.ranges, found.mixed),
    )


def _fields(found: Calibration, is_determined: bool) -> Iterator[str]:
    for name, each in found.estimates.items():
        if each.is_determined is is_determined:
            yield from FIT_PARAMETERS[name].fields


def _given(found: Calibration) -> Iterator[tuple[str, Entry]]:
    if found.device.terms:
        names = ", ".join(term.name for term in found.device.terms)
        raise InvalidValueError("SystolicArray.terms", names, "none in a device file, which cannot hold functions")
    for name, value in found.device.as_dict().items():
        if name in found.fields and found.fields[name] == value:
            yield name, Entry(value, FIELD_UNITS[name], "derived", f"Set by the form {found.form!r} of the calibration")
        else:
            yield name, Entry(value, FIELD_UNITS[name], "assumed", "Given to the calibration as it started")


def _fitted(found: Calibration, data: str) -> Iterator[tuple[str, Entry]]:
    for name, each in found.estimates.items():
        doubt = "" if each.is_determined else "; the data do not determine it"
        partner = f"; {each.goes_with} can make up for a change of it" if each.goes_with else ""
        known = f"one standard deviation is {each.deviation_in_words}"
        for field in FIT_PARAMETERS[name].fields:
            source = f"Fitted to {data}: {known}{doubt}{partner}."
            yield field, Entry(each.value, FIELD_UNITS[field], "derived", source)
    for name, tried in found.settings.grid.items():
        for field in GRIDS[name]:
            source = f"Of {', '.join(map(str, tried))} the one that fits {data} best."
            yield field, Entry(getattr(found.device, field), FIELD_UNITS[field], "derived", source)


def _warnings(found: Calibration) -> Iterator[str]:
    for doubt in found.doubts:
        yield f"In doubt: {doubt}."
    for question in found.questions:
        yield f"To check: {question}"
    for limit in found.limits:
        yield f"Few data: {limit}."
    shown = (error_in_words(name, getattr(found.scores, name)) for name in found.scores.names())
    validated = ", ".join(f"{words} {text}" for words, text in shown)
    seeds = len(found.settings.fold_seeds)
    yield (
        f"Validated on held-out measurements, {found.settings.folds} folds, mean of {seeds} shuffles: {validated} "
        f"({plural(found.scores.count, 'measurement')})."
    )
    unsure = [name for name, each in found.estimates.items() if not each.is_determined]
    if unsure:
        yield f"Not determined by the data: {', '.join(unsure)}. Do not read a meaning into one of these alone."
