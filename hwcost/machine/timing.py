"""The cycles of rows, folds, blocks and layers."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

from hwcost.arrays import Size
from hwcost.machine.dataflow import DATAFLOWS
from hwcost.machine.fields import POSITIVE, QUANTITY, SWITCH, Need, Part, Start, declare, part
from hwcost.machine.folds import FOLD_TIMINGS, FoldTiming
from hwcost.machine.rows import resolved, row_of

__all__ = ["Timing"]


def _drains(array: Any) -> bool:
    return bool(resolved(DATAFLOWS, array.dataflow).drain_passes and array.fold_timing_row.fills_and_drains)


def _rows(array: Any) -> Size:
    return 1.0 * array.rows


def _cycles_to_drain(array: Any) -> Size:
    """Shifting out the contents of the accumulators takes one cycle per row."""
    return 100.0 if array.accumulators is None else array.accumulators / array.cols


_DRAINED = Need('a dataflow with stationary outputs ("os") and a fold timing that drains ("serial")', _drains)
_LOADED = Need('a dataflow that loads an operand ("ws", "is")', lambda a: a.dataflow_row.stationary != "outputs")
_HELD = Need("accumulators", lambda array: array.accumulators is not None)
_ROWS = Start(_rows, "the rows")


@part
class Timing(Part):
    """What folds cost on top of streaming, and the overheads of blocks and layers.

    >>> Timing(cycles_per_layer=500.0)
    Timing(fold_timing='ideal', cycles_per_layer=500.0)
    """

    fold_timing: str | FoldTiming = declare(
        row_of(FOLD_TIMINGS, FoldTiming), "", "cost of a fold on top of streaming",
        f"{', '.join(FOLD_TIMINGS)}, or a FoldTiming", default="ideal",
    )  # fmt: skip
    _: KW_ONLY
    min_streamed: Size = declare(
        QUANTITY, "row", "minimum rows charged per fold", "the next fold's operand must load meanwhile", default=0.0,
        start=_ROWS,
    )  # fmt: skip
    drains_outputs: bool = declare(
        SWITCH, "", "outputs shifted out after each fold", "one more crossing of the rows", default=False, need=_DRAINED
    )
    counts_last_fold: bool = declare(
        SWITCH, "", "last fold counted", "some simulators' records end before it has streamed", default=True
    )
    starts_up: bool = declare(
        SWITCH, "", "start-up charged", "a layer waits until its first fold's operand has arrived and is loaded",
        default=False, need=_LOADED,
    )  # fmt: skip
    start_up_cycles: Size = declare(
        QUANTITY, "cycle", "latency of a start-up", "on top of what arrives and is loaded", default=0.0,
        need=Need("starts_up", lambda array: array.starts_up), start=Start(100.0, "100"),
    )  # fmt: skip
    cycles_per_row: Size = declare(
        POSITIVE, "cycle", "cycles per streamed row", default=1.0, start=Start(1.0, "1", spread=0.4)
    )
    cycles_per_fold: Size = declare(QUANTITY, "cycle", "extra cycles per fold", default=0.0, start=_ROWS)
    cycles_per_layer: Size = declare(
        QUANTITY, "cycle", "extra cycles per layer", "for each product of a layer", default=0.0,
        start=Start(1000.0, "1000"),
    )  # fmt: skip
    cycles_per_block: Size = declare(
        QUANTITY, "cycle", "extra cycles per block of outputs",
        "as many outputs as the accumulators hold; without accumulators, the whole product", default=0.0,
        start=Start(_cycles_to_drain, "accumulators / columns, or 100"),
    )  # fmt: skip
    cycles_per_output_block: Size = declare(
        QUANTITY, "cycle", "extra cycles per rows x cols outputs", "however many the accumulators hold", default=0.0,
        start=Start(100.0, "100"),
    )  # fmt: skip
    fold_latency: Size = declare(
        QUANTITY, "cycle", "cycles from the start of a fold to its last output",
        "folds follow one another no faster than the accumulators have room for their outputs", default=0.0,
        need=_HELD, start=Start(1000.0, "1000"),
    )  # fmt: skip

    @property
    def fold_timing_row(self) -> FoldTiming:
        """The fold timing as a row."""
        return resolved(FOLD_TIMINGS, self.fold_timing)
