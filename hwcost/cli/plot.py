"""``hwcost plot``: smooth ceilings, the stairs of a layer, memory and time of a network, as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from hwcost.cli.shared.documents import json_document
from hwcost.cli.shared.machines import BUFFER, ArrayOptions, check_array, timed_options
from hwcost.cli.shared.networks import ModelOptions, model_argument, summary_of
from hwcost.cli.shared.options import (
    Decorator,
    default_option,
    extrapolate,
    keep_activations,
    option_names,
    skip_unsupported,
)
from hwcost.cli.shared.outputs import check_outputs, output_option, write_output
from hwcost.cli.shared.values import parse_number, parse_relaxations
from hwcost.cli.shared.workload import SWEEP_LIMIT, Workload, read_workload, sizes_in, workload_options
from hwcost.console import Commands, checked
from hwcost.errors import InvalidValueError
from hwcost.relaxation import RELAXATIONS, Relaxation
from hwcost.units import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot"]

SCHEMA = "hwcost.plot/1"

_EXAMPLE = """\b
Example:
  hwcost plot stairs --k 3 --f 64 --c 1:128 --s1 16 --s2 16 -o stairs.svg
"""

_MEMORY_EXAMPLE = """\b
Example:
  hwcost plot memory net.py:Net --input 1,3,224,224 --s1 16 --s2 16 --buffer 256k
"""

_TIMELINE_EXAMPLE = """\b
Example:
  hwcost plot timeline net.py:Net --input 1,3,224,224 --device gemmini -o timeline.png
