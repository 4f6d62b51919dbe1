"""``hwcost estimate``: the cost of one layer, or of a sweep of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from hwcost.cli import estimate_output as output
from hwcost.cli.estimate_figures import figures_of
from hwcost.cli.shared.machines import CLOCK, ArrayOptions
from hwcost.cli.shared.options import default_option, form_options
from hwcost.cli.shared.values import parse_relaxations
from hwcost.cli.shared.workload import read_workload, workload_options
from hwcost.errors import InvalidValueError
from hwcost.relaxation import RELAXATIONS

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


@click.command(epilog=_EXAMPLES)
@workload_options
@click.option("--scalesim-topology", metavar="FILE", help="Price the layers of a SCALE-Sim topology.")
@click.option("--scalesim-config", metavar="FILE", help="The SCALE-Sim configuration of the array.")
@click.option("--scalesim-report", metavar="DIR", help="Write the COMPUTE_REPORT.csv of SCALE-Sim to this folder.")
@CLOCK
@default_option("--relaxation", default="logistic", metavar="NAME", words=_STAND_INS)
@click.option("--temperature", metavar="T", help="Sharpness of the smooth steps, 1 to 1e6.  [default: 20]")
@click.option("--explain", "explained", is_flag=True, help="List the terms of the figure in words.")
@form_options()
def estimate(
    *,
    padding: str,
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
        _refuse_other_options()
        from hwcost.cli.estimate_topology import estimate_topology

        estimate_topology(scalesim_topology, scalesim_config, scalesim_report, form=form)
        return
    (smooth,) = parse_relaxations([relaxation], None if temperature is None else [temperature])
    workload = read_workload(sizes, padding=padding, array=array)
    if explained and (workload.is_sweep or form == "csv"):
        raise InvalidValueError("--explain", True, "leave it out", reason="it needs a single point, as text or --json")
    figures, pricing = figures_of(workload, smooth)
    workload.note_extrapolation()
    terms: Sequence[Sentence] = ()
    if explained:
        from hwcost.cli.explain import explain

        terms = explain(pricing)
    output.write(workload, smooth, figures, form, terms=terms)


def _refuse_other_options() -> None:
    """Raises if an option was given that --scalesim-... ignores."""
    ctx = click.get_current_context()
    taken = {"scalesim_topology", "scalesim_config", "scalesim_report", "as_json", "as_csv"}
    for param in ctx.command.params:
        name = param.name or ""
        if name not in taken and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            reason = "the files of --scalesim-topology and --scalesim-config give layers and array"
            raise InvalidValueError(param.opts[0], ctx.params[name], "leave it out", reason=reason)
