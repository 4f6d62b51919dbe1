"""The result of a search for people, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from hwcost.units import CLOCKS, in_unit, number

__all__ = ["lines_of"]

Result: TypeAlias = Any
"""A SearchResult, whose module imports this one."""
Outcome: TypeAlias = Any
"""An Outcome, from there."""


def lines_of(result: Result) -> Iterator[str]:
    """Winner and reference side by side, and what the winner takes of the limit."""
    array = result.arch.array
    yield f"{result.arch.name} on an array of {array.size_in_words}, {array.dataflow}, {array.fold_timing} folds"
    others = list(array.as_dict().items())[5:]
    if more := [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in others]:
        yield f"  {', '.join(more)}"
    yield f"\n{'':24}{'winner':>14}{'reference':>14}"
    winner, reference = (_column(result, outcome) for outcome in result.outcomes.values())
    for label, text in winner.items():
        yield f"{label:24}{text:>14}{reference[label]:>14}"
    yield ""
    for name, (before, after) in result.rounded.items():
        yield f"{name} rounded up from {before} to {after} at equal cycles"
    points = 100 * (result.winner.test_accuracy - result.reference.test_accuracy)
    yield f"The winner takes {result.cycles_ratio:.3f} of the reference's cycles at {points:+.1f} points of accuracy."
    if (limit := result.target_cycles) is None:
        return
    target = f"{result.settings.target} = {limit:,.0f} cycles"
    if str(result.settings.target).endswith("ms"):
        target += f" at {in_unit(array.clock_hz, CLOCKS)}"
    share = float(result.cost(result.winner).total.cycles) / limit
    yield f"Target {target}: the winner takes {100 * share:.1f} % of it."
    if result.largest_alphas is not None and result.settings.snaps:
        alphas = f"{result.largest_alphas:.3f} of the reference's cycles"
        yield f"The largest alphas alone take {alphas}; the network is the most probable one within the target."


def _column(result: Result, outcome: Outcome) -> dict[str, str]:
    """What is printed of a network, by label."""
    total, sizes, blocks = result.cost(outcome).total, outcome.choice, result.arch.blocks
    return {
        "widths": "-".join(str(sizes[block.width_decision]) for block in blocks),
        "kernels": ", ".join(str(sizes[block.kernel_decision]) for block in blocks if block.kind.on_maps),
        "test accuracy": f"{100 * outcome.test_accuracy:.1f} %",
        "cycles": number(total.cycles),
        "utilization": f"{100 * total.utilization:.1f} %",
        "MACs": number(total.macs),
        "parameters": number(outcome.network.parameter_count),
    }
