"""The output of ``hwcost advise``: a table for people, JSON, CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hwcost.cli.shared.documents import csv_document, json_document
from hwcost.cli.shared.networks import changed_lines
from hwcost.network.operations import AN_INPUT, AN_OUTPUT
from hwcost.tables import text_table
from hwcost.units import ENERGIES, SIZES, TIMES, between, in_unit, marked, shorten_name, shortlist

if TYPE_CHECKING:
    from hwcost.advice import Advice, Budget, Step, WidthAdvice

__all__ = ["as_csv", "as_json", "lines"]

SCHEMA = "hwcost.advise/1"

_BY_WIDTH = ("width", "size", "cheaper", "{saves}", "per channel", "network", "MACs lost", "layers", "free up to")
_BY_LAYER = ("layer", "{whole}", "width", "size", "cheaper", "layer", "network", "free up to")
_WORDS = {
    "cycles": {"saves": "saves[cycles]", "whole": "cycles", "unit": " cycles"},
    "seconds": {"saves": "saves", "whole": "time", "unit": ""},
    "energy_joules": {"saves": "saves", "whole": "energy", "unit": ""},
}
_UNITS = {"seconds": TIMES, "energy_joules": ENERGIES}
_NAMED = 6


def as_json(advice: Advice, check: Mapping[str, Any] | None, written: str | None) -> str:
    """The advice as one document."""
    return json_document(SCHEMA, {**advice.as_dict(), "applied": check, "file": written})


def as_csv(advice: Advice, sizes: Mapping[str, int]) -> str:
    """A row per width, with the size that a budget or the caller takes."""
    measure = advice.measure
    rows = [_flat(each, measure) | {"taken": sizes.get(each.name, each.width.size)} for each in advice.widths]
    return csv_document(SCHEMA, rows, () if rows else ("width",))


def _flat(each: WidthAdvice, measure: str) -> dict[str, Any]:
    step = each.cheaper
    return {
        "width": each.name,
        "size": each.width.size,
        "multiple": each.width.multiple,
        "free": each.free,
        "cheaper": "" if step is None else step.size,
        "extrapolated": None if step is None else step.extrapolated,
        f"saved_{measure}": 0 if step is None else step.saved,
        "saved_per_channel": 0 if step is None else step.saved_per_channel,
        "network_speed_up": 1 if step is None else step.network_speed_up,
        "macs_lost": 0 if step is None else step.macs,
        "layers": len(each.layers),
        measure: each.cycles,
        "remark": each.remark,
    }


def _number(value: float, measure: str) -> str:
    if measure in _UNITS:
        return in_unit(value, _UNITS[measure], 4)
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def lines(
    advice: Advice,
    array: str,
    *,
    by_layer: bool = False,
    most: int | None = None,
    check: Mapping[str, Any] | None = None,
    written: str | None = None,
    timed: bool = False,
) -> Iterator[str]:
    """The advice for people, line by line; with the time if the clock is that of a device."""
    yield f"{shorten_name(advice.name, 100)} on {array}"
    words = _WORDS[advice.measure]
    yield _total(advice, timed=timed)
    if advice.unsupported:
        names = ", ".join(advice.unsupported)
        yield f"NOT COUNTED: {len(advice.unsupported)} operations that cannot be priced: {names}"
    yield from (f"Note: {note}" for note in advice.notes)
    yield ""
    rows = list(_of_layers(advice) if by_layer else (_of_a_width(each, advice) for each in advice.widths))
    titles = [title.format(**words) for title in (_BY_LAYER if by_layer else _BY_WIDTH)]
    yield from text_table(titles, rows[:most])
    if most is not None and most < len(rows):
        yield f"... and {len(rows) - most} more"
    yield from _fixed(advice)
    yield from _remarks(advice, most)
    if advice.buffers:
        named = [f"{shorten_name(name, 100)} {in_unit(size, SIZES, 4)}" for name, size in advice.buffers.items()]
        yield f"reads operands again; with this buffer it would not: {shortlist(named, _NAMED)}"
    if advice.budget is not None:
        yield ""
        yield from _budget(advice, advice.budget)
    if check is not None:
        yield ""
        yield from _checked(check)
    if advice.legend:
        yield advice.legend
    if written is not None:
        yield written


def _total(advice: Advice, *, timed: bool) -> str:
    """What the network costs today."""
    if advice.withheld:
        return f"no total: {advice.withheld}; --extrapolate prints it"
    total, measure, beyond = advice.total, advice.measure, advice.beyond
    parts = [marked(f"{_number(getattr(total, measure), measure)}{_WORDS[measure]['unit']}", beyond)]
    if timed:
        parts.append(f"{marked(in_unit(total.seconds, TIMES), beyond)}{between(advice.seconds_90)}")
    if total.pe_cycles:
        parts.append(f"{marked(f'{100 * total.utilization:.2f} %', beyond)} utilization")
    return ", ".join(parts)


def _of_a_width(each: WidthAdvice, advice: Advice) -> tuple[str, ...]:
    step = each.cheaper
    cheaper: tuple[str, ...] = ("-",) * 5
    if step is not None:
        saved = (_number(step.saved, advice.measure), _per_channel(step, advice.measure))
        saves = (marked(text, step.extrapolated) for text in saved)
        cheaper = (str(step.size), *saves, _speed_up(step, advice), f"{step.macs:.3g}")
    return (each.name, str(each.width.size), *cheaper, str(len(each.layers)), _free(each))


def _speed_up(step: Step, advice: Advice) -> str:
    """That of the whole network, which is an extrapolation if one of its layers is."""
    return marked(f"{step.network_speed_up:.3f}x", step.extrapolated or advice.beyond)


def _per_channel(step: Step, measure: str) -> str:
    """Four digits, or an integer where there are more, as for all cycles."""
    cycles = step.saved_per_channel
    if measure in _UNITS:
        return _number(cycles, measure)
    return f"{cycles:.0f}" if cycles >= 1e4 else f"{cycles:.4g}"


def _of_layers(advice: Advice) -> Iterator[tuple[str, ...]]:
    for layer, widths in advice.by_layer.items():
        for each in widths:
            step = each.cheaper
            cheaper: tuple[str, ...] = ("-",) * 3
            if step is not None:
                own = marked(f"{each.speed_up(layer):.3f}x", step.extrapolated)
                cheaper = (str(step.size), own, _speed_up(step, advice))
            cost = marked(_number(each.layers[layer], advice.measure), layer in advice.beyond)
            yield (layer, cost, each.name, str(each.width.size), *cheaper, _free(each))


def _free(each: WidthAdvice) -> str:
    return str(each.free) if each.free > each.width.size else "-"


def _remarks(advice: Advice, most: int | None) -> Iterator[str]:
    """Each remark once, with its widths; and the widths whose longer steps save more per channel."""
    by_remark: dict[str, list[str]] = {}
    measure = advice.measure
    for each in advice.widths[:most]:
        if each.remark:
            by_remark.setdefault(each.remark, []).append(each.name)
        best, step = each.best, each.cheaper
        if best is not None and step is not None and best.size < step.size:
            yield (
                f"{shorten_name(each.name, 100)}: {best.size} saves more per channel: "
                f"{marked(_per_channel(best, measure), best.extrapolated)}{_WORDS[measure]['unit']}, "
                f"network {_speed_up(best, advice)}"
            )
    for remark, names in by_remark.items():
        yield f"{shortlist([shorten_name(name, 100) for name in names], _NAMED)}: {remark}"


def _fixed(advice: Advice) -> Iterator[str]:
    """The sides of layers that cannot change; an end of the network goes without saying if the other side can."""
    by_reason: dict[str, list[str]] = {}
    changeable = advice.by_layer
    for name, sides in advice.fixed.items():
        for reason in dict.fromkeys(sides.values()):
            if reason in (AN_INPUT, AN_OUTPUT) and name in changeable:
                continue
            own = [side for side in sides if sides[side] == reason]
            by_reason.setdefault(reason, []).append(f"{' and '.join(own)} of {shorten_name(name, 100)}")
    for reason, names in by_reason.items():
        yield f"cannot change ({reason}): {shortlist(names, _NAMED)}"


def _budget(advice: Advice, found: Budget) -> Iterator[str]:
    reached, kept = found.cycles / found.cycles_today, found.macs / found.macs_today
    measure = advice.measure
    cycles = f"{_number(found.cycles, measure)}{_WORDS[measure]['unit']}"
    share = marked(f"{100 * reached:.2f} %", found.extrapolated)
    cycles = f"{share} of today's" if advice.withheld else f"{marked(cycles, found.extrapolated)}, {share} of today's"
    yield f"budget {found.share:g}: {cycles}, with {100 * kept:.2f} % of the MACs"
    widths = {each.name: each.width.size for each in advice.widths}
    for name, size in found.sizes.items():
        yield f"  {name}: {widths[name]} -> {size}"
    yield f"  {_quality(found)}"


def _quality(found: Budget) -> str:
    most = f"{100 * found.gap:.2g} % more MACs"
    if found.is_proven:
        return "proven: no other sizes within the budget keep more MACs" + (f" (at most {most})" if found.gap else "")
    combined = f"{found.options} of {found.of_options} sizes could be combined"
    reason = "--effort leaves out some sets of widths" if found.options == found.of_options else combined
    return f"not proven ({reason}): other sizes within the budget may keep at most {most}"


def _checked(check: Mapping[str, Any]) -> Iterator[str]:
    (measure,) = (name for name in _WORDS if f"predicted_{name}" in check)
    predicted, rebuilt = (_number(check[f"{name}_{measure}"], measure) for name in ("predicted", "rebuilt"))
    yield f"applied: predicted {predicted}{_WORDS[measure]['unit']}, rebuilt and priced {rebuilt}"
    yield from changed_lines(check["changes"])
