"""Advice as a document: a row for each width with the step that saves most per channel, and what stands below it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from hwcost.devices.measured import PRINTS_IT
from hwcost.machine.dataflow import DATAFLOWS
from hwcost.tables import Column, Document, even, even_percent, even_unit
from hwcost.units import (
    ENERGIES,
    NOT_SHOWN,
    POWERS,
    SIZES,
    TIMES,
    between,
    in_unit,
    layer_name,
    marked,
    number,
    percent,
    shorten_name,
    shortlist,
)

__all__ = ["amount", "document_of", "unit_word"]

Advice_: TypeAlias = Any
"""An Advice, whose module imports this one."""
Width_: TypeAlias = Any
"""A WidthAdvice, from there."""

_WORDS = {"cycles": ("cycles", " cycles"), "seconds": ("time", ""), "energy_joules": ("energy", "")}
_UNITS = {"seconds": TIMES, "energy_joules": ENERGIES}
_NAMED = 6
_ROUND = 8
_LEAST = 0.25
"""The share of a width below which a network of its depth rarely trains well."""
_TERMS = {
    "to": "the size that saves most for each channel removed, of those of at least half of today's, "
    "or else the largest smaller size that saves anything",
    "per channel": "saved by each channel removed",
    "network": "speed-up of the whole network",
    "next": "the largest smaller size that saves anything",
    "free up to": "the largest size at today's cost",
}


class _LayerRow(NamedTuple):
    """A layer, and the advice on a width that it follows."""

    layer: str
    width: Width_


def amount(value: float, measure: str) -> str:
    """A cost in people's units.

    >>> amount(25090.0, "cycles"), amount(0.0021, "seconds")
    ('25,090', '2.1 ms')
    """
    return in_unit(value, _UNITS[measure], 4) if measure in _UNITS else number(value)


def _amounts(values: Iterable[float], measure: str) -> tuple[str, Callable[[float], str]]:
    """The unit of a column of costs, and the text of a cost in it."""
    return even_unit(values, _UNITS[measure]) if measure in _UNITS else ("cycles", even(values))


def unit_word(measure: str) -> str:
    """What follows an amount."""
    return _WORDS[measure][1]


def document_of(advice: Advice_, *, by_layer: bool = False, most: int | None = None, timed: bool = False) -> Document:
    """The advice for people.

    Args:
        advice: what to show.
        by_layer: a row for each layer and width, in place of one for each width.
        most: rows at most.
        timed: with the time in the heading, if the clock is that of a device.
    """
    rows: list[Any] = list(_layer_rows(advice)) if by_layer else list(advice.widths)
    shown = rows[:most]
    columns: list[Column[Any]] = [] if not rows else _by_layer(advice) if by_layer else _by_width(advice)
    titles = {column.name for column in columns}
    below = _below(advice, [each.width if by_layer else each for each in shown])
    return Document(
        heading=f"{shorten_name(advice.name, 100)} on {advice.label}: {_total(advice, timed=timed)}",
        columns=columns,
        rows=shown,
        left_out=len(rows) - len(shown),
        below=dict(zip((f" {index}" for index in range(len(below))), below, strict=True)),
        terms={name: words for name, words in _terms(advice).items() if name in titles},
    )


def _terms(advice: Advice_) -> dict[str, str]:
    if advice.measure != "energy_joules":
        return _TERMS
    return _TERMS | {"network": "how many times less energy the whole network takes"}


def _total(advice: Advice_, *, timed: bool) -> str:
    """What the network costs today."""
    if advice.withheld:
        return f"no total: {advice.withheld}; {PRINTS_IT}"
    total, measure, beyond = advice.total, advice.measure, advice.beyond
    parts = [marked(f"{amount(getattr(total, measure), measure)}{unit_word(measure)}", beyond)]
    if timed:
        parts.append(f"{marked(in_unit(total.seconds, TIMES, 4), beyond)}{between(advice.seconds_90)}")
    if total.energy_joules is not None and measure != "energy_joules":
        parts.append(f"{marked(in_unit(total.energy_joules, ENERGIES, 4), beyond)}")
    if total.average_watts is not None:
        parts.append(f"{marked(in_unit(total.average_watts, POWERS, 4), beyond)} on average")
    if total.pe_cycles:
        parts.append(f"{marked(f'{percent(total.utilization)} %', beyond)} utilization")
    return ", ".join(parts)


# ---------------------------------------------------------------- tables


def _by_width(advice: Advice_) -> list[Column[Any]]:
    measure = advice.measure

    def of_step(text: Callable[[Any], str]) -> Callable[[Any], str]:
        return lambda each: NOT_SHOWN if each.better is None else text(each.better)

    steps = [each.better for each in advice.widths if each.better is not None]

    def saved(title: str, value: Callable[[Any], float], **more: Any) -> Column[Any]:
        unit, text = _amounts(map(value, steps), measure)
        return Column(f"{title}[{unit}]", of_step(lambda step: marked(text(value(step)), step.extrapolated)), **more)

    whole = advice.total.macs
    lost = even_percent(step.macs / whole for step in steps if whole)
    return [
        Column("width", lambda each: each.name, to_the_left=True),
        Column("size", lambda each: number(each.width.size)),
        Column("to", of_step(lambda step: number(step.size)), words=_TERMS["to"]),
        saved("saves", lambda step: step.saved, share=_share(advice)),
        saved("per channel", lambda step: step.saved_per_channel, words=_TERMS["per channel"], rank=1),
        Column("network", of_step(lambda step: _speed_up(step, advice)), words=_TERMS["network"]),
        Column("MACs lost[%]" if whole else "MACs lost",
               of_step(lambda step: lost(step.macs / whole) if whole else number(step.macs)), rank=3),
        Column("layers", lambda each: str(len(each.layers)), rank=4),
        Column("next", lambda each: NOT_SHOWN if each.cheaper is None else number(each.cheaper.size), rank=5,
               words=_TERMS["next"]),
        Column("free up to", _free, words=_TERMS["free up to"], rank=2),
    ]  # fmt: skip


def _share(advice: Advice_) -> Callable[[Any], float | None]:
    whole = getattr(advice.total, advice.measure)
    return lambda each: None if each.better is None or not whole else each.better.saved / whole


def _by_layer(advice: Advice_) -> list[Column[Any]]:
    def own(row: _LayerRow) -> float:
        cost: float = row.width.layers[row.layer]
        return cost

    unit, text = _amounts(map(own, _layer_rows(advice)), advice.measure)

    def of_step(text: Callable[[_LayerRow, Any], str]) -> Callable[[_LayerRow], str]:
        return lambda row: NOT_SHOWN if row.width.better is None else text(row, row.width.better)

    return [
        Column("layer", lambda row: row.layer, to_the_left=True),
        Column(unit if advice.measure == "cycles" else f"{_WORDS[advice.measure][0]}[{unit}]",
               lambda row: marked(text(own(row)), row.layer in advice.beyond)),
        Column("width", lambda row: row.width.name, to_the_left=True),
        Column("size", lambda row: number(row.width.width.size)),
        Column("to", of_step(lambda row, step: number(step.size)), words=_TERMS["to"]),
        Column("layer", of_step(lambda row, step: marked(f"{row.width.speed_up(row.layer):.3f}x", step.extrapolated))),
        Column("network", of_step(lambda row, step: _speed_up(step, advice)), words=_TERMS["network"]),
        Column("free up to", lambda row: _free(row.width), words=_TERMS["free up to"], rank=1),
    ]  # fmt: skip


def _layer_rows(advice: Advice_) -> Iterator[_LayerRow]:
    for layer, widths in advice.by_layer.items():
        for each in widths:
            yield _LayerRow(layer, each)


def _speed_up(step: Any, advice: Advice_) -> str:
    """That of the whole network, which is an extrapolation if one of its layers is."""
    return marked(f"{step.network_speed_up:.3f}x", step.extrapolated or advice.beyond)


def _free(each: Width_) -> str:
    return number(each.free) if each.free > each.width.size else NOT_SHOWN


# ---------------------------------------------------------------- below


def _below(advice: Advice_, widths: Sequence[Width_]) -> list[str]:
    lines: list[str] = [] if advice.widths else ["no width can change"]
    if advice.unsupported:
        names = ", ".join(advice.unsupported)
        lines.append(f"NOT COUNTED: {len(advice.unsupported)} operations that cannot be priced: {names}")
    lines += [f"Note: {note}" for note in advice.notes]
    lines += _fixed(advice)
    lines += _remarks(widths)
    if advice.faster is not None:
        other = advice.faster
        flow = f"{DATAFLOWS[other.dataflow].summary} ({other.dataflow})"
        lines.append(f"another dataflow: {flow} takes {_times(other, advice)}")
    if advice.buffers:
        named = [f"{layer_name(name, 100)} with {in_unit(size, SIZES, 4)}" for name, size in advice.buffers.items()]
        lines.append(f"reads operands again; with a larger buffer it would not: {shortlist(named, _NAMED)}")
    sizes = [each.better.size for each in widths if each.better is not None]
    if advice.multiple == 1 and not advice.is_open and any(size % _ROUND for size in sizes):
        option = f"multiple={_ROUND} (--multiple {_ROUND})"
        lines.append(f"sizes need not be round: {option} takes multiples of {_ROUND} alone")
    if advice.legend:
        lines.append(advice.legend)
    if advice.budget is not None:
        lines += [*([""] if lines else []), *_budget(advice, advice.budget)]
    return lines


def _times(other: Any, advice: Advice_) -> str:
    word = "times less" if advice.measure == "energy_joules" else "times faster"
    return f"{amount(other.cost, advice.measure)}{unit_word(advice.measure)}, {other.ratio:.3g} {word}"


def _remarks(widths: Sequence[Width_]) -> list[str]:
    """Each remark once, with its widths."""
    by_remark: dict[str, list[str]] = {}
    for each in widths:
        if each.remark:
            by_remark.setdefault(each.remark, []).append(layer_name(each.name, 100))
    return [f"{shortlist(names, _NAMED)}: {remark}" for remark, names in by_remark.items()]


def _fixed(advice: Advice_) -> list[str]:
    """The sides of layers that cannot change; an end of the network goes without saying if the other side can."""
    by_reason: dict[str, list[str]] = {}
    for name, reason, sides in advice.fixed_for_people():
        by_reason.setdefault(reason, []).append(f"{' and '.join(sides)} of {layer_name(name, 100)}")
    return [f"cannot change ({reason}): {shortlist(names, _NAMED)}" for reason, names in by_reason.items()]


def _budget(advice: Advice_, found: Any) -> Iterator[str]:
    reached, kept = found.cycles / found.cycles_today, found.macs / found.macs_today
    cost = f"{amount(found.cycles, advice.measure)}{unit_word(advice.measure)}"
    share = marked(f"{100 * reached:.2f} %", found.extrapolated)
    cost = f"{share} of today's" if advice.withheld else f"{marked(cost, found.extrapolated)}, {share} of today's"
    yield f"budget {found.share:g}: {cost}, with {100 * kept:.2f} % of the MACs"
    widths = {each.name: each.width for each in advice.widths}
    for name, size in found.sizes.items():
        yield f"  {name}: {number(widths[name].size)} -> {number(size)}"
    channels = {} if advice.is_open else {name: each.size for name, each in widths.items() if not each.is_kernel}
    if thin := [name for name, today in channels.items() if found.sizes.get(name, today) < _LEAST * today]:
        option = f"least={_LEAST:g} (--least {_LEAST:g})"
        names = shortlist([layer_name(name, 100) for name in thin], _NAMED)
        yield f"  below a quarter of today's: {names}; {option} keeps at least that"
    yield f"  {_quality(found)}"


def _quality(found: Any) -> str:
    most = f"{percent(found.gap)} % more MACs" if found.gap < 1 else f"{1 + found.gap:.3g} times the MACs"
    if found.is_proven:
        return "proven: no other sizes within the budget keep more MACs" + (f" (at most {most})" if found.gap else "")
    combined = f"{number(found.options)} of {number(found.of_options)} sizes could be combined"
    is_all = found.options == found.of_options
    reason = "the effort (--effort) leaves out some sets of widths" if is_all else combined
    return f"not proven ({reason}): other sizes within the budget may keep at most {most}"
