"""``hwcost model``: the cost of a whole network on an array, as a report, pictures and other files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from hwcost.cli.model_output import as_csv, as_json, settings_of
from hwcost.cli.shared.machines import ArrayOptions, Machine, model_array_options
from hwcost.cli.shared.networks import ModelOptions, model_argument, summary_of
from hwcost.cli.shared.options import (
    block,
    extrapolate,
    form_options,
    keep_activations,
    option_names,
    parsed_by,
    size_option,
    skip_unsupported,
)
from hwcost.cli.shared.outputs import CSV, HTML, check_outputs, output_option, write_output
from hwcost.cli.shared.values import parse_name
from hwcost.console import checked, note
from hwcost.errors import InvalidValueError
from hwcost.machine import adapt
from hwcost.model.words import missing_text
from hwcost.reports.lines import SORTS, lines_of
from hwcost.reports.shown import document_of, missing_of
from hwcost.units import SIZES, in_unit, printable

if TYPE_CHECKING:
    from hwcost.machine.array import SystolicArray
    from hwcost.network.network import Network
    from hwcost.reports import Summary

__all__ = ["model"]

_OF_THE_LIST = ("skip_unsupported", "sort", "top", "depth", "all")

_EXAMPLES = """\b
Examples:
  hwcost model net.py:Net --input 1,3,224,224 --device tpu-v1 --plot net.png
  hwcost model dynamic.onnx --dim batch=1 --device gemmini --sort waste --top 10
  hwcost model layers.csv --s1 32 --s2 32 --fold-timing serial --html report.html
