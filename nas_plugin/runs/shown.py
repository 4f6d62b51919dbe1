"""The result of a search for people: winner and reference side by side."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Any, TypeAlias

from hwcost.tables import Column, Document
from hwcost.units import CLOCKS, in_unit, number, percent

__all__ = ["document_of"]

Result: TypeAlias = Any
"""A SearchResult, whose module imports this one."""
Outcome: TypeAlias = Any
"""An Outcome, from there."""


def document_of(result: Result) -> Document:
    """Winner and reference side by side, and what the winner takes of the limit."""
    array = result.arch.array
    heading = f"{result.arch.name} on a {array.rows} x {array.cols} {array.dataflow} array, {array.fold_timing} folds"
    others = list(array.as_dict().items())[5:]
    if more := [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in others]:
        heading = f"{heading}, {', '.join(more)}"
    columns = [Column[Any](title, itemgetter(i), i == 0) for i, title in enumerate(("", *result.outcomes))]
    sides = [_column(result, outcome) for outcome in result.outcomes.values()]
    rows = [(label, *(side[label] for side in sides)) for label in sides[0]]
    below = {f" {index}": line for index, line in enumerate(_sentences(result))}
    return Document(heading, columns, rows, below=below)


def _sentences(result: Result) -> Iterator[str]:
    for name, (before, after) in result.rounded.items():
        yield f"{name} rounded up from {before} to {after} at equal cycles"
    points = 100 * (result.winner.test_accuracy - result.reference.test_accuracy)
    yield f"The winner takes {result.cycles_ratio:.3f} of the reference's cycles at {points:+.1f} points of accuracy."
    if (limit := result.target_cycles) is None:
        return
    target = f"{result.settings.target} = {number(limit)} cycles"
    if str(result.settings.target).endswith("ms"):
        target += f" at {in_unit(result.arch.array.clock_hz, CLOCKS)}"
    share = float(result.cost(result.winner).total.cycles) / limit
    yield f"Target {target}: the winner takes {percent(share)} % of it."
    if result.largest_alphas is not None and result.settings.snaps:
        alphas = f"{result.largest_alphas:.3f} of the reference's cycles"
        yield f"The largest alphas alone take {alphas}; the network is the most probable one within the target."


def _column(result: Result, outcome: Outcome) -> dict[str, str]:
    """What is printed of a network, by label."""
    total, sizes, blocks = result.cost(outcome).total, outcome.choice, result.arch.blocks
    return {
        "widths": "-".join(str(sizes[block.width_decision]) for block in blocks),
        "kernels": ", ".join(str(sizes[block.kernel_decision]) for block in blocks if block.kind.on_maps),
        "test accuracy": f"{percent(outcome.test_accuracy)} %",
        "cycles": number(total.cycles),
        "utilization": f"{percent(total.utilization)} %",
        "MACs": number(total.macs),
        "parameters": number(outcome.network.parameter_count),
    }
