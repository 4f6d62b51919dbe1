"""``hwcost plot``: the smooth ceilings, and the stairs of a layer, as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from hwcost.cli.shared.values import (
    at_temperature,
    parse_number,
    parse_relaxations,
    parse_temperature,
    parse_temperatures,
)
from hwcost.cli.shared.workload import SWEEP_LIMIT, Workload, read_workload, workload_options
from hwcost.console import Commands
from hwcost.errors import InvalidValueError
from hwcost.relaxation import RELAXATIONS, Relaxation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot"]

SCHEMA = "hwcost.plot/1"

_EXAMPLE = """\b
Example:
  hwcost plot stairs --k 3 --f 64 --c 1:128 --s1 16 --s2 16 -o stairs.svg
"""

_KINDS = ("logistic", "shifted", "generalized")
_TEMPERATURES = (10.0, 20.0, 100.0)
_FIELDS = {"f": "out_channels", "c": "in_channels"}


@click.group(cls=Commands, short_help="Pictures of the stairs and of their smooth stand-ins.")
def plot() -> None:
    """Pictures, written as PNG, SVG or PDF."""


@plot.command(short_help="Smooth ceilings against the exact one, with their gradients.")
@click.option("-o", "--output", default="ceiling.png", show_default=True, metavar="FILE", help=".png, .svg or .pdf.")
@click.option(
    "--relaxation",
    default=",".join(_KINDS),
    show_default=True,
    metavar="NAMES",
    help=f"Some of {', '.join(RELAXATIONS)}, with commas.",
)
@click.option("--temperature", metavar="T", help="Sharpness of the steps, some with commas.  [default: 10,20,100]")
@click.option("--max", "maximum", default="5", show_default=True, metavar="X", help="Where the axis ends.")
@click.option("--json", "as_json", is_flag=True, help="Print the data drawn.")
def ceiling(*, output: str, relaxation: str, temperature: str | None, maximum: str, as_json: bool) -> None:
    """The smooth ceilings against the exact one, and their gradients below."""
    from hwcost import plot as plots

    _check_output(output)
    names = parse_relaxations("--relaxation", relaxation)
    if temperature is not None and not any(RELAXATIONS[name].sharpness for name in names):
        raise InvalidValueError("--temperature", temperature, f"none for {relaxation}, which has no temperature")
    temperatures = _TEMPERATURES if temperature is None else parse_temperatures("--temperature", temperature)
    rows = [
        row
        for name in names
        for row in (
            [at_temperature(RELAXATIONS[name], t) for t in temperatures]
            if RELAXATIONS[name].sharpness
            else [RELAXATIONS[name]]
        )
    ]
    stop = parse_number("--max", maximum, "a number from 1 to 1000", 1.0, 1000.0)
    figure = plots.ceiling_figure(rows, stop)
    _finish("ceiling", figure, output, plots.ceiling_data(rows, stop) if as_json else None)


@plot.command(short_help="Cycles and utilization against the number of filters or channels.", epilog=_EXAMPLE)
@workload_options
@click.option("-o", "--output", default="stairs.png", show_default=True, metavar="FILE", help=".png, .svg or .pdf.")
@click.option(
    "--relaxation",
    default="logistic",
    show_default=True,
    metavar="NAMES",
    help=f"Some of {', '.join(RELAXATIONS)}, with commas.",
)
@click.option("--temperature", metavar="T", help="Sharpness of the smooth steps, 1 to 1e6.  [default: 20]")
@click.option("--json", "as_json", is_flag=True, help="Print the data drawn.")
def stairs(
    *,
    padding: str,
    device: str | None,
    dataflow: str | None,
    fold_timing: str | None,
    output: str,
    relaxation: str,
    temperature: str | None,
    as_json: bool,
    **sizes: tuple[str, ...],
) -> None:
    """Cycles and utilization against the number of filters (--f) or channels (--c): exact, smooth and FLOPs-like.

    One of --f and --c is a list or range; without both it is --f 1:64. Where nothing is given, the kernel is 5 x 5 on
    6 channels, with 16 filters where the channels are swept, and the array 8 x 8.
    """
    from hwcost import plot as plots

    _check_output(output)
    rows = _relaxations(relaxation, temperature)
    swept_c = any("," in text or ":" in text for text in sizes.get("c", ()))
    defaults = {"k": "5", "c": "6", "f": "16" if swept_c else "1:64", "s1": "8", "s2": "8"}
    workload = read_workload(
        sizes, padding=padding, device=device, dataflow=dataflow, fold_timing=fold_timing, defaults=defaults
    )
    name = _swept(workload)
    layer, array = workload.layer(), workload.array()
    workload.say_extrapolation()
    widths = list(workload.sizes[name])
    try:
        figure = plots.stairs_figure(layer, array, _FIELDS[name], widths, rows)
        data = plots.stairs_data(layer, array, _FIELDS[name], widths, rows) if as_json else None
    except InvalidValueError as error:
        raise _in_a_sweep(error, name) from None
    _finish("stairs", figure, output, data)


def _relaxations(names: str, temperature: str | None) -> list[Relaxation]:
    rows = [RELAXATIONS[name] for name in parse_relaxations("--relaxation", names)]
    if temperature is None:
        return rows
    if not any(row.sharpness for row in rows):
        raise InvalidValueError("--temperature", temperature, f"none for {names}, which has no temperature")
    return [at_temperature(row, parse_temperature("--temperature", temperature)) for row in rows]


def _swept(workload: Workload) -> str:
    swept = [axis.option.removeprefix("--") for axis in workload.axes]
    if len(swept) != 1 or swept[0] not in _FIELDS:
        given = " ".join(f"--{name}" for name in swept) or "none"
        raise InvalidValueError("the swept options", given, "exactly one, --f or --c, like --f 1:64")
    return swept[0]


def _in_a_sweep(error: InvalidValueError, name: str) -> InvalidValueError:
    if error.field == "the number of widths":
        return error.at(f"the number of widths in --{name}")
    return InvalidValueError(error.field, error.value, SWEEP_LIMIT) if isinstance(error.value, int) else error


def _check_output(path: str) -> None:
    """Raises before any work where the ending says nothing; the writing itself may still fail."""
    from hwcost.plot import check_path

    try:
        check_path(path)
    except InvalidValueError as error:
        raise error.at("--output") from None


def _finish(name: str, figure: Figure, path: str, data: Mapping[str, Any] | None) -> None:
    import json

    from hwcost._version import __version__
    from hwcost.plot import save

    try:
        save(figure, path)
    except InvalidValueError as error:
        raise error.at("--output") from None
    if data is None:
        click.echo(path)
    else:
        document = {"schema": SCHEMA, "version": __version__, "plot": name, "file": path, "data": data}
        click.echo(json.dumps(document))
