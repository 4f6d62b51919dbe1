"""The page itself."""

from __future__ import annotations

import base64
import hashlib
import itertools
import string
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

from hwcost.machine.array import SystolicArray
from hwcost.model.breakdown import KINDS
from hwcost.reports.html.inline import inline_svg, text_of
from hwcost.units import BYTES, ENERGIES, NOT_SHOWN, TIMES, Units, in_unit, marked, with_unit

__all__ = ["html_report"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_HELP = "A click on a heading sorts by it, the worst first; again turns it around; once more: the tree."
_PICTURES = {
    "time": "Time and utilization of every layer",
    "waste": "Where the PE-cycles go",
    "memory": "Bytes to and from DRAM of every layer, and its energy if it is known",
    "roofline": "Every layer under the roof of the array and of its memory",
}
_SHOWN = 0.0005
"""The least share of PE-cycles that is more than 0.0 %."""
_COUNTS: Units = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_FIGURES = {
    "macs": "MACs",
    "cycles": "cycles",
    "seconds": "time",
    "share": "share",
    "utilization": "utilization",
    "bound": "bound",
    "folds": "folds",
}
_IDLE = {
    "ragged_rows": "rows",
    "ragged_cols": "columns",
    "ragged_arrays": "arrays",
    "slow_rows": "slow rows",
    "fill_and_drain": "fill",
    "overhead": "overhead",
    "waiting": "memory",
}


def html_report(
    title: str,
    settings: Mapping[str, Any],
    total: Mapping[str, Any],
    lines: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, str],
    *,
    notes: Sequence[str] = (),
    missing: str = "",
    withheld: str = "",
) -> str:
    """The page.

    Args:
        title: above everything.
        settings: those of the array, by name.
        total: the figures of the network, as :meth:`hwcost.reports.Summary.figures` gives them.
        lines: the tree from the top down: for each line its ``depth``, ``label``, full ``name``, ``kind``, ``state``
            ("module", "priced", "memory-only" or "unsupported"), ``shape``, whether all its operations only move
            memory (``is_free``), whether it is a module with a single layer, whose ``shape`` it then has
            (``is_single``), and figures or, if unsupported, the ``reason``.
        pictures: SVG files, by "time", "waste" and "roofline".
        notes: remarks, one paragraph each.
        missing: a sentence on operations that are not in the totals.
        withheld: why there is no total, if there is none.

    Returns:
        The text of an HTML file. The same arguments make the same text.

    >>> page = html_report("<lenet>", {}, {"macs": 1, "cycles": 1, "seconds": 1e-9, "utilization": 1.0}, [], {})
    >>> "&lt;lenet&gt;" in page, "<lenet>" in page, "://" in page
    (True, False, False)
    """
    files = resources.files(__package__)
    page, script, style = (files.joinpath(f"report.{kind}").read_text("utf-8") for kind in ("html", "js", "css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = (
        [f'<p class="missing"><strong>Missing:</strong> {text_of(missing)}</p>'] if missing else [],
        _totals(total, withheld),
        (f'<p class="note">{text_of(note)}</p>' for note in notes),
        _pictures(pictures),
        _table(lines),
        _settings(settings),
    )
    return string.Template(page).substitute(
        policy=f"{_POLICY}; script-src 'sha256-{digest}'",
        title=text_of(title),
        style=style,
        body="\n".join(itertools.chain.from_iterable(parts)),
        script=script,
    )


def _totals(total: Mapping[str, Any], withheld: str) -> Iterator[str]:
    beyond = total.get("extrapolated_share")
    if withheld:
        shown = {"time": withheld, "MACs": _whole(total["macs"])}
    else:
        shown = {
            "time": marked(_time(total["seconds"]), beyond),
            **({"90 %": " to ".join(map(_time, ends))} if (ends := total.get("seconds_90")) else {}),
            "cycles": marked(_whole(total["cycles"]), beyond),
            "MACs": _whole(total["macs"]),
            "utilization": marked(f"{100 * total['utilization']:.1f} %", beyond),
            **({"beyond what was measured": f"{100 * beyond:.0f} % of the time"} if beyond else {}),
        }
    if by_bound := {name: each for name, each in (total.get("seconds_by_bound") or {}).items() if each}:
        whole = sum(by_bound.values())
        shown["bound by"] = ", ".join(f"{name} {100 * each / whole:.0f} %" for name, each in by_bound.items())
    if "dram_bytes" in total:
        shown["to and from DRAM"] = in_unit(total["dram_bytes"], BYTES, 4)
    if (energy := total.get("energy_joules")) is not None:
        shown["energy"] = in_unit(energy, ENERGIES, 4).replace("uJ", "\u00b5J")
    yield '<dl class="totals">'
    yield from (f"<div><dt>{name}</dt><dd>{text_of(text)}</dd></div>" for name, text in shown.items())
    yield "</dl>"


def _pictures(pictures: Mapping[str, str]) -> Iterator[str]:
    for name, label in _PICTURES.items():
        if name in pictures:
            yield f"<h2>{label}</h2>"
            yield f"<figure>{inline_svg(pictures[name], f'{name}-', label)}</figure>"


# ---------------------------------------------------------------- the table


def _table(lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "<h2>Layer by layer</h2>"
    yield '<p class="tools"><button id="open">open all</button> <button id="shut">shut all</button>'
    if any(line["state"] == "memory-only" for line in lines):
        yield ' <label><input type="checkbox" id="free"> operations that only move memory</label>'
    yield f"<span>{_HELP}</span></p>"
    yield '<div class="wide"><table id="layers"><thead><tr>'
    shares = [_shares(line["pe_cycles"]) for line in lines if line.get("cycles")]
    idle = [kind for kind in _IDLE if any(abs(each[kind]) >= _SHOWN for each in shares)]
    heads = {"name": "operation", "shape": "shape"} | _FIGURES
    has_energy = any(line.get("energy_joules") is not None for line in lines)
    moved = {"bytes": "DRAM bytes"} | ({"energy": "energy"} if has_energy else {})
    for key, head in (heads | {f"idle-{kind}": f"idle: {_IDLE[kind]}" for kind in idle} | moved).items():
        hint = f' title="PE-cycles: {KINDS[key.removeprefix("idle-")]}"' if key.startswith("idle-") else ""
        yield f'<th scope="col" data-key="{key}"{hint}><button>{head}</button></th>'
    yield "</tr></thead><tbody>"
    yield from (_row(line, idle, has_energy) for line in lines)
    yield "</tbody></table></div>"


def _row(line: Mapping[str, Any], idle: Sequence[str], has_energy: bool) -> str:
    is_module = line["state"] == "module"
    label = f'<span class="short">{text_of(line["label"])}</span><span class="full">{text_of(line["name"])}</span>'
    fold = '<button class="fold" aria-expanded="true"></button>' if is_module else ""
    cells = [f'<td class="name" style="--depth:{int(line["depth"])}">{fold}{label}</td>']
    what = f"not supported: {line['reason']}" if line["state"] == "unsupported" else line["shape"] or line["kind"]
    cells.append(f"<td>{text_of(line['shape'] if is_module else what).replace(' x ', '&nbsp;x&nbsp;')}</td>")
    cells.extend(_cells(line, idle))
    cells.extend(_memory_cells(line, has_energy))
    look = f"{line['state']}{' free' * line['is_free']}{' single' * line['is_single']}"
    return f'<tr class="{look}" data-depth="{int(line["depth"])}">{"".join(cells)}</tr>'


def _cells(line: Mapping[str, Any], idle: Sequence[str]) -> Iterator[str]:
    if not line.get("cycles"):
        yield from ["<td></td>"] * (len(_FIGURES) + len(idle))
        return
    beyond = line.get("is_beyond")
    for key in _FIGURES:
        value = line[key]
        if value is None:
            yield f'<td class="number">{NOT_SHOWN}</td>'
        elif key == "bound":
            yield f'<td data-value="{text_of(value)}" class="{text_of(value)}">{text_of(value)}</td>'
        elif key == "seconds":
            yield _cell(value, marked(_time(value), beyond))
        elif key == "macs":
            yield _cell(value, in_unit(value, _COUNTS, 4).strip())
        elif key in ("share", "utilization"):
            yield _cell(value, marked(f"{100 * value:.1f} %", beyond), bar=value)
        else:
            yield _cell(value, marked(_whole(value), beyond and key == "cycles"))
    shares = _shares(line["pe_cycles"])
    for kind in idle:
        yield _cell(shares[kind], f"{100 * shares[kind]:.1f} %" if shares[kind] else "")


def _memory_cells(line: Mapping[str, Any], has_energy: bool) -> Iterator[str]:
    """Bytes to and from DRAM, in parentheses those of operations that are fused with others, and the energy."""
    moved, fused = line.get("dram_bytes", 0), line.get("fused_bytes", 0)
    if moved:
        yield _cell(moved, in_unit(moved, BYTES, 4))
    else:
        yield f'<td class="number">({in_unit(fused, BYTES, 4)})</td>' if fused else "<td></td>"
    if has_energy:
        energy = line.get("energy_joules")
        yield "<td></td>" if energy is None else _cell(energy, in_unit(energy, ENERGIES, 4).replace("uJ", "\u00b5J"))


def _shares(figures: Mapping[str, float]) -> dict[str, float]:
    figures = {name: figure or 0.0 for name, figure in figures.items()}
    whole = sum(figures.values())
    return {name: figure / whole if whole else 0.0 for name, figure in figures.items()}


def _cell(value: float, text: str, bar: float | None = None) -> str:
    style = "" if bar is None else f' style="--bar:{min(max(100 * bar, 0), 100):.1f}%"'
    return f'<td class="number{"" if bar is None else " bar"}"{style} data-value="{value!r}">{text_of(text)}</td>'


def _settings(settings: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Settings</h2>"
    yield '<dl class="settings">'
    for name, value in settings.items():
        if value in (None, "", False):
            continue
        if name == "energy_source":
            yield from _sources(value)
            continue
        declared = SystolicArray.declarations.get(name)
        hint = f' title="{text_of(declared.text)}"' if declared else ""
        shown = (
            map(str, value)
            if isinstance(value, (list, tuple))
            else [with_unit(value, declared.unit if declared else "")]
        )
        yield f"<div{hint}><dt>{text_of(name)}</dt><dd>{text_of(', '.join(shown))}</dd></div>"
    yield "</dl>"


def _sources(energy: Mapping[str, Any]) -> Iterator[str]:
    """Where the figures of energy are from."""
    node = f"{energy['node']}: " if energy["node"] else ""
    yield f"<div><dt>source of energy</dt><dd>{text_of(node + energy['source'])}</dd></div>"
    for name, figure in energy["figures"].items():
        text = f"{with_unit(figure['value'], figure['unit'])}, {figure['status']}: {figure['source']}"
        yield f"<div><dt>source of {text_of(name)}</dt><dd>{text_of(text)}</dd></div>"


def _time(seconds: float) -> str:
    return in_unit(seconds, TIMES, 4).replace("us", "\u00b5s")


def _whole(value: float) -> str:
    """A count with its thousands apart, to whole ones."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}"
