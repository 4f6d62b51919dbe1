"""``hwcost compare``: networks on arrays, side by side."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hwcost.cli.model_output import settings_of
from hwcost.cli.shared.documents import csv_document, json_document
from hwcost.cli.shared.machines import ArrayOptions, Machine, array_options, parse_devices
from hwcost.cli.shared.networks import HAVE_DIMS, ModelOptions, check_network, model_options, summary_of
from hwcost.cli.shared.options import extrapolate, form_options, option, skip_unsupported
from hwcost.cli.shared.outputs import check_outputs, output_option, write_output
from hwcost.console import checked, note
from hwcost.errors import Faults, InvalidValueError, about, check_one_of
from hwcost.importers.sources import check_source, source_kind
from hwcost.reports.comparison import Comparison
from hwcost.reports.shown import missing_of
from hwcost.units import plural, printable

if TYPE_CHECKING:
    from hwcost.network.network import Network

__all__ = ["compare"]

SCHEMA = "hwcost.compare/1"
_MOST_PAIRS = 10_000
_EXAMPLES = """\b
Examples:
  hwcost compare net.onnx --devices tpu-v1,gemmini,tpu-v5e
  hwcost compare small.csv large.csv --device tpu-v5e --plot sizes.png
"""


def _check_sources(sources: tuple[str, ...]) -> None:
    faults = Faults()
    for source in sources:
        with faults.caught():
            check_source(source)
    faults.check()


def _check_pairs(
    sources: tuple[str, ...], devices: tuple[str, ...] | None, array: ArrayOptions, picture: str | None
) -> None:
    faults = Faults()
    pairs = len(sources) * (1 if devices is None else len(devices))
    if pairs > _MOST_PAIRS:
        faults.add(InvalidValueError("the number of pairs", pairs, f"at most {_MOST_PAIRS}"))
    if devices is not None and array.device is not None:
        reason = "--devices is given as well"
        faults.add(InvalidValueError("--device", array.device, "leave one of them out", reason=reason))
    with faults.caught():
        check_outputs(sources, {"--plot": picture})
    faults.check()


def _read_machines(array: ArrayOptions, devices: tuple[str, ...] | None) -> list[Machine]:
    """The machine of each device, or of the options alone."""
    if devices is None:
        return [array.read()]
    return [array._replace(device=name).read("--devices") for name in devices]


def _check_networks(sources: tuple[str, ...], options: ModelOptions, faults: Faults) -> None:
    """Raises what is known to be wrong with the networks before a library of their formats is loaded."""
    own = Faults()
    if options.names and len(options.names) != len(sources):
        allowed = f"{plural(len(sources), 'name')}, one for each model, in their order"
        own.add(InvalidValueError("--name", ", ".join(options.names), allowed))
    for source, each in zip(sources, _options_of(sources, options), strict=True):
        with own.caught():
            check_network(source, each._replace(names=()), faults)
    own.check()


def _options_of(sources: Sequence[str], options: ModelOptions) -> list[ModelOptions]:
    """The options of each network that go with its kind; those that go with none of the kinds stay, to be refused."""
    kinds = [source_kind(source) for source in sources]
    inputs = [options.inputs if kind == "torch" or "torch" not in kinds else () for kind in kinds]
    dims = [options.dims if kind in HAVE_DIMS or not set(HAVE_DIMS) & set(kinds) else () for kind in kinds]
    names = [options.names[place : place + 1] for place in range(len(sources))]
    partial = [options.partial and (kind == "torch" or "torch" not in kinds) for kind in kinds]
    return [ModelOptions(*each) for each in zip(inputs, dims, partial, names, strict=True)]


@click.command(epilog=_EXAMPLES)
@click.argument("sources", metavar="MODEL...", nargs=-1, required=True)
@model_options
@option("--devices", "NAMES", "Several devices, separated by commas; or all that ship.", parse_devices)
@array_options
@skip_unsupported
@extrapolate
@form_options()
@output_option("--plot", "picture", words="Draw time, utilization and, if known, energy: .png, .svg or .pdf.")
@checked(_check_sources, _check_pairs, _check_networks, _read_machines)
def compare(
    *,
    sources: tuple[str, ...],
    options: ModelOptions,
    devices: tuple[str, ...] | None,
    array: ArrayOptions,
    skip_unsupported: bool,
    extrapolate: bool,
    form: str,
    picture: str | None,
) -> None:
    """Compare networks on one or several devices.

    Each MODEL is as for hwcost model. A line is printed for each network on each device. Ratios are relative to the
    time of the first line that is not an extrapolation. The options of the array apply to every device.
    """
    machines = _read_machines(array, devices)
    networks = _networks(sources, options)
    found = Comparison.of(
        dataclasses.replace(
            summary_of(network, machine, skip_unsupported=skip_unsupported, extrapolate=extrapolate), source=source
        )
        for source, network in zip(sources, networks, strict=True)
        for machine in machines
    )
    if form == "csv":
        click.echo(csv_document(SCHEMA, found.records()), nl=False)
    else:
        click.echo(_json(found, machines) if form == "json" else found.document().for_stdout())
    for summary in {pair.summary.name: pair.summary for pair in found if pair.summary.missing}.values():
        note(f"{printable(summary.name)}: {missing_of(summary)}")
    if picture is not None:
        _draw(picture, found)


def _networks(sources: Sequence[str], options: ModelOptions) -> list[Network]:
    """All networks, each with the options that go with its kind; raises if none of them takes an option."""
    graphs = sum(source_kind(source) in HAVE_DIMS for source in sources)
    found: list[Network] = []
    used: set[str] = set()
    known: set[str] = set()
    for source, each in zip(sources, _options_of(sources, options), strict=True):
        own = each
        with about(printable(source) if len(sources) > 1 else ""):
            try:
                network = own.read(source)
            except InvalidValueError as error:
                if error.field != "--dim" or graphs < 2 or error.reason:
                    raise
                known.update(error.names)  # of several graphs, each takes the dynamic sizes that it has
                own = own._replace(dims=tuple(text for text in own.dims if text.rpartition("=")[0] in error.names))
                network = own.read(source)
        found.append(network)
        used.update(own.dims)
    for text in options.dims:
        if known and text not in used:
            check_one_of("--dim", text.rpartition("=")[0], sorted(known), what="name")
    return found


# ---------------------------------------------------------------- output


def _json(found: Comparison, machines: Sequence[Machine]) -> str:
    of_pairs = itertools.cycle(machines)
    rows = [
        pair.record() | pair.named() | {"array": settings_of(pair.summary, machine)}
        for pair, machine in zip(found, of_pairs, strict=False)
    ]
    return json_document(SCHEMA, {"reference": found.reference, "rows": rows})


def _draw(path: str, found: Comparison) -> None:
    from hwcost import plot

    with write_output("--plot", path):
        plot.save(plot.comparison_figure(found), path)
