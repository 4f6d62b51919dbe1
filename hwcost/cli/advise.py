"""``hwcost advise``: where the widths of a network lie on the stairs of an array, and what others would buy."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from hwcost.cli import advise_output as output
from hwcost.cli.shared.networks import array_label, array_options, model_options, read_array, read_model
from hwcost.cli.shared.values import check_outputs, parse_number, parse_sizes
from hwcost.errors import InvalidValueError

if TYPE_CHECKING:
    from hwcost.advice import Advice
    from hwcost.network.network import Network

__all__ = ["advise"]

_EXAMPLES = """\b
Examples:
  hwcost advise net.py:Net --input 1,3,224,224 --device tpu-v1
  hwcost advise net.onnx --device gemmini --budget 0.9 --to-csv smaller.csv
  hwcost advise net.py:Net --input 1,1,28,28 --s1 16 --s2 16 --budget 0.75 --apply
"""


@click.command(short_help="Which widths of a network to change.", epilog=_EXAMPLES)
@click.argument("model", metavar="MODEL")
@model_options
@array_options
@click.option("--budget", metavar="SHARE", help="Find the widths that reach this share of today's cycles, like 0.9.")
@click.option(
    "--seconds", default="30", show_default=True, metavar="S", help="After which the best set so far is taken."
)
@click.option("--apply", "applied", is_flag=True, help="Rebuild the PyTorch module with the budget's widths; price it.")
@click.option("--take", multiple=True, metavar="WIDTH=SIZE", help="With --apply: these widths instead of the budget's.")
@click.option("--to-csv", metavar="FILE", help="Write the layers with the advised widths as a list.")
@click.option("--layers", "by_layer", is_flag=True, help="Show a row for each layer instead of one for each width.")
@click.option("--top", metavar="N", help="Show so many rows.  [default: all]")
@click.option("--skip-unsupported", is_flag=True, help="Leave out operations that cannot be priced, and name them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the widths as comma-separated values.")
def advise(
    *,
    model: str,
    inputs: tuple[str, ...],
    dims: tuple[str, ...],
    device: str | None,
    s1: str | None,
    s2: str | None,
    dataflow: str | None,
    fold_timing: str | None,
    clock: str | None,
    budget: str | None,
    seconds: str,
    applied: bool,
    take: tuple[str, ...],
    to_csv: str | None,
    by_layer: bool,
    top: str | None,
    skip_unsupported: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Says for every width of a network the next cheaper size, what it saves, and how many channels are free.

    A width is a number of channels or features that several layers share: residual additions, concatenations,
    depthwise and grouped convolutions are followed, so that what is advised can be built.
    """
    if as_json and as_csv:
        raise click.UsageError("--csv is given; allowed: not together with --json")
    share = (
        None if budget is None else parse_number("--budget", budget, "a share of today's cycles, like 0.9", 0.0, 1.0)
    )
    limit_s = parse_number("--seconds", seconds, "a number of seconds from 1 to 1e5", 1.0, 1e5)
    taken = dict(map(_taken, take))
    if len(taken) < len(take):
        raise InvalidValueError("--take", ", ".join(take), "each width once")
    for option, given in (("--apply", applied), ("--layers", by_layer)):
        if given and as_csv:
            raise InvalidValueError(option, "given", "not together with --csv, which has a row for each width")
    if by_layer and as_json:
        raise InvalidValueError("--layers", "given", "for text: --json has the layers of every width")
    _check_options(model, applied, taken, share, to_csv)
    array, file = read_array(device, s1, s2, dataflow, fold_timing, clock)
    network = read_model(model, inputs, dims)
    from hwcost.advice import advise as advise_on

    with _solver_says_nothing():
        try:
            advice = advise_on(network, array, budget=share, skip_unsupported=skip_unsupported, time_limit_s=limit_s)
        except InvalidValueError as error:
            raise _renamed(error) from None
    sizes = taken or ({} if advice.budget is None else dict(advice.budget.sizes))
    check = _apply(model, inputs, network, advice, sizes) if applied else None
    if to_csv is not None:
        _write(to_csv, network, sizes)
    if as_json:
        click.echo(output.as_json(advice, check, to_csv))
    elif as_csv:
        click.echo(output.as_csv(advice, sizes))
    else:
        label, most = array_label(array, file), None if top is None else _top(top)
        click.echo("\n".join(output.lines(advice, label, by_layer=by_layer, most=most, check=check, written=to_csv)))