"""


class Files(NamedTuple):
    """The files to write; None for those that were not asked for."""

    picture: str | None
    page: str | None
    to_csv: str | None
    to_scalesim: str | None


def _check_files(source: str, known: Mapping[str, Any]) -> None:
    options = ("--plot", "--html", "--to-csv", "--to-scalesim")
    check_outputs([source], {option: known.get(name) for option, name in zip(options, Files._fields, strict=True)})


def _machines(array: ArrayOptions) -> tuple[Machine, list[SystolicArray]]:
    """The machine and, if several sizes of its buffer are given, the array with each of them."""
    sizes = array.buffer if isinstance(array.buffer, tuple) else ()
    machine = array._replace(buffer=sizes[-1] if sizes else array.buffer).read()
    return machine, [array._replace(buffer=size).read().array for size in sizes]


def _check_sort(array: ArrayOptions, sort: str | None) -> None:
    machine, _ = _machines(array)
    if sort == "energy" and not machine.array.has_energy:
        reason = "the machine has no figures of energy"
        raise InvalidValueError("--sort", sort, "pass --energy NAME, or another key", reason=reason)


def _check_sizes(
    array: ArrayOptions, sort: str | None, top: int | None, depth: int | None, everything: bool, files: Files
) -> None:
    """Raises for several sizes of the buffer where there can be one."""
    if not isinstance(array.buffer, tuple):
        return
    given = ",".join(f"{size:g}" for size in array.buffer)
    if sort is not None or top is not None or depth is not None or everything or files[1:] != (None,) * 3:
        raise InvalidValueError("--buffer", given, "one size; several go with --json, --csv and --plot alone")
    if not _machines(array)[0].array.has_buffers:
        reason = "the device has a model of its own of what is read again, on which they have no effect"
        raise InvalidValueError("--buffer", given, "one size", reason=reason)


@click.command(epilog=_EXAMPLES)
@model_argument
@model_array_options
@keep_activations
@skip_unsupported
@extrapolate
@click.option(
    "--sort",
    metavar="KEY",
    callback=parsed_by(parse_name, SORTS),
    help=f"Print a list, worst first, sorted by one of: {', '.join(SORTS)}.",
)
@size_option("--top", help="Print a list of at most N lines, sorted by cycles unless --sort is given.")
@size_option("--depth", help="Collapse modules below this depth.  [default: no limit]")
@click.option("--all", "everything", is_flag=True, help="Include operations that only move memory.")
@form_options()
@block(
    "files",
    Files,
    output_option("--plot", "picture", words="Write pictures: .png, .svg or .pdf."),
    output_option("--html", "page", ends=HTML, words="Write a report for a browser, with a table and pictures."),
    output_option("--to-csv", ends=CSV, words="Write the layers as a CSV list, which hwcost reads again."),
    output_option("--to-scalesim", ends=CSV, words="Write the layers as a SCALE-Sim topology."),
)
@checked(_check_files, _check_sort, _check_sizes)
def model(
    *,
    source: str,
    options: ModelOptions,
    array: ArrayOptions,
    keep_activations: bool,
    skip_unsupported: bool,
    extrapolate: bool,
    sort: str | None,
    top: int | None,
    depth: int | None,
    everything: bool,
    form: str,
    files: Files,
) -> None:
    """Price a whole network, layer by layer.

    Cycles, time, utilization and waste are printed, module by module. MODEL is FILE.py:NAME for a PyTorch module
    (or a class or function that makes one), an ONNX or TFLite file, a TOML or CSV list of layers, or a SCALE-Sim
    topology. A Python file is run.
    """
    machine, machines = _machines(array)
    network = options.read(source)
    if machines:
        _over_buffers(
            source, options, network, machine, machines, form, files, keep=keep_activations, skip=skip_unsupported
        )
        return
    summary = summary_of(
        network, machine, skip_unsupported=skip_unsupported, extrapolate=extrapolate, keep_activations=keep_activations
    )
    lines = lines_of(summary, depth=depth, everything=everything)
    key = sort or ("cycles" if top is not None else None)
    if key is not None or form != "text":
        lines = sorted((line for line in lines if not line.is_open), key=SORTS[key or "order"])
    left_out = 0 if top is None else max(0, len(lines) - top)
    lines = lines[:top]
    settings = {
        "source": source, "inputs": list(options.inputs), "dims": list(options.dims),
        **settings_of(summary, machine),
        "keep_activations": keep_activations,
        "skip_unsupported": skip_unsupported, "extrapolate": extrapolate, "sort": key, "top": top, "depth": depth,
        "all": everything,
    }  # fmt: skip
    if form == "json":
        click.echo(as_json(summary, lines, settings, left_out=left_out))
    elif form == "csv":
        click.echo(as_csv(summary, lines, settings), nl=False)
    else:
        click.echo(document_of(summary, lines, flat=key is not None, left_out=left_out).for_stdout())
    if summary.missing and form != "text":
        note(f"{missing_of(summary)}")
    _write(files, network, summary, f"{summary.name} on {machine.label}", settings)


def _over_buffers(
    source: str,
    options: ModelOptions,
    network: Network,
    machine: Machine,
    machines: Sequence[SystolicArray],
    form: str,
    files: Files,
    *,
    keep: bool,
    skip: bool,
) -> None:
    """Prints a line for each size of the buffer, and draws them."""
    from hwcost.cli import model_buffers
    from hwcost.network.buffers import curve_of

    with option_names(
        {"SystolicArray.buffer_bytes": "--buffer", "array": "--keep-activations"}, printable(network.name)
    ):
        points = curve_of(network, machines, keep_activations=keep, skip_unsupported=skip)
    left_out = sorted({each.buffer_bytes for each in machines} - {point.buffer_bytes for point in points})
    if left_out:
        sizes = ", ".join(in_unit(size, SIZES, 4) for size in left_out)
        note(f"left out: {sizes}, too small for any tile of some layer")
    bare = machine._replace(array=adapt(machine.array, buffer_bytes=math.inf).array)
    head = f"{network.name} on {bare.label}"
    if form == "json":
        settings = {
            "source": source, "inputs": list(options.inputs), "dims": list(options.dims), "device": machine.name,
            **machine.energy_settings, "uncharged": machine.uncharged,
            "keep_activations": keep, "skip_unsupported": skip, **machine.array.as_dict(),
            "buffer_bytes": [each.buffer_bytes for each in machines],
        }  # fmt: skip
        click.echo(model_buffers.as_json(points, network, machine.array, settings))
    elif form == "csv":
        click.echo(model_buffers.as_csv(points, network), nl=False)
    else:
        document = model_buffers.document_of(points, network, machine.array, head, left_out=machine.uncharged)
        click.echo(document.for_stdout())
    if network.unsupported:
        note(missing_text({name: str(each.layer) for name, each in network.unsupported.items()}))
    if files.picture is not None:
        from hwcost import plot

        with write_output("--plot", files.picture):
            plot.save(plot.buffers_figure(points, head), files.picture)


def _write(files: Files, network: Network, summary: Summary, title: str, settings: dict[str, Any]) -> None:
    if files.picture is not None:
        from hwcost import plot

        with write_output("--plot", files.picture):
            plot.save(plot.network_figure(summary, title), files.picture)
    if files.page is not None:
        from hwcost.files import write_whole

        shown = {name: settings[name] for name in settings if name not in _OF_THE_LIST}
        with write_output("--html", files.page):
            write_whole(files.page, _page(network, summary, title, shown).encode())
    for option, path in (("--to-csv", files.to_csv), ("--to-scalesim", files.to_scalesim)):
        if path is not None:
            from hwcost.importers import lists

            with write_output(option, path):
                notes = (lists.write_layers if option == "--to-csv" else lists.write_scalesim)(path, network)
            for text in notes:
                note(text)


def _page(network: Network, summary: Summary, title: str, settings: dict[str, Any]) -> str:
    from hwcost import plot
    from hwcost.reports.html import html_report

    pictures = {name: plot.svg(plot.network_figure(summary, pictures=[name])) for name in plot.PICTURES}
    return html_report(summary, network, title=title, settings=settings, pictures=pictures)
