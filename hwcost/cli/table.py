"""``hwcost table``: what every layer of a network costs over the sizes of its widths, as a file for other tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from hwcost.cli.shared.documents import json_document
from hwcost.cli.shared.machines import BUFFER, ArrayOptions, Machine, check_array, timed_options
from hwcost.cli.shared.networks import ModelOptions, model_argument, note_extrapolation
from hwcost.cli.shared.options import default_option, option_names, skip_unsupported
from hwcost.cli.shared.outputs import CSV, check_outputs, output_option, write_output
from hwcost.cli.shared.values import parse_share, parse_size
from hwcost.console import checked, note
from hwcost.machine.fields import is_finite
from hwcost.model.words import missing_text
from hwcost.units import plural, shortlist

if TYPE_CHECKING:
    from hwcost.advice import MeasuredCosts
    from hwcost.network.network import Network

__all__ = ["table"]

SCHEMA = "hwcost.table/1"
_NAMED = 6
_OPTIONS = {name: f"--{name}" for name in ("widths", "step", "least")} | {"the number of rows": "--step"}

_EXAMPLES = """\b
Examples:
  hwcost table net.py:Net --input 1,3,224,224 --device gemmini --out costs.csv
  hwcost table net.onnx --s1 16 --s2 16 --widths h --step 1 --least 0.5
"""


def _names(_: click.Context, __: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(","))


def _check_out(source: str, out: str | None) -> None:
    check_outputs([source], {"--out": out})


@click.command(epilog=_EXAMPLES)
@model_argument
@timed_options
@BUFFER
@click.option(
    "--widths",
    metavar="NAMES",
    callback=_names,
    help="Change only these widths, between commas; hwcost advise lists them.  [default: all that can]",
)
@default_option(
    "--step", default="8", metavar="N", words="Take multiples of N, and today's size.", parser=(parse_size,)
)
@default_option(
    "--least", default="0.25", metavar="SHARE", words="The smallest share of each width.", parser=(parse_share,)
)
@output_option("--out", ends=CSV, metavar="FILE.csv", words="Write the table here instead of printing it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with what is beyond the measurements.")
@skip_unsupported
@checked(_check_out, check_array)
def table(
    *,
    source: str,
    options: ModelOptions,
    array: ArrayOptions,
    widths: tuple[str, ...] | None,
    step: int,
    least: float,
    out: str | None,
    as_json: bool,
    skip_unsupported: bool,
) -> None:
    """Tabulate what every layer costs over the sizes of its widths.

    MODEL is as for hwcost model. The table has the columns layer, in, out, ms and cycles, with a row for each pair of
    an input and an output width that the sizes of the network's widths give. Searches and compressors that ask for a
    table of latencies read such a file, and so does hwcost where it takes measured costs.
    """
    machine = array.read()
    network = options.read(source)
    from hwcost.advice import tabulate
    from hwcost.advice.measured import undetermined
    from hwcost.importers.lists.costs import costs_csv, write_costs

    with option_names(_OPTIONS, network.name):
        found = tabulate(
            network, machine.array, widths=widths, step=step, least=least, skip_unsupported=skip_unsupported
        )
    notes = []
    if machine.array.has_run or is_finite(machine.array.vector_bytes_per_s):
        notes.append("no row has what a run takes on top of its layers, or what operations without products take")
    held = sorted({name for each in network.priced.values() for name in undetermined(each)})
    if held:
        notes.append(f"{shortlist(held, _NAMED)}: kept as today, as more than the input and output of a layer follows")
    if network.unsupported:
        notes.append(missing_text({name: str(each.layer) for name, each in network.unsupported.items()}))
    if out is not None:
        with write_output("--out", out):
            write_costs(out, found)
    if as_json:
        click.echo(json_document(SCHEMA, _content(network, machine, found, notes)))
        return
    note_extrapolation(network, machine)
    for text in notes:
        note(text)
    if out is None:
        click.echo(costs_csv(found), nl=False)
        return
    click.echo(f"{plural(found.rows, 'row')} of {plural(len(found.layers), 'layer')} on {machine.label}")


def _content(network: Network, machine: Machine, found: MeasuredCosts, notes: Sequence[str]) -> dict[str, Any]:
    """The table as plain data, with the notes on it."""
    file = machine.file
    is_fitted = file is not None and file.fit is not None
    beyond = {name: file.beyond(each.layer) for name, each in network.priced.items() if file is not None and is_fitted}
    return {
        "network": network.name,
        "device": machine.name,
        "array": machine.array.as_dict(),
        "columns": ["in", "out", found.measure],
        "layers": {name: rows.tolist() for name, rows in found.layers.items()},
        "beyond": {name: why for name, why in beyond.items() if why} if is_fitted else None,
        "notes": list(notes),
    }