def _check_options(
    model: str, applied: bool, taken: Mapping[str, int], share: float | None, to_csv: str | None
) -> None:
    from hwcost.importers import source_kind

    if to_csv is not None and not to_csv.lower().endswith(".csv"):
        raise InvalidValueError("--to-csv", to_csv, "a file name ending in .csv")
    kind = source_kind(model)
    check_outputs([model], {"--to-csv": to_csv})
    if share is not None and share >= 1:
        raise InvalidValueError("--budget", share, "a share below 1")
    if applied and kind != "torch":
        raise InvalidValueError("--apply", model, "FILE.py:NAME: only a PyTorch module is rebuilt; others: --to-csv")
    if taken and not (applied or to_csv):
        raise InvalidValueError("--take", ", ".join(taken), "together with --apply or --to-csv")
    if (applied or to_csv) and not taken and share is None:
        option = "--apply" if applied else "--to-csv"
        raise InvalidValueError(option, "given alone", "together with --budget or --take, which say the widths")


def _taken(text: str) -> tuple[str, int]:
    name, equals, size = text.rpartition("=")
    if not equals or not name:
        raise InvalidValueError("--take", text, "the name of a width and a size, like conv1=24")
    sizes = parse_sizes(f"--take {name}", size)
    if sizes.is_sweep:
        raise InvalidValueError("--take", text, "one size for each width")
    return name, sizes.number


def _top(text: str) -> int:
    sizes = parse_sizes("--top", text)
    if sizes.is_sweep:
        raise InvalidValueError("--top", text, "one integer of at least 1")
    return sizes.number


_OPTION_OF = {"budget": "--budget", "time_limit_s": "--seconds"}


def _renamed(error: InvalidValueError) -> InvalidValueError:
    field = _OPTION_OF.get(error.field, error.field)
    return error.at(field, allowed=error.allowed.replace("skip_unsupported=True", "--skip-unsupported"))


@contextlib.contextmanager
def _solver_says_nothing() -> Iterator[None]:
    """Sends what the solver prints by itself to stderr: the output has to stay readable by programs."""
    try:
        out = sys.stdout.fileno()
        sys.stdout.flush()
        kept = os.dup(out)
    except (OSError, ValueError, AttributeError):
        yield
        return
    try:
        os.dup2(2, out)
        yield
    finally:
        os.dup2(kept, out)
        os.close(kept)


def _apply(
    model: str,
    inputs: tuple[str, ...],
    network: Network,
    advice: Advice,
    sizes: Mapping[str, int],
) -> dict[str, Any]:
    """Rebuilds the module, reads it as a new one and prices it."""
    from hwcost.importers.torch import InputSpec
    from hwcost.importers.torch.resize import applied
    from hwcost.network.pricing import network_cost

    with contextlib.redirect_stdout(sys.stderr):
        changes, rebuilt = applied(model, [InputSpec.parse(text) for text in inputs], network, sizes)
    predicted, found = (
        network_cost(each, advice.array, skip_unsupported=True).total for each in (network.at(sizes), rebuilt)
    )
    if predicted.cycles != found.cycles or predicted.macs != found.macs:
        raise InvalidValueError(
            "--apply",
            f"{found.cycles} cycles rebuilt, {predicted.cycles} predicted",
            "a module whose forward has no sizes written into it",
        )
    return {
        "sizes": dict(sizes),
        "changes": {path: {name: list(pair) for name, pair in each.items()} for path, each in changes.items()},
        "predicted_cycles": predicted.cycles,
        "rebuilt_cycles": found.cycles,
        "macs": found.macs,
    }


def _write(path: str, network: Network, sizes: Mapping[str, int]) -> None:
    import dataclasses

    from hwcost.importers.lists import write_layers

    layers = network.at(sizes)
    operations = {
        name: dataclasses.replace(each, layer=layers[name], sizes={}) for name, each in network.operations.items()
    }
    for note in write_layers(path, dataclasses.replace(network, operations=operations, widths={}, parameters={})):
        click.echo(f"Note: {note}", err=True)