"""

_KINDS = ("logistic", "shifted", "generalized")
_MAXIMUM = (parse_number, "a number from 1 to 1000", 1.0, 1000.0)
_TEMPERATURES = (10.0, 20.0, 100.0)
_FIELDS = {"f": "out_channels", "c": "in_channels"}


def _output_option(default: str) -> Decorator:
    words = "The picture to write: .png, .svg or .pdf."
    return output_option("-o", "--output", default=default, show_default=True, words=words)


def _relaxation_option(default: str) -> Decorator:
    words = f"The ceilings to draw, separated by commas: some of {', '.join(RELAXATIONS)}."
    return default_option("--relaxation", default=default, metavar="NAMES", words=words)


_json_option = click.option("--json", "as_json", is_flag=True, help="Print the data of the picture.")


@click.group(cls=Commands)
def plot() -> None:
    """Draw stairs, smooth stand-ins, or a network's memory or time.

    Pictures are PNG, SVG or PDF files.
    """


def _ceilings(relaxation: str, temperature: str | None) -> list[Relaxation]:
    temperatures = None if temperature is None else temperature.split(",")
    return parse_relaxations(relaxation.split(","), temperatures, _TEMPERATURES)


@plot.command()
@_output_option("ceiling.png")
@_relaxation_option(",".join(_KINDS))
@click.option("--temperature", metavar="T", help="Sharpness of the steps, one or several.  [default: 10,20,100]")
@default_option("--max", "maximum", default="5", metavar="X", words="End of the axis.", parser=_MAXIMUM)
@_json_option
@checked(_ceilings)
def ceiling(*, output: str, relaxation: str, temperature: str | None, maximum: float, as_json: bool) -> None:
    """Draw smooth ceilings and their gradients.

    The ceilings are drawn next to the exact one, with their gradients below.
    """
    from hwcost import plot as plots

    rows = _ceilings(relaxation, temperature)
    figure = plots.ceiling_figure(rows, maximum)
    _write("ceiling", figure, output, plots.ceiling_data(rows, maximum) if as_json else None)


def _steps(relaxation: str, temperature: str | None) -> list[Relaxation]:
    return parse_relaxations(relaxation.split(","), None if temperature is None else [temperature])


def _workload(
    sizes: Mapping[str, tuple[str, ...]], padding: str | int | tuple[int, int], array: ArrayOptions
) -> tuple[Workload, str]:
    """The layer and the array, and which of "f" and "c" is swept."""
    swept_c = any("," in text or ":" in text for text in sizes["c"])
    defaults = {"k": "5", "c": "6", "f": "16" if swept_c else "1:64", "s1": "8", "s2": "8"}
    workload = read_workload(sizes, padding=padding, array=array, defaults=defaults)
    return workload, _swept(workload)


def _check_workload(known: Mapping[str, Any], padding: str | int | tuple[int, int], array: ArrayOptions) -> None:
    if (sizes := sizes_in(known)) is not None:
        _workload(sizes, padding, array)


def _swept(workload: Workload) -> str:
    """Which of "f" and "c" is swept; raises unless exactly one of them is, and nothing else."""
    swept = [axis.option.removeprefix("--") for axis in workload.axes]
    if not swept:
        raise InvalidValueError("--f", workload.values["f"], "a list or a range like 1:64, unless --c is one")
    for name in swept:
        if name not in _FIELDS or name != swept[0]:
            allowed = "give it one size: exactly one of --f and --c is swept"
            raise InvalidValueError(f"--{name}", name, allowed, reason="it is a list or a range")
    return swept[0]


@plot.command(epilog=_EXAMPLE)
@workload_options
@_output_option("stairs.png")
@_relaxation_option("logistic")
@click.option("--temperature", metavar="T", help="Sharpness of the smooth steps, 1 to 1e6.  [default: 20]")
@BUFFER
@_json_option
@checked(_steps, _check_workload)
def stairs(
    *,
    padding: str | int | tuple[int, int],
    array: ArrayOptions,
    output: str,
    relaxation: str,
    temperature: str | None,
    as_json: bool,
    **sizes: tuple[str, ...],
) -> None:
    """Draw the cycles of a layer against its filters or channels.

    The picture shows cycles and utilization, exact, relaxed and as FLOPs would have them. One of --f and --c is a
    list or a range; the default is --f 1:64. Other defaults: a 5 x 5 kernel, 6 channels, 16 filters if channels are
    swept, and an 8 x 8 array.
    """
    from hwcost import plot as plots

    rows = _steps(relaxation, temperature)
    workload, name = _workload(sizes, padding, array)
    layer, machine = workload.layer(), workload.array()
    widths = list(workload.sizes[name].numbers())
    try:
        of = {"device": workload.machine.file}
        figure = plots.stairs_figure(layer, machine, _FIELDS[name], widths, rows, **of)
        data = plots.stairs_data(layer, machine, _FIELDS[name], widths, rows, **of) if as_json else None
    except InvalidValueError as error:
        raise _in_a_sweep(error, name) from None
    _write("stairs", figure, output, data)


def _check_output(source: str, output: str) -> None:
    check_outputs([source], {"--output": output})


@plot.command(epilog=_MEMORY_EXAMPLE)
@model_argument
@timed_options
@BUFFER
@_output_option("memory.png")
@_json_option
@checked(_check_output, check_array)
def memory(*, source: str, options: ModelOptions, array: ArrayOptions, output: str, as_json: bool) -> None:
    """Draw the activations of a network, layer by layer.

    MODEL is as for hwcost model. The picture shows the bytes of all results that are alive while each layer runs and,
    on a machine with a buffer, which of them stay in it (as with hwcost model --keep-activations).
    """
    from hwcost import plot as plots

    machine, network = array.read(), options.read(source)
    names = {"SystolicArray.buffer_bytes": "--buffer", "network": "MODEL", "array": "the machine"}
    with option_names(names, printable(network.name)):
        own = None if machine.file is None else machine.file.memory_bytes
        title = f"{network.name} on {machine.label}"
        figure = plots.memory_figure(network, machine.array, title, memory_bytes=own)
        data = plots.memory_data(network, machine.array, own) if as_json else None
    _write("memory", figure, output, data)


@plot.command(epilog=_TIMELINE_EXAMPLE)
@model_argument
@timed_options
@BUFFER
@keep_activations
@skip_unsupported
@extrapolate
@_output_option("timeline.png")
@_json_option
@checked(_check_output, check_array)
def timeline(
    *,
    source: str,
    options: ModelOptions,
    array: ArrayOptions,
    keep_activations: bool,
    skip_unsupported: bool,
    extrapolate: bool,
    output: str,
    as_json: bool,
) -> None:
    """Draw the layers of a network along time.

    MODEL is as for hwcost model. Each layer is a block as wide as its time and as high as its utilization, in the
    colour of what bounds it; on a machine with a buffer, the memory in use is below.
    """
    from hwcost import plot as plots

    machine, network = array.read(), options.read(source)
    how = {"skip_unsupported": skip_unsupported, "extrapolate": extrapolate, "keep_activations": keep_activations}
    summary = summary_of(network, machine, **how)
    figure = plots.timeline_figure(summary)
    _write("timeline", figure, output, plots.timeline_data(summary) if as_json else None)


def _in_a_sweep(error: InvalidValueError, name: str) -> InvalidValueError:
    if error.field == "the number of widths":
        return error.at(f"the number of widths in --{name}")
    return InvalidValueError(error.field, error.value, SWEEP_LIMIT) if isinstance(error.value, int) else error


def _write(name: str, figure: Figure, path: str, data: Mapping[str, Any] | None) -> None:
    from hwcost.plot import save

    with write_output("--output", path, quiet=True):
        save(figure, path)
    if data is None:
        click.echo(path)
    else:
        click.echo(json_document(SCHEMA, {"plot": name, "file": path, "data": data}, indent=None))
