"""``hwcost estimate``: the cost of one layer, or of a sweep of layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from click.core import ParameterSource

from hwcost.arrays import Size
from hwcost.cli import estimate_output as output
from hwcost.cli.shared.machines import BUFFER, CLOCK, ENERGY, ArrayOptions
from hwcost.cli.shared.options import default_option, form_options, option
from hwcost.cli.shared.values import parse_folder, parse_relaxations
from hwcost.cli.shared.workload import (
    SWEEP_LIMIT,
    Workload,
    check_complete,
    read_workload,
    sizes_in,
    workload_options,
)
from hwcost.console import checked
from hwcost.errors import Faults, InvalidValueError, MixedLibrariesError
from hwcost.machine.array import SystolicArray
from hwcost.model.formula import layer_cycles, price
from hwcost.model.layers import Conv2d
from hwcost.model.pricing import Pricing
from hwcost.relaxation import RELAXATIONS, Relaxation

if TYPE_CHECKING:
    from hwcost.cli.explain import Sentence

__all__ = ["estimate"]

_STAND_INS = f"Stand-in for the ceiling in the smooth value: {', '.join(RELAXATIONS)}."

_EXAMPLES = """\b
Examples:
  hwcost estimate --k 5 --c 6 --f 16 --s1 8 --s2 8
  hwcost estimate --k 3 --c 64 --f 1:256 --h 28 --w 28 --s1 16 --s2 16 --csv
  hwcost estimate --k 3 --c 64 --f 64 --h 56 --w 56 --device gemmini --explain
  hwcost estimate --scalesim-topology topology.csv --scalesim-config array.cfg
