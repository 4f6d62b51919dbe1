"""What a pruning did, for people: totals, stages, blocks, and the widths and layers that changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from hwcost.devices.measured import legend
from hwcost.model.columns import TERMS as COST_TERMS
from hwcost.tables import Column, Document, Documents, even, even_percent, even_unit
from hwcost.units import NOT_SHOWN, TIMES, in_unit, labelled, layer_name, marked, number, plural, printable, shortlist

__all__ = ["PROVEN", "document_of"]

Depth_: TypeAlias = Any
"""A Depth, from the module of the report, which imports this one."""
Report_: TypeAlias = Any
"""A PruningReport, from there."""

PROVEN = 1e-5
"""The gap from which on a result is said to be not proven."""
_NAMED = 8
_WHEN = ("before", "after")
_LONGEST = 60
_TERMS = {
    "left": "what stays, as a share of before",
    "held-out examples": "those that nothing was trained on",
    "loss without it": "what dropping this block alone adds to the held-out loss",
    "loss at the limit": "the held-out loss with widths cut to the limit",
    "util before, util after": COST_TERMS["util"],
    "left alone": "widths that keep their size, and why",
}
"""What the lines and columns mean."""


def document_of(report: Report_) -> Documents:
    """The report for people."""
    parts = [
        Document(f"{report.name} on {report.array}", below=_head(report)),
        _totals(report),
        _stages(report),
        *_depth(report),
        _widths(report),
        _layers(report),
        Document(below=_left_alone(report.left_alone)),
    ]
    there = {name for part in parts for name in (*(column.name for column in part.columns), *part.below)}
    terms = {name: words for name, words in _TERMS.items() if there & set(name.split(", "))}
    return Documents([*parts[:-1], Document(below=parts[-1].below, terms=terms)])


def _texts(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    words: Collection[str] = (),
    ranks: Mapping[str, int] | None = None,
    below: Mapping[str, str] | None = None,
) -> Document:
    """A table of texts; nothing if there are no rows. Its first column and those of ``words`` are left-aligned."""
    columns = [
        Column[Any](title, itemgetter(i), i == 0 or title in words, rank=(ranks or {}).get(title, 0))
        for i, title in enumerate(titles)
    ]
    own = [list(map(printable, row)) for row in rows]
    return Document(columns=columns if rows else (), rows=own, below=below or {})


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _amount(report: Report_, figure: Any) -> str:
    return in_unit(figure, TIMES, 4) if report.measure == "seconds" else number(figure)


def _whole(report: Report_) -> str:
    """What the limit is in, in words."""
    return "time" if report.measure == "seconds" else "cycles"


def _head(report: Report_) -> dict[str, str]:
    """The floor, the limit, what is not proven, and notes."""
    unit = "" if report.measure == "seconds" else " cycles"
    least = "with every width at its least size" if report.before.pe_cycles else "at the cheapest sizes measured"
    what = "no widths save"
    if report.blocks_that_go:
        least = f"without the {plural(report.blocks_that_go, 'block')} that can go, and {least}"
        what = "nothing saves"
    floor = _percent(report.floor / getattr(report.before, report.measure))
    texts = {
        "floor": f"{floor} % of the {_whole(report)} are left {least}; {what} more",
        "limit": f"{report.asked}: {_amount(report, report.limit)}{unit}, {_percent(report.used)} % of it used",
    }
    if report.gap is not None and report.gap > PROVEN:
        texts["not proven"] = f"by their values, other sizes may be worth at most {_percent(report.gap)} % more"
    notes = (labelled("note", note) for note in report.notes)
    return texts | {f" note {index}": note for index, note in enumerate(notes)}


def _totals(report: Report_) -> Document:
    before, after = report.before, report.after
    beyond = tuple(any(each.beyond[which] for each in report.layers) for which in (0, 1))

    def known(texts: Iterable[str], left: str) -> tuple[str, ...]:
        both = (marked(text, is_beyond) for text, is_beyond in zip(texts, beyond, strict=True))
        return (*both, marked(left, any(beyond)))

    def left(figure: str) -> str:
        return _percent(float(getattr(after, figure)) / float(getattr(before, figure)))

    rows = []
    if report.measure != "seconds":
        rows.append(("cycles", *known(map(number, (before.cycles, after.cycles)), left("cycles"))))
    if before.seconds:
        times = (in_unit(float(each.seconds), TIMES, 4) for each in (before, after))
        rows.append(("time", *known(times, left(report.measure))))
        if all(report.seconds_90):
            ends = zip(("  90 % from", "  90 % to"), zip(*report.seconds_90, strict=True), strict=True)
            rows += [(name, *(in_unit(each, TIMES, 4) for each in pair), "") for name, pair in ends]
    rows.append(("MACs", number(before.macs), number(after.macs), left("macs")))
    old, new = report.parameters
    rows.append(("parameters", number(old), number(new), _percent(new / old)))
    if before.pe_cycles:
        used = (f"{_percent(float(each.utilization))} %" for each in (before, after))
        rows.append(("utilization", *known(used, "")))
    return _texts(["", "before", "after", "left[%]"], rows)


def _stages(report: Report_) -> Document:
    scored = any(stage.measured.accuracy is not None for stage in report.stages)
    rows = []
    for stage in report.stages:
        accuracy = stage.measured.accuracy
        shown = () if not scored else (NOT_SHOWN if accuracy is None else _percent(accuracy),)
        rows.append((stage.name, f"{stage.measured.loss:.4f}", *shown))
    return _texts(["held-out examples", "loss", *(["accuracy[%]"] if scored else [])], rows)


def _depth(report: Report_) -> Iterator[Document]:
    """The blocks that could be dropped, and the sets of them that were tried."""
    if report.depth is None:
        return
    whole, today, tried = _whole(report), getattr(report.before, report.measure), report.depth.tried
    rows = []
    for each in report.depth.blocks:
        loss = NOT_SHOWN if each.added_loss is None else f"{each.added_loss:+.4f}"
        share = _percent(each.cost / today)
        rows.append((each.name, _amount(report, each.cost), share, loss, each.stays or "dropped"))
    became = "what became of it"
    yield _texts(["block", whole, "of all[%]", "loss without it", became], rows, words={became})
    best = min(tried, key=lambda one: one.loss, default=None)
    sets = [
        (str(len(one.dropped)), _percent(one.cost / today), f"{one.loss:.4f}", "taken" if one is best else "")
        for one in tried
    ]
    yield _texts(["blocks dropped", f"{whole} before widths[%]", "loss at the limit", ""], sets, words={""})


def _widths(report: Report_) -> Document:
    rows = [(name, str(old), str(new), _percent(new / old)) for name, (old, new) in report.sizes.items()]
    return _texts(["width", "before", "after", "left[%]"], rows)


def _layers(report: Report_) -> Document:
    """A line for each layer that changed, and one for all others."""
    same = [each for each in report.layers if each.shapes[0] == each.shapes[1] and each.before == each.after]
    changed = [each for each in report.layers if each not in same]
    columns = [
        Column[Any]("layer", lambda each: printable(each.name), to_the_left=True),
        *(_shapes("before", 0, rank=4), _shapes("after", 1, rank=3)),
        *(column for which in (0, 1) for column in _costs(report, changed, which)),
        *(column for which in (0, 1) if report.before.pe_cycles for column in _uses(changed, which)),
    ]
    below = {}
    if same:
        cost = _amount(report, sum(getattr(each.before, report.measure) for each in same))
        names = shortlist([layer_name(each.name, _LONGEST) for each in same], _NAMED)
        unit = "" if report.measure == "seconds" else " cycles"
        below["unchanged"] = f"{plural(len(same), 'layer')} of {cost}{unit}: {names}"
    if report.beyond:
        below[" beyond"] = legend(report.measured, len(report.layers), report.beyond)
    return Document(columns=columns if changed else (), rows=changed, below=below)


def _shapes(when: str, which: int, rank: int) -> Column[Any]:
    return Column(f"shape {when}", lambda each: printable(each.shapes[which]), to_the_left=True, rank=rank)


def _costs(report: Report_, layers: Sequence[Any], which: int) -> Iterator[Column[Any]]:
    """Cycles or time before (0) or after (1); a layer that is not in a table of measured costs has none."""
    both = [float(getattr(each, report.measure)) for layer in layers for each in (layer.before, layer.after)]
    unit, text = even_unit(both, TIMES) if report.measure == "seconds" else ("", even(both))
    title = f"{_whole(report)} {_WHEN[which]}{f'[{unit}]' if unit else ''}"

    def shown(layer: Any) -> str:
        figure = float(getattr((layer.before, layer.after)[which], report.measure))
        return marked(text(figure) if figure or report.before.pe_cycles else NOT_SHOWN, layer.beyond[which])

    yield Column(title, shown)


def _uses(layers: Sequence[Any], which: int) -> Iterator[Column[Any]]:
    """The utilization before (0) or after (1)."""

    def used(layer: Any) -> float:
        return float((layer.before, layer.after)[which].utilization)

    text = even_percent(map(used, layers))
    title = f"util {_WHEN[which]}[%]"
    yield Column(title, lambda layer: marked(text(used(layer)), layer.beyond[which]), share=used, rank=2 - which)


def _left_alone(reasons: Mapping[str, str]) -> dict[str, str]:
    """Each reason once, with the widths that it holds for."""
    by_reason: dict[str, list[str]] = {}
    for width, why in reasons.items():
        by_reason.setdefault(why, []).append(layer_name(width, _LONGEST))
    lines = [f"{why}: {', '.join(names)}" for why, names in by_reason.items()]
    return {} if not lines else {"left alone": lines[0]} | {f" {line}": labelled("", line) for line in lines[1:]}
