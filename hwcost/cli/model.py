"""``hwcost model``: what a whole network costs on an array, from its file to a report, a picture and other files."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from hwcost.cli.shared.networks import array_label, array_options, model_options, read_array, read_model
from hwcost.cli.shared.values import check_outputs
from hwcost.errors import InvalidValueError

if TYPE_CHECKING:
    from hwcost.network.network import Network
    from hwcost.reports import Summary

__all__ = ["model"]

SORTS = ("cycles", "time", "macs", "utilization", "waste", "name", "order")
_MOST = 10**9
_OF_THE_LIST = ("skip_unsupported", "sort", "top", "depth", "all")

_EXAMPLES = """\b
Examples:
  hwcost model net.py:Net --input 1,3,224,224 --device tpu-v1 --plot net.png
  hwcost model net.onnx --dim batch=1 --device gemmini --sort waste --top 10
  hwcost model layers.csv --s1 32 --s2 32 --fold-timing serial --html report.html
"""


@click.command(short_help="What a whole network costs, layer by layer.", epilog=_EXAMPLES)
@click.argument("source", metavar="MODEL")
@model_options
@array_options
@click.option("--skip-unsupported", is_flag=True, help="Leave out operations that cannot be priced, and name them.")
@click.option("--sort", metavar="KEY", help=f"A list instead of a tree, the worst first; one of: {', '.join(SORTS)}.")
@click.option("--top", metavar="N", help="No more than N lines of the list.  [sorted by cycles where not said]")
@click.option("--depth", metavar="N", help="Modules so deep are one line each.  [default: all are opened]")
@click.option("--all", "everything", is_flag=True, help="Show operations that only move memory, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values with a header.")
@click.option("--plot", "picture", metavar="FILE", help="Draw it: .png, .svg or .pdf.")
@click.option("--html", "page", metavar="FILE", help="Write a report that a browser shows, with table and pictures.")
@click.option("--to-csv", metavar="FILE", help="Write the layers as a CSV list, which hwcost reads again.")
@click.option("--to-scalesim", metavar="FILE", help="Write the layers as a SCALE-Sim topology.")
def model(
    *,
    source: str,
    inputs: tuple[str, ...],
    dims: tuple[str, ...],
    device: str | None,
    s1: str | None,
    s2: str | None,
    dataflow: str | None,
    fold_timing: str | None,
    clock: str | None,
    skip_unsupported: bool,
    sort: str | None,
    top: str | None,
    depth: str | None,
    everything: bool,
    as_json: bool,
    as_csv: bool,
    **files: str | None,
) -> None:
    """Cycles, time, utilization and waste of a network, module by module.

    MODEL is FILE.py:NAME for a PyTorch module (or a class or function that makes one), an ONNX file, a TOML or CSV list
    of layers, or a SCALE-Sim topology. A Python file is run.
    """
    from hwcost.cli import model_output as output
    from hwcost.cli.shared.summaries import priced, say_extrapolation

    if as_json and as_csv:
        raise click.UsageError("--csv is given; allowed: not together with --json")
    most, deepest = _count("--top", top), _count("--depth", depth)
    _check_files(source, files, sort)
    array, file = read_array(device, s1, s2, dataflow, fold_timing, clock)
    network = read_model(source, inputs, dims)
    summary = priced(network, array, skip_unsupported=skip_unsupported)
    say_extrapolation(network, file)
    lines = output.lines_of(summary, depth=deepest, everything=everything)
    key = sort or ("cycles" if most is not None else None)
    if key is not None or as_json or as_csv:
        lines = sorted((line for line in lines if not line.is_open), key=output.SORTS[key or "order"])
    left_out = 0 if most is None else max(0, len(lines) - most)
    lines, label = lines[:most], array_label(array, file)
    settings = {
        "source": source, "inputs": list(inputs), "dims": list(dims),
        **output.settings_of(summary, None if file is None else file.name),
        "skip_unsupported": skip_unsupported, "sort": key, "top": most, "depth": deepest, "all": everything,
    }  # fmt: skip
    if as_json:
        click.echo(output.as_json(summary, lines, settings, left_out=left_out))
    elif as_csv:
        click.echo(output.as_csv(summary, lines, settings), nl=False)
    else:
        flat = key is not None
        click.echo("\n".join(output.as_text(summary, lines, label, flat=flat, left_out=left_out)))
    if summary.missing and (as_json or as_csv):
        click.echo(f"Note: {output.missing_text(summary)}", err=True)
    _write_files(files, network, summary, label, settings)


def _count(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= 1):
        raise InvalidValueError(option, text, f"an integer of at least 1, below {_MOST}")
    return int(text)


def _check_files(source: str, files: dict[str, str | None], sort: str | None) -> None:
    """Raises before any work where the name of a file, or of an order, says nothing."""
    from hwcost.cli.shared.summaries import check_picture

    if sort is not None and sort not in SORTS:
        raise InvalidValueError("--sort", sort, f"one of: {', '.join(SORTS)}")
    check_picture("--plot", files["picture"])
    page = files["page"]
    if page is not None and not page.lower().endswith((".html", ".htm")):
        raise InvalidValueError("--html", page, "a file name ending in .html or .htm")
    for name in ("to_csv", "to_scalesim"):
        path = files[name]
        if path is not None and not path.lower().endswith(".csv"):
            raise InvalidValueError(f"--{name.replace('_', '-')}", path, "a file name ending in .csv")
    options = {"picture": "--plot", "page": "--html", "to_csv": "--to-csv", "to_scalesim": "--to-scalesim"}
    check_outputs([source], {option: files[name] for name, option in options.items()})


def _write_files(
    files: dict[str, str | None], network: Network, summary: Summary, label: str, settings: dict[str, Any]
) -> None:
    from hwcost.cli.shared.summaries import written

    title = f"{summary.name} on {label}"
    skip = bool(summary.missing)
    if (path := files["picture"]) is not None:
        from hwcost import plot

        figure = plot.network_figure(network, summary.array, title, skip_unsupported=skip)
        written("--plot", path, lambda path: plot.save(figure, path))
    if (path := files["page"]) is not None:
        page = _page(network, summary, title, {name: settings[name] for name in settings if name not in _OF_THE_LIST})
        written("--html", path, lambda path: _write_page(path, page))
    for option, name in (("--to-csv", "to_csv"), ("--to-scalesim", "to_scalesim")):
        if (path := files[name]) is not None:
            from hwcost.importers import lists

            write = lists.write_layers if name == "to_csv" else lists.write_scalesim
            for note in written(option, path, functools.partial(write, network=network)):
                click.echo(f"Note: {note}", err=True)


def _page(network: Network, summary: Summary, title: str, settings: dict[str, Any]) -> str:
    from hwcost import plot
    from hwcost.cli.model_output import html_lines, missing_text, said
    from hwcost.reports.html import html_report

    pictures = {}
    for name in plot.PICTURES:
        figure = plot.network_figure(network, summary.array, pictures=[name], skip_unsupported=bool(summary.missing))
        pictures[name] = plot.svg(figure)
    total = summary.figures() | {"seconds_by_bound": summary.seconds_by_bound}
    missing = missing_text(summary) if summary.missing else ""
    return html_report(title, settings, total, html_lines(summary), pictures, notes=said(summary), missing=missing)


def _write_page(path: str, page: str) -> None:
    from hwcost.files import write_whole

    write_whole(path, page.encode())
