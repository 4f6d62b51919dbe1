"""``hwcost advise``: where the widths of a network lie on the stairs of an array, and what other widths would save."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from hwcost.advice.shown import document_of
from hwcost.cli import advise_output as output
from hwcost.cli.shared.machines import TABLE, ArrayOptions, CostTable, Machine, array_options
from hwcost.cli.shared.networks import ModelOptions, model_argument
from hwcost.cli.shared.options import (
    default_option,
    extrapolate,
    form_options,
    option_names,
    parsed_by,
    size_option,
    skip_unsupported,
)
from hwcost.cli.shared.outputs import CSV, check_outputs, output_option, write_output
from hwcost.cli.shared.progress import waiting
from hwcost.cli.shared.values import parse_name, parse_number, parse_share, parse_sizes_by_name
from hwcost.console import checked, note, user_code
from hwcost.errors import Faults, InvalidValueError
from hwcost.importers.sources import source_kind
from hwcost.machine.energies import ENERGIES

if TYPE_CHECKING:
    from hwcost.advice import Advice
    from hwcost.advice.tables import CostSource
    from hwcost.network.network import Network

__all__ = ["advise"]

_SHARE = ("a share of today's cost between 0 and 1, like 0.9", 0.0, math.nextafter(1.0, 0.0))

_OBJECTIVES = ("time", "energy")
_OPTIONS = {name: f"--{name}" for name in ("budget", "multiple", "least", "effort")} | {"the table of costs": "--table"}

_EXAMPLES = """\b
Examples:
  hwcost advise net.py:Net --input 1,3,224,224 --device tpu-v1
  hwcost advise net.onnx --device gemmini --budget 0.9 --to-csv smaller.csv
  hwcost advise net.py:Net --input 1,3,224,224 --s1 16 --s2 16 --budget 0.75 --multiple 8 --apply
  hwcost advise net.py:Net --input 1,3,224,224 --table costs.csv --budget 0.75
  hwcost advise net.onnx --s1 16 --s2 16 --buffer 256k --energy 45nm-textbook --for energy --budget 0.8
