"""``hwcost compare``: networks on arrays, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from hwcost.cli.model_output import missing_of, settings_of
from hwcost.cli.shared.documents import csv_document, json_document
from hwcost.cli.shared.machines import ArrayOptions, Machine, array_options
from hwcost.cli.shared.networks import HAVE_DIMS, ModelOptions, model_options, summary_of, withheld_text
from hwcost.cli.shared.options import extrapolate, form_options, skip_unsupported
from hwcost.cli.shared.outputs import PICTURE, check_outputs, write_output
from hwcost.console import note
from hwcost.errors import InvalidValueError, check_one_of
from hwcost.model.cost import ENERGY
from hwcost.tables import Column, is_terminal, table
from hwcost.units import BYTES, ENERGIES, NOT_SHOWN, TIMES, column_format, marked, printable, unit_of

if TYPE_CHECKING:
    from hwcost.network.network import Network
    from hwcost.reports import Summary

__all__ = ["compare"]

SCHEMA = "hwcost.compare/1"
_MOST_PAIRS = 10_000
_OF_MEMORY = ("dram_bytes", "sram_bytes", *ENERGY)
_OF_TIME = ("cycles", "seconds", "utilization", "ratio", "mostly_bound")
"""How the names of figures begin that tell the time."""

_EXAMPLES = """\b
Examples:
  hwcost compare net.onnx --devices tpu-v1,gemmini,tpu-v5e
  hwcost compare small.csv large.csv --device tpu-v5e --plot sizes.png
