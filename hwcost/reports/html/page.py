"""The page itself."""

from __future__ import annotations

import base64
import hashlib
import itertools
import string
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from hwcost.machine.array import SystolicArray
from hwcost.model.breakdown import KINDS
from hwcost.model.columns import TERMS
from hwcost.network.network import Network
from hwcost.reports.html.inline import inline_svg, text_of
from hwcost.reports.html.stairs import Stairs, stairs_of
from hwcost.reports.html.table import html_table
from hwcost.reports.rows import Summary
from hwcost.reports.shown import WASTE, missing_of, notes_of, withheld_text
from hwcost.units import BYTES, ENERGIES, MARK, TIMES, in_unit, layer_name, marked, number, percent, plural, with_unit

__all__ = ["html_report"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_PICTURES = {
    "time": "Time and utilization of every layer",
    "waste": "Where the PE-cycles go",
    "memory": "Bytes to and from DRAM of every layer",
    "roofline": "Every layer under the roof of the array and of its memory",
}
_SECTIONS = {
    "table": "layers",
    "stairs": "stairs",
    "pictures": "pictures",
    "cycles": "PE-cycles",
    "settings": "settings",
}


def html_report(
    summary: Summary,
    network: Network | None = None,
    *,
    title: str = "",
    settings: Mapping[str, Any] | None = None,
    pictures: Mapping[str, str] | None = None,
) -> str:
    """The page.

    Args:
        summary: what the page is about.
        network: that of the summary; with it the page has the stairs of all widths that can change.
        title: above everything; network and machine by default.
        settings: those of the array and of the report, by name; those of the array by default.
        pictures: SVG files, by "time", "waste", "memory" and "roofline".

    Returns:
        The text of an HTML file. The same arguments make the same text.

    >>> from hwcost import Linear
    >>> from hwcost.reports import summarise
    >>> page = html_report(summarise({"<fc>": Linear(8, 8)}, SystolicArray(8, 8)))
    >>> "&lt;fc&gt;" in page, "<fc>" in page, "://" in page
    (True, False, False)
    """
    files = resources.files(__package__)
    page, style, *scripts = (
        files.joinpath(name).read_text("utf-8") for name in ("report.html", "report.css", "report.js", "stairs.js")
    )
    script = "\n".join(scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    settings = summary.array.as_dict() if settings is None else settings
    stairs = Stairs([], [], []) if network is None else stairs_of(network, summary.array, summary.ranges)
    sections = {
        "table": ["<h2>Layer by layer</h2>", *html_table(summary, stairs.of_layers()), *_below(summary)],
        "stairs": list(_stairs(stairs, summary)),
        "pictures": list(_pictures(pictures or {}, has_energy=summary.cost.energy_joules is not None)),
        "cycles": list(_kinds(summary)),
        "settings": list(_settings(settings)),
    }
    parts = (
        [f'<p class="missing"><strong>Missing:</strong> {text_of(missing_of(summary))}</p>'] if summary.missing else [],
        _totals(summary),
        (f'<p class="note">{text_of(note)}</p>' for note in [*filter(None, [summary.legend]), *notes_of(summary)]),
        ["<nav>", *(f'<a href="#{name}">{_SECTIONS[name]}</a>' for name, each in sections.items() if each), "</nav>"],
        *([f'<section id="{name}">', *each, "</section>"] for name, each in sections.items() if each),
    )
    return string.Template(page).substitute(
        policy=f"{_POLICY}; script-src 'sha256-{digest}'",
        title=text_of(title or f"{summary.name} on {summary.label}"),
        style=style,
        body="\n".join(itertools.chain.from_iterable(parts)),
        script=script,
    )


def _listed(shown: Mapping[str, str], look: str) -> Iterator[str]:
    yield f'<dl class="{look}">'
    yield from (f"<div><dt>{text_of(name)}</dt><dd>{text_of(text)}</dd></div>" for name, text in shown.items())
    yield "</dl>"


def _totals(summary: Summary) -> Iterator[str]:
    cost, beyond = summary.cost, summary.extrapolated_share
    if summary.is_withheld():
        shown = {"time": withheld_text(summary)}
    else:
        shown = {"time": marked(in_unit(cost.seconds, TIMES, 4), beyond)}
        if ends := summary.seconds_90:
            shown["time, with 90 %"] = " to ".join(in_unit(end, TIMES, 4) for end in ends)
        shown["cycles"] = marked(number(cost.cycles), beyond)
        shown["utilization"] = marked(f"{percent(cost.utilization)} %", beyond)
        if beyond:
            shown["beyond what was measured"] = f"{percent(beyond)} % of the time"
        by_bound = {name: each / cost.seconds for name, each in summary.seconds_by_bound.items() if each}
        if by_bound:
            shown["bound by"] = ", ".join(f"{name} {percent(share)} %" for name, share in by_bound.items())
    shown["MACs"] = number(cost.macs)
    shown["to and from DRAM"] = in_unit(cost.dram_bytes, BYTES, 4)
    if cost.energy_joules is not None and not (cost.idle_joules and summary.is_withheld()):
        shown["energy"] = in_unit(cost.energy_joules, ENERGIES, 4)
    yield from _listed(shown, "totals")


def _below(summary: Summary) -> Iterator[str]:
    """The lines that stand below the table in the text, but for what the page has elsewhere."""
    below = summary.document().below
    elsewhere = ("PE-cycles", "note")
    yield from _listed(
        {label: text for label, text in below.items() if label not in elsewhere and not label.startswith(" ")}, "below"
    )


def _kinds(summary: Summary) -> Iterator[str]:
    """The sums of PE-cycles, with what they mean."""
    if summary.is_withheld() or not summary.cost.cycles:
        return
    beyond = summary.extrapolated_share
    words = {"useful": "multiply-accumulates (MACs), one for each PE and cycle"}
    for kind, short in WASTE.items():
        words[kind] = next(text for name, text in TERMS.items() if short in name.split(", "))
    yield "<h2>PE-cycles of the network</h2>"
    whole = marked(number(summary.breakdown.pe_cycles), beyond)
    yield f"<p>PE-cycles are cycles x processing elements (PEs): here {whole}.</p>"
    yield '<table class="kinds"><thead><tr><th scope="col" class="left">kind</th><th scope="col">PE-cycles</th>'
    yield '<th scope="col">share <small>[%]</small></th></tr></thead><tbody>'
    shares = summary.breakdown.shares
    for kind, count in summary.breakdown.figures().items():
        if count:
            yield f'<tr><th scope="row">{KINDS[kind]}<small>{text_of(words[kind])}</small></th>'
            yield f'<td class="number">{marked(number(count), beyond)}</td>'
            yield f'<td class="number bar" style="--bar:{100 * shares[kind]:.1f}%">{percent(shares[kind])}</td></tr>'
    yield "</tbody></table>"


def _pictures(pictures: Mapping[str, str], *, has_energy: bool) -> Iterator[str]:
    for name, words in _PICTURES.items():
        if name in pictures:
            label = f"{words}, and its energy" if name == "memory" and has_energy else words
            yield f"<h2>{label}</h2>"
            yield f'<figure tabindex="0">{inline_svg(pictures[name], f"{name}-", label)}</figure>'


def _stairs(stairs: Stairs, summary: Summary) -> Iterator[str]:
    """The slider, which the script fills."""
    if not stairs.widths:
        return
    yield "<h2>Stairs: another width</h2>"
    yield '<p class="scripted">The slider needs a script, which this page has and this browser does not run.</p>'
    yield '<div id="explorer" hidden><div class="tools"><label>width <select id="width">'
    for i, each in enumerate(stairs.widths):
        size = stairs.sizes[each["sizes"]][each["today"]]
        layers = sum(len(names) for _, names, _ in each["rows"])
        label = f"{layer_name(each['name'], 100)}: {size}, {plural(layers, 'layer')}"
        yield f'<option value="{i}">{text_of(label)}</option>'
    yield '</select></label><div><button id="fewer" aria-label="the size before">-</button> '
    yield '<output id="chosen" for="size"></output> <button id="more" aria-label="the next size">+</button></div></div>'
    yield '<svg id="chart" viewBox="0 0 600 160" preserveAspectRatio="none" aria-hidden="true"></svg>'
    yield '<input type="range" id="size" step="1" aria-label="size">'
    yield '<p class="axis"><span id="least"></span><span id="top"></span><span id="most"></span></p>'
    yield '<table class="kinds"><thead><tr><th scope="col" class="left">layer</th><th scope="col">cycles</th>'
    yield '<th scope="col">util <small>[%]</small></th><th scope="col">DRAM</th></tr></thead>'
    yield '<tbody id="at"></tbody></table>'
    for note in _stairs_notes(stairs, summary):
        yield f'<p class="note">{text_of(note)}</p>'
    yield f'</div><script type="application/json" id="texts">{stairs.text()}</script>'


def _stairs_notes(stairs: Stairs, summary: Summary) -> Iterator[str]:
    yield "Cycles, utilization and bytes of the layers that follow the width; in small print those of today's size."
    if summary.plan is not None:
        yield "Each layer by itself: activations that stay in the buffer are not in these figures."
    if summary.measured:
        yield f"{MARK} an extrapolation: sizes that {summary.measured} was not measured with."
    if stairs.left_out:
        yield f"{plural(stairs.left_out, 'width')} that cost less than these left out, to keep the page small."


def _settings(settings: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Settings</h2>"
    shown = {}
    for name, value in settings.items():
        if value in (None, "", False, [], ()) or name == "energy_source":
            continue
        declared = SystolicArray.declarations.get(name)
        is_list = isinstance(value, (list, tuple))
        text = ", ".join(map(str, value)) if is_list else with_unit(value, declared.unit if declared else "")
        shown[name] = text, declared.text if declared else ""
    yield from _named(shown)
    if source := settings.get("energy_source"):
        yield from _named(_sources(source))


def _named(shown: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    yield '<dl class="settings">'
    for name, (text, words) in shown.items():
        hint = f"<dd><small>{text_of(words)}</small></dd>" if words else ""
        yield f"<div><dt>{text_of(name)}</dt><dd>{text_of(text)}</dd>{hint}</div>"
    yield "</dl>"


def _sources(energy: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Where the figures of energy are from."""
    node = f"{energy['node']}: " if energy["node"] else ""
    found = {"source of energy": (f"{node}{energy['source']}", "")}
    for name, figure in energy["figures"].items():
        text = f"{with_unit(figure['value'], figure['unit'])}, {figure['status']}: {figure['source']}"
        found[f"source of {name}"] = text, ""
    return found
