"""Networks on machines, side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwcost.devices import DeviceFile
from hwcost.devices.measured import PRINTS_IT
from hwcost.errors import InvalidValueError, KeyNotFoundError
from hwcost.machine.array import SystolicArray
from hwcost.model.columns import TERMS as COST_TERMS
from hwcost.model.columns import unit_column
from hwcost.model.cost import ENERGY
from hwcost.model.words import lower_bound
from hwcost.network.peak import Peak
from hwcost.reports.making import summarise
from hwcost.reports.names import networks_by_name, told_apart
from hwcost.reports.rows import Summary
from hwcost.reports.shown import withheld_text
from hwcost.tables import Column, Document, Records, even, even_percent, even_unit
from hwcost.units import (
    BYTES,
    ENDS,
    ENERGIES,
    NOT_SHOWN,
    POWERS,
    TIMES,
    labelled,
    marked,
    percent,
    plural,
    printable,
)

__all__ = ["Comparison", "Pair", "compare_networks"]

_OF_MEMORY = ("dram_bytes", "sram_bytes", *ENERGY)
_TERMS = {
    "time/first": "below 1 it is faster than the first line",
    "90 %": "the ends between which the time lies with 90 %",
    "util": COST_TERMS["util"],
    "DRAM": COST_TERMS["DRAM"],
    "mostly bound by": "what most of the time is spent on, and its share",
    "fits": "whether weights and activations fit at once into {room}",
    NOT_SHOWN: "not known, or not shown because most of it is beyond what was measured",
}
"""What the columns mean."""
_OF_TIME = ("cycles", "seconds", "utilization", "ratio", "mostly_bound")
"""How the names of figures begin that tell the time."""


@dataclass(frozen=True)
class Pair:
    """A network on a machine.

    Attributes:
        summary: its report.
        ratio: its time relative to that of :attr:`Comparison.reference`: below 1 it is faster. None for a time that is
            mostly beyond what the device was measured with.
    """

    summary: Summary
    ratio: float | None

    @property
    def energy_joules(self) -> float | None:
        """The energy; None without figures of it, or if some of it depends on a time that is not shown."""
        energy: float | None = self.summary.figures()["energy_joules"]
        return energy

    def named(self) -> dict[str, list[str]]:
        """What is missing in the totals, and what times leave out, so that they are lower bounds."""
        return {"missing": list(self.summary.missing), "uncharged": list(self.summary.uncharged)}

    def record(self) -> dict[str, Any]:
        """The totals as flat data."""
        summary, array, peak = self.summary, self.summary.array, self.summary.peak
        row = {
            "network": summary.name,
            "source": summary.source or None,
            "device": summary.device or None,
            "machine": summary.label,
            **{name: getattr(array, name) for name in ("rows", "cols", "dataflow", "fold_timing", "clock_hz")},
            **{name: getattr(summary.cost, name) for name in ("macs", "cycles", "seconds", "utilization")},
            **{name: summary.figures()[name] for name in _OF_MEMORY},
            **dict(zip(ENDS, summary.seconds_90 or (None, None), strict=True)),
            "ratio": self.ratio,
            **_memory(peak),
            "mostly_bound": summary.mostly_bound,
            **{f"seconds_bound_by_{name}": each for name, each in summary.seconds_by_bound.items()},
            "missing": len(summary.missing),
            "extrapolated_share": summary.extrapolated_share,
            "withheld": summary.withheld or None,
        }
        hidden = [name for name in row if name.startswith(_OF_TIME)] if summary.is_withheld() else []
        return row | dict.fromkeys(hidden)


@dataclass(frozen=True, repr=False)
class Comparison(Records):
    """Networks on machines: prints as the table of ``hwcost compare``, and iterates over its pairs.

    ``comparison["gemmini"]`` is the pair of that network or machine, ``comparison["lenet", "gemmini"]`` that of both.

    Attributes:
        pairs: every network on every machine, network by network.
    """

    pairs: tuple[Pair, ...]

    @classmethod
    def of(cls, summaries: Iterable[Summary]) -> Comparison:
        """The comparison of reports; networks and machines that share a name get names that tell them apart."""
        own = told_apart(list(summaries))
        if not own:
            raise InvalidValueError("summaries", (), "at least one report")
        place = _reference(own)
        return cls(tuple(Pair(each, None if place is None else _ratio(each, own[place])) for each in own))

    @property
    def reference(self) -> int | None:
        """The index of the pair that ratios relate to: the first without an extrapolation, if there is one.

        Else the first with a time that is shown; None if there is none.
        """
        return _reference([pair.summary for pair in self.pairs])

    def document(self) -> Document:
        """The table of ``hwcost compare``."""
        return _document(self.pairs)

    @property
    def grid(self) -> list[list[Pair]]:
        """The pairs of each network, with the same machines in each row.

        Raises:
            InvalidValueError: reports of which some network lacks a machine that another one has.
        """
        found = {(pair.summary.name, pair.summary.label): pair for pair in self.pairs}
        names, labels = (list(dict.fromkeys(own)) for own in zip(*found, strict=True))
        if len(found) < len(names) * len(labels):
            raise InvalidValueError("comparison", self, "every network on every machine")
        return [[found[name, label] for label in labels] for name in names]

    @property
    def in_words(self) -> str:
        """How much is compared on one line."""
        networks, machines = ({getattr(pair.summary, name) for pair in self.pairs} for name in ("name", "label"))
        words = f"{plural(len(networks), 'network')} on {plural(len(machines), 'machine')}"
        is_full = len(self.pairs) == len(networks) * len(machines)
        return words if is_full else f"{words}: {plural(len(self.pairs), 'row')}"

    def records(self) -> list[dict[str, Any]]:
        """A dictionary for each pair, as ``hwcost compare --csv`` has them."""
        return [pair.record() for pair in self.pairs]

    def as_dict(self) -> dict[str, Any]:
        """The records, with the names of what is missing and the settings of each machine."""
        rows = [pair.record() | pair.named() | {"array": pair.summary.array.as_dict()} for pair in self.pairs]
        return {"reference": self.reference, "rows": rows}

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def __contains__(self, name: object) -> bool:
        return any(name in (each.summary.name, each.summary.device, each.summary.label) for each in self.pairs)

    def __getitem__(self, key: int | str | tuple[str, str]) -> Pair:
        if isinstance(key, int):
            return self.pairs[key]
        names = [(each.summary.name, each.summary.device, each.summary.label) for each in self.pairs]
        known = dict.fromkeys(filter(None, (name for row in names for name in row[:2])))
        wanted = key if isinstance(key, tuple) else (key,)
        for name in wanted:
            if not any(name in row for row in names):
                raise KeyNotFoundError("the comparison", name, list(known or [row[2] for row in names]))
        found = [pair for pair, row in zip(self.pairs, names, strict=True) if all(name in row for name in wanted)]
        if len(found) != 1:
            first = self.pairs[0].summary
            allowed = f"give a network and a machine, like [{first.name!r}, {first.device or first.label!r}]"
            raise InvalidValueError("comparison", key, allowed, reason=f"{len(found)} of its rows have {key!r}")
        return found[0]


def compare_networks(
    networks: Any,
    arrays: SystolicArray | DeviceFile | str | Sequence[Any] | Mapping[str, Any],
    *,
    name: str | Sequence[str] | None = None,
    skip_unsupported: bool = False,
    extrapolate: bool = False,
) -> Comparison:
    """Networks on machines, side by side: the total of every network on every machine.

    Args:
        networks: one, several in a list, or several by name, each as for :func:`summarise`.
        arrays: one machine, several in a list, or several by name: arrays, or names, paths or files of devices.
        name: what the network is called; a list of names for several.
        skip_unsupported, extrapolate: as for :func:`summarise`.

    Raises:
        InvalidValueError: no network, no machine; what :func:`summarise` raises.

    >>> from hwcost import Linear, Network
    >>> network = Network.of_layers("two", {"a": Linear(64, 40), "b": Linear(40, 8)})
    >>> found = compare_networks(network, [SystolicArray(8, 8), SystolicArray(16, 16)])
    >>> [(pair.summary.cost.cycles, round(pair.ratio, 2)) for pair in found]
    [(45, 1.0), (15, 0.33)]
    """
    return compare_named(
        networks_by_name(networks, name), arrays, skip_unsupported=skip_unsupported, extrapolate=extrapolate
    )


def compare_named(
    networks: Sequence[tuple[str, Any]],
    arrays: SystolicArray | DeviceFile | str | Sequence[Any] | Mapping[str, Any],
    **options: bool,
) -> Comparison:
    """The same of networks behind the names that a caller gives them, "" for none."""
    machines = _machines_by_name(arrays)
    for field, given in (("networks", networks), ("arrays", machines)):
        if not given:
            raise InvalidValueError(field, given, "at least one")
    return Comparison.of(
        _called(summarise(network, machine, **options), called, label)
        for called, network in networks
        for label, machine in machines
    )


def _machines_by_name(arrays: Any) -> list[tuple[str, Any]]:
    if isinstance(arrays, Mapping):
        return [(str(name), each) for name, each in arrays.items()]
    return [("", each) for each in ([arrays] if isinstance(arrays, (SystolicArray, DeviceFile, str)) else arrays)]


def _called(summary: Summary, network: str, machine: str) -> Summary:
    """A report with the names that a caller gives; "" for none."""
    if machine:
        summary = dataclasses.replace(summary, device=machine, label=f"{machine}: {summary.array.in_words}")
    return dataclasses.replace(summary, name=network or summary.name)


def _memory(peak: Peak | None) -> dict[str, Any]:
    """What a network needs at once, and whether that fits."""
    names = ("peak_bytes", "weight_bytes", "fits")
    values = (None,) * 3 if peak is None else (peak.bytes, peak.weights, peak.fits)
    return dict(zip(names, values, strict=True))


def _fits(pair: Pair) -> str:
    peak = pair.summary.peak
    return NOT_SHOWN if peak is None else "yes" if peak.fits else "no"


def _fits_term(pairs: Sequence[Pair]) -> dict[str, str]:
    """What "fits" means on these machines: of one with a buffer that counts, and not the memory of its chip."""
    rooms = {peak.is_stated for pair in pairs if (peak := pair.summary.peak) is not None}
    into = {True: "the memory that the chip states", False: "the buffer"}
    named = ", or else into ".join(into[is_stated] for is_stated in sorted(rooms))
    return {"fits": _TERMS["fits"].format(room=named)}


def _reference(summaries: Sequence[Summary]) -> int | None:
    shown = [place for place, each in enumerate(summaries) if not each.is_withheld()]
    trusted = [place for place in shown if not summaries[place].extrapolated_share]
    return next(iter(trusted or shown), None)


def _ratio(summary: Summary, first: Summary) -> float | None:
    if summary.is_withheld():
        return None
    ratio: float = summary.cost.seconds / first.cost.seconds if first.cost.seconds else 1.0
    return ratio


# ---------------------------------------------------------------- text


def _document(pairs: Sequence[Pair]) -> Document:
    costs = [pair.summary.cost for pair in pairs if not pair.summary.is_withheld()]
    cycles, used = even(cost.cycles for cost in costs), even_percent(cost.utilization for cost in costs)
    unit, time = even_unit((cost.seconds for cost in costs), TIMES)
    ratio = even((pair.ratio for pair in pairs if pair.ratio is not None), 3)

    def known(text: Callable[[Pair], str], *, mark: bool = True) -> Callable[[Pair], str]:
        """A figure, marked if some of it is beyond what was measured; a sign in its place if most of it is."""

        def shown(pair: Pair) -> str:
            summary = pair.summary
            return NOT_SHOWN if summary.is_withheld() else marked(text(pair), mark and summary.extrapolated_share)

        return shown

    columns = [
        Column[Pair]("network", lambda pair: printable(pair.summary.name), to_the_left=True),
        Column[Pair]("array", lambda pair: pair.summary.label, to_the_left=True, short=_short_label(pairs)),
        Column[Pair]("cycles", known(lambda pair: cycles(pair.summary.cost.cycles)), rank=1),
        Column[Pair](f"time[{unit}]", known(lambda pair: time(pair.summary.cost.seconds))),
        Column[Pair](f"90 %[{unit}]", known(_ends(pairs, unit), mark=False), rank=2),
        Column[Pair]("time/first", known(lambda pair: NOT_SHOWN if pair.ratio is None else ratio(pair.ratio))),
        Column[Pair](
            "util[%]", known(lambda pair: used(pair.summary.cost.utilization)),
            share=lambda pair: None if pair.summary.is_withheld() else pair.summary.cost.utilization,
        ),
        *_of_memory(pairs),
        Column[Pair]("mostly bound by", known(_mostly, mark=False), to_the_left=True, rank=4),
    ]  # fmt: skip
    if not any(pair.summary.seconds_90 for pair in pairs):
        del columns[4]
    if any(pair.summary.peak is not None for pair in pairs):
        columns.append(Column[Pair]("fits", _fits, rank=6))
    if any(pair.summary.missing for pair in pairs):
        columns.append(Column[Pair]("MISSING", lambda pair: str(len(pair.summary.missing) or "")))
    shown = {column.name for column in columns}
    if any(column.text(pair) == NOT_SHOWN for column in columns for pair in pairs):
        shown.add(NOT_SHOWN)
    words = _TERMS | _first_term(pairs) | _fits_term(pairs)
    terms = {name: text for name, text in words.items() if name in shown}
    heading = Comparison(tuple(pairs)).in_words
    return Document(heading, columns, list(pairs), below=dict(_bounds(pairs)) | dict(_legends(pairs)), terms=terms)


def _short_label(pairs: Sequence[Pair]) -> Callable[[Pair], str] | None:
    """The name of the device or the size of the array, if that tells the machines apart."""

    def short(pair: Pair) -> str:
        return pair.summary.device or str(pair.summary.array.size_in_words)

    return short if len({short(pair) for pair in pairs}) == len({pair.summary.label for pair in pairs}) else None


def _bounds(pairs: Sequence[Pair]) -> Iterator[tuple[str, str]]:
    """Why times are lower bounds, once for each reason, with the machines unless it is that of all of them."""
    found: dict[str, dict[str, None]] = {}
    short = _short_label(pairs)
    for pair in pairs:
        machine = pair.summary.label if short is None else short(pair)
        found.setdefault(lower_bound(pair.summary.uncharged), {})[machine] = None
    for text, machines in found.items():
        named = (", " if short is not None else "; ").join(machines)
        if text:
            yield f" {text}", labelled("lower bound", text if len(found) == 1 else f"{named}: {text}")


def _of_memory(pairs: Sequence[Pair]) -> Iterator[Column[Pair]]:
    """Bytes to and from DRAM, and the energy if any machine has figures of it."""
    yield unit_column("DRAM", pairs, lambda pair: pair.summary.cost.dram_bytes, BYTES, NOT_SHOWN, rank=3)
    if any(pair.energy_joules is not None for pair in pairs):
        yield unit_column("energy", pairs, lambda pair: pair.energy_joules, ENERGIES, NOT_SHOWN, rank=1)
        yield unit_column("power", pairs, _watts, POWERS, NOT_SHOWN, rank=5)


def _watts(pair: Pair) -> float | None:
    watts: float | None = pair.summary.figures()["average_watts"]
    return watts


def _first_term(pairs: Sequence[Pair]) -> dict[str, str]:
    """What ratios relate to."""
    place = _reference([pair.summary for pair in pairs])
    if not place:
        return {}
    summary = pairs[place].summary
    first = printable(f"{summary.name} on {summary.device or summary.array.size_in_words}")
    return {"time/first": f"below 1 it is faster than {first}, the first line that is not an extrapolation"}


def _legends(pairs: Sequence[Pair]) -> Iterator[tuple[str, str]]:
    """What is beyond what was measured, a line for each reason, and what is therefore not shown."""
    beyond: dict[tuple[str, str], list[Summary]] = {}
    hidden: dict[str, list[Summary]] = {}
    for pair in pairs:
        summary = pair.summary
        if summary.legend:
            beyond.setdefault((summary.name, summary.legend_of("")), []).append(summary)
        if summary.withheld:
            hidden.setdefault(summary.name, []).append(summary)
    for (name, reason), own in beyond.items():
        machines = ", ".join(each.device for each in own)
        yield f" {name}{reason}", f"{name} on {machines}: {reason}"
    for name, own in hidden.items():
        machines = ", ".join(f"{each.device} ({percent(each.extrapolated_share or 0.0, 0)} %)" for each in own)
        why = withheld_text(own[0]) if len(own) == 1 else f"so much is beyond what was measured; {PRINTS_IT}"
        yield f" {name} withheld", f"{name}: no total on {own[0].device if len(own) == 1 else machines}: {why}"


def _ends(pairs: Sequence[Pair], unit: str) -> Callable[[Pair], str]:
    """The text of the intervals, in the unit of the times."""
    scale = next(scale for scale, name in TIMES if name == unit)
    text = even((end / scale for pair in pairs for end in pair.summary.seconds_90 or ()), 3)

    def shown(pair: Pair) -> str:
        return " to ".join(text(end / scale) for end in pair.summary.seconds_90 or ())

    return shown


def _mostly(pair: Pair) -> str:
    summary = pair.summary
    whole = sum(summary.seconds_by_bound.values())
    share = summary.seconds_by_bound[summary.mostly_bound] / whole if whole else 1.0
    return f"{summary.mostly_bound} ({percent(share)} %)"