"""


class Pair(NamedTuple):
    """A network, read from a source, on a machine; its time relative to that of the first pair is the ratio.

    There is no ratio to or of a time that is mostly beyond what the device was measured with.
    """

    source: str
    machine: Machine
    summary: Summary
    ratio: float | None


@click.command(epilog=_EXAMPLES)
@click.argument("sources", metavar="MODEL...", nargs=-1, required=True)
@model_options
@click.option("--devices", metavar="NAMES", help="Several devices, separated by commas.")
@array_options
@skip_unsupported
@extrapolate
@form_options()
@click.option(
    "--plot", "picture", metavar="FILE", help="Draw time, utilization and, if known, energy: .png, .svg or .pdf."
)
def compare(
    *,
    sources: tuple[str, ...],
    options: ModelOptions,
    devices: str | None,
    array: ArrayOptions,
    skip_unsupported: bool,
    extrapolate: bool,
    form: str,
    picture: str | None,
) -> None:
    """Compare networks on one or several devices.

    Each MODEL is as for hwcost model. A line is printed for each network on each device. Ratios are relative to the
    time of the first line. The options of the array apply to every device.
    """
    check_outputs(sources, {"--plot": (picture, PICTURE)})
    names = _device_names(array.device, devices)
    if len(sources) * len(names) > _MOST_PAIRS:
        raise InvalidValueError("the number of pairs", len(sources) * len(names), f"at most {_MOST_PAIRS}")
    option = "--device" if devices is None else "--devices"
    machines = [array._replace(device=name).read(option) for name in names]
    networks = _networks(sources, options)
    pairs: list[Pair] = []
    for source, network in zip(sources, networks, strict=True):
        for machine in machines:
            summary = summary_of(network, machine, skip_unsupported=skip_unsupported, extrapolate=extrapolate)
            first = pairs[0].summary if pairs else summary
            ratio: float | None = summary.cost.seconds / first.cost.seconds if first.cost.seconds else 1.0
            if summary.is_withheld() or first.is_withheld():
                ratio = None
            pairs.append(Pair(source, machine, summary, ratio))
    if form == "csv":
        click.echo(csv_document(SCHEMA, list(map(_row, pairs))), nl=False)
    else:
        click.echo((_json if form == "json" else _text)(pairs))
    for summary in {pair.source: pair.summary for pair in pairs if pair.summary.missing}.values():
        note(f"{printable(summary.name)}: {missing_of(summary)}")
    if picture is not None:
        _draw(picture, pairs, len(machines))


def _device_names(device: str | None, devices: str | None) -> list[str | None]:
    if devices is None:
        return [device]
    if device is not None:
        raise InvalidValueError("--device", device, "leave one of them out", reason="--devices is given as well")
    names = [name.strip() for name in devices.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise InvalidValueError("--devices", devices, "names separated by commas, each once, like tpu-v1,gemmini")
    return list(names)


def _networks(sources: Sequence[str], options: ModelOptions) -> list[Network]:
    """All networks, each with the options that go with its kind; raises if none of them takes an option."""
    from hwcost.importers import source_kind

    kinds = [source_kind(source) for source in sources]
    found: list[Network] = []
    used: set[str] = set()
    known: set[str] = set()
    for source, kind in zip(sources, kinds, strict=True):
        # an option that goes with none of the kinds is given to the first network, which refuses it
        inputs = options.inputs if kind == "torch" or "torch" not in kinds else ()
        dims = options.dims if kind in HAVE_DIMS or not set(HAVE_DIMS) & set(kinds) else ()
        try:
            network = ModelOptions(inputs, dims).read(source)
        except InvalidValueError as error:
            if error.field != "--dim" or sum(each in HAVE_DIMS for each in kinds) < 2 or error.reason:
                raise
            known.update(error.names)  # of several graphs, each takes the dynamic sizes that it has
            dims = tuple(text for text in dims if text.rpartition("=")[0] in error.names)
            network = ModelOptions(inputs, dims).read(source)
        found.append(network)
        used.update(dims)
    for text in options.dims:
        if known and text not in used:
            check_one_of("--dim", text.rpartition("=")[0], sorted(known), what="name")
    return found


# ---------------------------------------------------------------- output


def _text(pairs: Sequence[Pair]) -> str:
    scale, unit = unit_of(
        max(0.0 if pair.summary.is_withheld() else pair.summary.cost.seconds for pair in pairs), TIMES
    )
    cycles = column_format(pair.summary.cost.cycles for pair in pairs)

    def known(text: Callable[[Pair], str], *, mark: bool = True) -> Callable[[Pair], str]:
        """A figure, marked if some of it is beyond what was measured; a sign in its place if most of it is."""

        def shown(pair: Pair) -> str:
            summary = pair.summary
            return NOT_SHOWN if summary.is_withheld() else marked(text(pair), mark and summary.extrapolated_share)

        return shown

    columns = [
        Column[Pair]("network", lambda pair: printable(pair.summary.name), to_the_left=True),
        Column[Pair]("array", lambda pair: pair.machine.label, to_the_left=True),
        Column[Pair]("cycles", known(lambda pair: cycles(pair.summary.cost.cycles))),
        Column[Pair](f"time[{unit}]", known(lambda pair: f"{pair.summary.cost.seconds / scale:.5g}")),
        Column[Pair](f"90 %[{unit}]", known(lambda pair: _ends(pair, scale), mark=False)),
        Column[Pair]("ratio", known(lambda pair: NOT_SHOWN if pair.ratio is None else f"{pair.ratio:.3f}")),
        Column[Pair]("util[%]", known(lambda pair: f"{100 * pair.summary.cost.utilization:.1f}")),
        Column[Pair]("mostly bound by", known(_mostly, mark=False), to_the_left=True),
    ]
    if not any(pair.summary.seconds_90 for pair in pairs):
        del columns[4]
    columns[-1:-1] = _of_memory(pairs)
    if any(pair.summary.missing for pair in pairs):
        columns.append(Column[Pair]("MISSING", lambda pair: str(len(pair.summary.missing) or "")))
    return "\n".join([*table(columns, pairs, coloured=is_terminal()), *_legends(pairs)])


def _of_memory(pairs: Sequence[Pair]) -> Iterator[Column[Pair]]:
    """Bytes to and from DRAM, and the energy if any machine has figures of it."""
    scale, unit = unit_of(max(pair.summary.cost.dram_bytes for pair in pairs), BYTES)
    yield Column[Pair](f"DRAM[{unit}]", lambda pair: f"{pair.summary.cost.dram_bytes / scale:.4g}")
    energies = [_energy(pair) for pair in pairs]
    if known := [each for each in energies if each is not None]:
        per, name = unit_of(max(known), ENERGIES)
        yield Column[Pair](
            f"energy[{name}]", lambda pair: NOT_SHOWN if (energy := _energy(pair)) is None else f"{energy / per:.4g}"
        )


def _energy(pair: Pair) -> float | None:
    """The energy; None without figures of it, or if some of it depends on a time that is not shown."""
    energy: float | None = pair.summary.figures()["energy_joules"]
    return energy


def _legends(pairs: Sequence[Pair]) -> Iterator[str]:
    """What is beyond what was measured, one line for each pair, and what is therefore not shown."""
    for pair in pairs:
        summary = pair.summary
        if summary.legend:
            yield f"{printable(summary.name)}: {printable(summary.legend)}"
        if summary.withheld:
            yield f"{printable(summary.name)}: no total on {summary.measured}: {withheld_text(summary)}"


def _ends(pair: Pair, scale: float) -> str:
    ends = pair.summary.seconds_90
    return "" if ends is None else " to ".join(f"{end / scale:.3g}" for end in ends)


def _mostly(pair: Pair) -> str:
    summary = pair.summary
    whole = sum(summary.seconds_by_bound.values())
    share = summary.seconds_by_bound[summary.mostly_bound] / whole if whole else 1.0
    return f"{summary.mostly_bound} ({100 * share:.0f} %)"


def _row(pair: Pair) -> dict[str, Any]:
    summary, array = pair.summary, pair.summary.array
    row = {
        "network": summary.name,
        "source": pair.source,
        "device": pair.machine.name,
        **{name: getattr(array, name) for name in ("rows", "cols", "dataflow", "fold_timing", "clock_hz")},
        **{name: getattr(summary.cost, name) for name in ("macs", "cycles", "seconds", "utilization")},
        **{name: summary.figures()[name] for name in _OF_MEMORY},
        **dict(zip(("seconds_90_low", "seconds_90_high"), summary.seconds_90 or (None, None), strict=True)),
        "ratio": pair.ratio,
        "mostly_bound": summary.mostly_bound,
        **{f"seconds_bound_by_{name}": each for name, each in summary.seconds_by_bound.items()},
        "missing": len(summary.missing),
        "extrapolated_share": summary.extrapolated_share,
        "withheld": summary.withheld or None,
    }
    hidden = [name for name in row if name.startswith(_OF_TIME)] if summary.is_withheld() else []
    return row | dict.fromkeys(hidden)


def _json(pairs: Sequence[Pair]) -> str:
    rows = [
        _row(pair)
        | {
            "missing": list(pair.summary.missing),
            "array": settings_of(pair.summary, pair.machine),
        }
        for pair in pairs
    ]
    return json_document(SCHEMA, {"rows": rows})


def _draw(path: str, pairs: Sequence[Pair], width: int) -> None:
    from hwcost import plot

    rows = [pairs[i : i + width] for i in range(0, len(pairs), width)]
    figure = plot.comparison_figure(
        [row[0].summary.name for row in rows],
        [pair.machine.name or pair.summary.array.size_in_words for pair in rows[0]],
        [[_shown(pair, pair.summary.cost.seconds) for pair in row] for row in rows],
        [[_shown(pair, pair.summary.cost.utilization) for pair in row] for row in rows],
        [[bool(pair.summary.extrapolated_share) for pair in row] for row in rows],
        joules=[[float("nan") if (energy := _energy(pair)) is None else energy for pair in row] for row in rows],
    )
    with write_output("--plot", path):
        plot.save(figure, path)


def _shown(pair: Pair, figure: float) -> float:
    """A figure, or NaN if most of it is beyond what was measured."""
    return float("nan") if pair.summary.is_withheld() else figure