"""


FILES = ("scalesim_topology", "scalesim_config", "scalesim_report")
"""The options of files of SCALE-Sim."""
_OF_THE_COST = (
    "folds", "utilization", "seconds", "macs", "compute_cycles", "memory_cycles", "overhead_cycles", "waiting_cycles",
    "bound",
)  # fmt: skip
_OTHERS = "use other sizes, another --clock, --relaxation or --temperature"
_FINITE = f"a number above 0, below 1.8e308; {_OTHERS}"


def _given() -> set[str]:
    """The names of the options that are on the command line."""
    ctx = click.get_current_context()
    names = (param.name or "" for param in ctx.command.params)
    return {name for name in names if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}


def _check_complete() -> None:
    given = _given()
    if given.isdisjoint(FILES):
        check_complete(given | ({"s1", "s2"} if "device" in given else set()))


def _check_files(scalesim_topology: str | None, scalesim_config: str | None, scalesim_report: str | None) -> None:
    """Raises for options that do not go with files of SCALE-Sim, and for what is wrong in these."""
    given = dict(zip(FILES, (scalesim_topology, scalesim_config, scalesim_report), strict=True))
    if all(path is None for path in given.values()):
        return
    ctx, faults = click.get_current_context(), Faults()
    reason = "the files of --scalesim-topology and --scalesim-config give layers and array"
    for param in ctx.command.params:
        if param.name in _given() - {*FILES, "as_json", "as_csv"}:
            faults.add(InvalidValueError(param.opts[0], ctx.params.get(param.name), "leave it out", reason=reason))
    from hwcost.cli.estimate_topology import read_files

    with faults.caught():
        read_files(**given)
    faults.check()


def _smooth(relaxation: str, temperature: str | None) -> Relaxation:
    return parse_relaxations([relaxation], None if temperature is None else [temperature])[0]


def _check_workload(
    known: Mapping[str, Any],
    padding: str | int | tuple[int, int],
    array: ArrayOptions,
    explained: bool,
    as_csv: bool,
) -> None:
    sizes = sizes_in(known)
    if sizes is not None and _given().isdisjoint(FILES):
        workload = read_workload(sizes, padding=padding, array=array)
        if explained and (workload.is_sweep or as_csv):
            reason = "it needs a single point, as text or --json"
            raise InvalidValueError("--explain", True, "leave it out", reason=reason)


@click.command(epilog=_EXAMPLES)
@workload_options
@click.option("--scalesim-topology", metavar="FILE", help="Price the layers of a SCALE-Sim topology.")
@click.option("--scalesim-config", metavar="FILE", help="The SCALE-Sim configuration of the array.")
@option("--scalesim-report", "DIR", "Write the COMPUTE_REPORT.csv of SCALE-Sim to this folder.", parse_folder)
@CLOCK
@BUFFER
@ENERGY
@default_option("--relaxation", default="logistic", metavar="NAME", words=_STAND_INS)
@click.option("--temperature", metavar="T", help="Sharpness of the smooth steps, 1 to 1e6.  [default: 20]")
@click.option("--explain", "explained", is_flag=True, help="List the terms of the figure in words.")
@form_options()
@checked(_check_complete, _check_files, _smooth, _check_workload)
def estimate(
    *,
    padding: str | int | tuple[int, int],
    array: ArrayOptions,
    relaxation: str,
    temperature: str | None,
    scalesim_topology: str | None,
    scalesim_config: str | None,
    scalesim_report: str | None,
    explained: bool,
    form: str,
    **sizes: tuple[str, ...],
) -> None:
    """Price one layer, or a sweep of layers.

    The layer is a convolution; its cycles, time and utilization on a systolic array are printed. Sizes are
    integers. A list (8,16,32) or an inclusive range (1:256, or 1:256:8 with a step) makes a sweep with one row per
    value. If several options are swept, there is one row per combination; the last of them varies fastest.
    """
    if (scalesim_topology, scalesim_config, scalesim_report) != (None, None, None):
        from hwcost.cli.estimate_topology import estimate_topology

        estimate_topology(scalesim_topology, scalesim_config, scalesim_report, form=form)
        return
    smooth = _smooth(relaxation, temperature)
    workload = read_workload(sizes, padding=padding, array=array)
    figures, pricing = _figures_of(workload, smooth)
    terms: Sequence[Sentence] = ()
    if explained:
        from hwcost.cli.explain import explain

        terms = explain(pricing)
    output.write(workload, smooth, figures, form, pricing=pricing, terms=terms)


# ---------------------------------------------------------------- figures


def _figures_of(workload: Workload, smooth: Relaxation) -> tuple[output.Figures, Pricing]:
    """All figures that are printed, for all points of a sweep at once, and the pricing that they come from."""
    layer, array = workload.layer(), workload.array()
    with np.errstate(all="ignore"):
        try:
            (gemm,) = layer.gemms()
            pricing = price(gemm, array)
            figures = _figures(pricing, _smooth_cycles(layer, array, smooth))
        except InvalidValueError as error:
            if error.field == "the cost":
                raise InvalidValueError(error.field, error.value, _OTHERS, reason=error.reason) from None
            if error.field == "SystolicArray.buffer_bytes":
                raise error.at("--buffer") from None
            if not workload.is_sweep:
                raise
            raise InvalidValueError(error.field, error.value, SWEEP_LIMIT) from None
        _check_finite("the seconds at this --clock", figures["seconds"])
        _check_finite(f"the cycles by relaxation {smooth.name}", figures["smooth_cycles"])
    return figures | output.of_measurements(workload, figures), pricing


def _figures(pricing: Pricing, smooth_cycles: Size) -> output.Figures:
    exact = pricing.cost
    return {
        "cycles": exact.cycles,
        "smooth_cycles": smooth_cycles,
        **{f"folds_{name}": pricing.pick(_folds(name)) for name in ("along_rows", "along_cols", "in_time")},
        **{name: getattr(exact, name) for name in _OF_THE_COST},
        **exact.memory_figures,
    }


def _folds(name: str) -> Callable[[Pricing], Size]:
    return lambda pricing: getattr(pricing.work.folds, name)


def _smooth_cycles(layer: Conv2d, array: SystolicArray, smooth: Relaxation) -> Size:
    """Cycles by the relaxation, as floats; NaN if it overflows."""
    try:
        return 1.0 * layer_cycles(layer, array, smooth)
    except InvalidValueError as error:
        if error.field != "the cost":
            raise
        return math.nan
    except (OverflowError, MixedLibrariesError):  # the latter: complex numbers, roots of sizes that became negative
        return math.nan


def _check_finite(what: str, figure: Size) -> None:
    good = np.isfinite(figure) & (np.asarray(figure) > 0)
    if not np.all(good):
        raise InvalidValueError(what, np.asarray(figure)[~good].flat[0].item(), _FINITE)