"""


def _check_forms(applied: bool, by_layer: bool, as_json: bool, as_csv: bool) -> None:
    faults = Faults()
    for option, given in (("--apply", applied), ("--layers", by_layer)):
        if given and as_csv:
            reason = "--csv prints a row per width"
            faults.add(InvalidValueError(option, given, "leave one of them out", reason=reason))
    if by_layer and as_json:
        reason = "--json has the layers of every width"
        faults.add(InvalidValueError("--layers", True, "leave it out", reason=reason))
    faults.check()


def _check_module(source: str, applied: bool) -> None:
    if applied and source_kind(source) != "torch":
        reason = f"{source} is not a module"
        raise InvalidValueError("--apply", source, "give FILE.py:NAME, or use --to-csv", reason=reason)


def _taken(take: tuple[str, ...]) -> dict[str, int]:
    return parse_sizes_by_name("--take", take, "conv1=24")


def _check_applied(source: str, applied: bool, take: tuple[str, ...], budget: float | None, to_csv: str | None) -> None:
    """Raises if new widths are asked for that nothing gives, or given where nothing takes them."""
    faults = Faults()
    with faults.caught():
        check_outputs([source], {"--to-csv": to_csv})
    if take and not (applied or to_csv):
        reason, given = "it would have no effect", ", ".join(take)
        faults.add(InvalidValueError("--take", given, "add --apply or --to-csv", reason=reason))
    if (applied or to_csv) and not take and budget is None:
        option = "--apply" if applied else "--to-csv"
        faults.add(InvalidValueError(option, True, "add --budget or --take", reason="there are no new widths"))
    faults.check()


def _read_machine(array: ArrayOptions, table: str | None, objective: str) -> Machine | CostTable:
    """The machine, or the table in its place; raises for an objective of energy that is not known."""
    if table is not None:
        faults = Faults()
        if objective == "energy":
            faults.add(InvalidValueError("--for", objective, "leave one of them out", reason="--table has no energy"))
        with faults.caught():
            costs = array.read_table(table)
        faults.check()
        return costs
    machine = array.read()
    if objective == "energy" and not machine.array.has_energy:
        reason = f"{machine.name or 'the array'} has no figures of energy"
        raise InvalidValueError("--for", objective, f"add --energy, one of: {', '.join(ENERGIES)}", reason=reason)
    return machine


@click.command(epilog=_EXAMPLES)
@model_argument
@array_options
@TABLE
@default_option(
    "--for",
    "objective",
    default=_OBJECTIVES[0],
    metavar="NAME",
    parser=(parse_name, _OBJECTIVES),
    words="What to save: time or energy. Energy needs figures, of the device or of --energy.",
)
@click.option(
    "--budget",
    metavar="SHARE",
    callback=parsed_by(parse_number, *_SHARE),
    help="Find the widths that keep the most MACs within this share of today's cost. No pruning: see hwcost prune.",
)
@size_option("--multiple", help="Take only sizes that are multiples of N, like 8.  [default: 1]")
@click.option(
    "--least",
    metavar="SHARE",
    callback=parsed_by(parse_share),
    help="Keep at least this share of each width, like 0.25.  [default: 0]",
)
@size_option("--effort", help="Keep at most N partial solutions in the budget's solver.  [default: 300000]")
@click.option("--apply", "applied", is_flag=True, help="Rebuild the PyTorch module with the new widths and price it.")
@click.option(
    "--take", multiple=True, metavar="WIDTH=SIZE", help="Set a width by hand, for --apply or --to-csv. Can be repeated."
)
@output_option("--to-csv", ends=CSV, words="Write the layers with the new widths as a CSV list.")
@click.option("--layers", "by_layer", is_flag=True, help="Print a row per layer instead of a row per width.")
@size_option("--top", help="Print at most N rows.  [default: all]")
@skip_unsupported
@extrapolate
@form_options("Print the widths as comma-separated values.")
@checked(_check_forms, _taken, _check_module, _check_applied, _read_machine)
def advise(
    *,
    source: str,
    options: ModelOptions,
    array: ArrayOptions,
    table: str | None,
    objective: str,
    budget: float | None,
    multiple: int | None,
    least: float | None,
    effort: int | None,
    applied: bool,
    take: tuple[str, ...],
    to_csv: str | None,
    by_layer: bool,
    top: int | None,
    skip_unsupported: bool,
    extrapolate: bool,
    form: str,
) -> None:
    """Find the widths of a network to change.

    MODEL is as for hwcost model. For every width the size that saves most per channel is printed, what it saves,
    and the channels that are free. A width is a number of channels or features that several layers share. Residual
    additions, concatenations, depthwise and grouped convolutions are followed, so that the advised network can be
    built. A budget keeps MACs, which are no accuracy: hwcost prune chooses by weights and data.
    """
    taken = _taken(take)
    machine = _read_machine(array, table, objective)
    network = options.read(source)
    with option_names({"the network": "--take"}):
        network.at(taken)
    from hwcost.advice import advise as advise_on
    from hwcost.advice import with_device

    numbers: dict[str, Any] = {
        name: each for name, each in (("multiple", multiple), ("least", least), ("effort", effort)) if each is not None
    }
    with option_names(_OPTIONS, network.name), waiting("looking for better widths"):
        advice = advise_on(
            network,
            machine.array,
            objective=objective,
            budget=budget,
            skip_unsupported=skip_unsupported,
            **numbers,
        )
    file = machine.file if isinstance(machine, Machine) else None
    if file is not None:
        advice = with_device(advice, file, network, extrapolate=extrapolate)
    advice = dataclasses.replace(advice, label=machine.label)
    sizes = taken or ({} if advice.budget is None else dict(advice.budget.sizes))
    check, failed = None, None
    if applied:
        try:
            check = _apply(source, options, network, machine.array, advice.measure, sizes)
        except InvalidValueError as error:  # the report comes first: it took the time
            failed = error
    if to_csv is not None:
        _write(to_csv, network, sizes)
    _print(advice, form, check, to_csv, sizes, by_layer=by_layer, top=top, timed=file is not None)
    if failed is not None:
        raise failed


def _print(
    advice: Advice,
    form: str,
    check: Mapping[str, Any] | None,
    to_csv: str | None,
    sizes: Mapping[str, int],
    *,
    by_layer: bool,
    top: int | None,
    timed: bool,
) -> None:
    if form == "json":
        click.echo(output.as_json(advice, check, to_csv))
    elif form == "csv":
        click.echo(output.as_csv(advice, sizes), nl=False)
    else:
        document = document_of(advice, by_layer=by_layer, most=top, timed=timed)
        click.echo(document.for_stdout())
        if check is not None:
            click.echo("\n".join(["", *output.checked(check)]))
        if to_csv is not None:
            click.echo(to_csv)


def _apply(
    model: str,
    options: ModelOptions,
    network: Network,
    array: CostSource,
    measure: str,
    sizes: Mapping[str, int],
) -> dict[str, Any]:
    """Rebuilds the module with other widths, reads it again and prices it."""
    from hwcost.advice.tables import cost_report
    from hwcost.importers.torch import InputSpec
    from hwcost.importers.torch.resize import applied

    with waiting(f"rebuilding {model}"), user_code():
        changes, rebuilt = applied(model, [InputSpec.parse(text) for text in options.inputs], network, sizes)
    wanted = network.at(sizes)
    predicted, found = (cost_report(each, array, skip_unsupported=True).total for each in (wanted, rebuilt))
    costs = [getattr(each, measure) for each in (predicted, found)]
    if costs[0] != costs[1] or predicted.macs != found.macs:
        reason = f"{model} takes {costs[1]} {measure} when rebuilt, not {costs[0]} as predicted"
        other = [name for name in {**wanted, **rebuilt} if wanted.get(name) != rebuilt.get(name)]
        if other:
            reason += f": {other[0]!r} is {rebuilt.get(other[0])}, not {wanted.get(other[0])}"
        raise InvalidValueError("--apply", model, "take the widths of these layers by hand", reason=reason)
    return {
        "sizes": dict(sizes),
        "changes": {path: {name: list(pair) for name, pair in each.items()} for path, each in changes.items()},
        "measure": measure,
        f"predicted_{measure}": costs[0],
        f"rebuilt_{measure}": costs[1],
        "macs": found.macs,
    }


def _write(path: str, network: Network, sizes: Mapping[str, int]) -> None:
    from hwcost.importers.lists import write_layers

    layers = network.at(sizes)
    operations = {
        name: dataclasses.replace(each, layer=layers[name], sizes={}) for name, each in network.operations.items()
    }
    resized = dataclasses.replace(network, operations=operations, widths={}, parameters={})
    with write_output("--to-csv", path, quiet=True):
        notes = tuple(write_layers(path, resized))
    for text in notes:
        note(text)
