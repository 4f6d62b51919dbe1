"""``hwcost estimate``: what one layer costs, or a sweep of layers."""

from __future__ import annotations

import click

from hwcost.cli import output
from hwcost.cli.pricing import price
from hwcost.cli.values import parse_relaxation
from hwcost.cli.workload import read_workload, workload_options
from hwcost.relaxation import RELAXATIONS

__all__ = ["estimate"]

_EXAMPLES = """\b
Examples:
  hwcost estimate --k 5 --c 6 --f 16 --s1 8 --s2 8
  hwcost estimate --k 3 --c 64 --f 1:256 --h 28 --w 28 --s1 16 --s2 16 --csv
"""


@click.command(short_help="Cycles, time and utilization of a layer.", epilog=_EXAMPLES)
@workload_options
@click.option("--clock", default="1GHz", show_default=True, metavar="FREQUENCY", help="Like 1e9, 700MHz or 1GHz.")
@click.option(
    "--relaxation",
    default="logistic",
    show_default=True,
    metavar="NAME",
    help=f"Of the smooth value: one of {', '.join(RELAXATIONS)}.",
)
@click.option("--temperature", metavar="T", help="Sharpness of the smooth steps, 1 to 1e6.  [default: 20]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values with a header.")
def estimate(
    *,
    padding: str,
    dataflow: str,
    fold_timing: str,
    clock: str,
    relaxation: str,
    temperature: str | None,
    as_json: bool,
    as_csv: bool,
    **sizes: tuple[str, ...],
) -> None:
    """Cycles, time and utilization of a convolution on a systolic array.

    Sizes are integers. A list (8,16,32) or a range with both ends (1:256, or 1:256:8 with a step) makes a sweep: one
    row for each value, and for each combination where several options are swept, the last of them varying fastest.
    """
    if as_json and as_csv:
        raise click.UsageError("--csv is given; allowed: not together with --json")
    smooth = parse_relaxation("--relaxation", relaxation, temperature)
    workload = read_workload(sizes, padding=padding, dataflow=dataflow, fold_timing=fold_timing, clock=clock)
    figures = price(workload, smooth)
    output.write(workload, smooth, figures, "json" if as_json else "csv" if as_csv else "text")
