"""``hwcost compare``: networks on arrays, side by side."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from hwcost.cli.model_output import settings_of
from hwcost.cli.shared.documents import csv_document, json_document
from hwcost.cli.shared.machines import ArrayOptions, Machine, array_options
from hwcost.cli.shared.networks import HAVE_DIMS, ModelOptions, model_options, summary_of
from hwcost.cli.shared.options import extrapolate, form_options, skip_unsupported
from hwcost.cli.shared.outputs import PICTURE, check_outputs, write_output
from hwcost.console import note
from hwcost.errors import InvalidValueError, check_one_of
from hwcost.reports.comparison import Comparison, Pair
from hwcost.reports.shown import missing_of
from hwcost.units import printable

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


@click.command(epilog=_EXAMPLES)
@click.argument("sources", metavar="MODEL...", nargs=-1, required=True)
@model_options
@click.option("--devices", metavar="NAMES", help="Several devices, separated by commas; or all that ship.")
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
    found = Comparison.of(
        summary_of(network, machine, skip_unsupported=skip_unsupported, extrapolate=extrapolate)
        for network in networks
        for machine in machines
    )
    if form == "csv":
        of_pairs = [source for source in sources for _ in machines]
        click.echo(csv_document(SCHEMA, list(map(_row, of_pairs, found))), nl=False)
    else:
        click.echo(_json(found, sources, machines) if form == "json" else found.document().for_stdout())
    for summary in {pair.summary.name: pair.summary for pair in found if pair.summary.missing}.values():
        note(f"{printable(summary.name)}: {missing_of(summary)}")
    if picture is not None:
        _draw(picture, found, len(machines))


def _device_names(device: str | None, devices: str | None) -> list[str | None]:
    if devices is None:
        if device is not None and (device == "all" or "," in device):
            raise InvalidValueError("--device", device, f"several devices: --devices {device}", reason="it takes one")
        return [device]
    if device is not None:
        raise InvalidValueError("--device", device, "leave one of them out", reason="--devices is given as well")
    if devices == "all":
        from hwcost.devices import device_names

        return list(device_names())
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
    if options.names and len(options.names) != len(sources):
        raise InvalidValueError(
            "--name", ", ".join(options.names), f"a name for each of {len(sources)} models, in order"
        )
    for index, (source, kind) in enumerate(zip(sources, kinds, strict=True)):
        names = options.names[index : index + 1]
        # an option that goes with none of the kinds is given to the first network, which refuses it
        inputs = options.inputs if kind == "torch" or "torch" not in kinds else ()
        dims = options.dims if kind in HAVE_DIMS or not set(HAVE_DIMS) & set(kinds) else ()
        try:
            network = ModelOptions(inputs, dims, names=names).read(source)
        except InvalidValueError as error:
            if error.field != "--dim" or sum(each in HAVE_DIMS for each in kinds) < 2 or error.reason:
                raise
            known.update(error.names)  # of several graphs, each takes the dynamic sizes that it has
            dims = tuple(text for text in dims if text.rpartition("=")[0] in error.names)
            network = ModelOptions(inputs, dims, names=names).read(source)
        found.append(network)
        used.update(dims)
    for text in options.dims:
        if known and text not in used:
            check_one_of("--dim", text.rpartition("=")[0], sorted(known), what="name")
    return found


# ---------------------------------------------------------------- output


def _row(source: str, pair: Pair) -> dict[str, Any]:
    record = pair.record()
    return {"network": record.pop("network"), "source": source} | record


def _json(found: Comparison, sources: Sequence[str], machines: Sequence[Machine]) -> str:
    rows = [
        _row(source, pair) | pair.named() | {"array": settings_of(pair.summary, machine)}
        for pair, (source, machine) in zip(found, itertools.product(sources, machines), strict=True)
    ]
    return json_document(SCHEMA, {"rows": rows})


def _draw(path: str, found: Comparison, width: int) -> None:
    from hwcost import plot

    rows = [found.pairs[i : i + width] for i in range(0, len(found), width)]
    figure = plot.comparison_figure(
        [row[0].summary.name for row in rows],
        [pair.summary.device or pair.summary.array.size_in_words for pair in rows[0]],
        [[_shown(pair, pair.summary.cost.seconds) for pair in row] for row in rows],
        [[_shown(pair, pair.summary.cost.utilization) for pair in row] for row in rows],
        [[bool(pair.summary.extrapolated_share) for pair in row] for row in rows],
        joules=[[float("nan") if (energy := pair.energy_joules) is None else energy for pair in row] for row in rows],
    )
    with write_output("--plot", path):
        plot.save(figure, path)


def _shown(pair: Pair, figure: float) -> float:
    """A figure, or NaN if most of it is beyond what was measured."""
    return float("nan") if pair.summary.is_withheld() else figure
