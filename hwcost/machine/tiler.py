"""How a convolution becomes products, and how those are cut into tiles and laid on the array."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from hwcost.arrays import Size, Table
from hwcost.machine.dataflow import DATAFLOWS, Dataflow
from hwcost.machine.fields import COUNT, RATE, SHARE, SWITCH, Need, Part, Start, declare, is_stated, part
from hwcost.machine.rows import Row, resolved, row_of, table

__all__ = ["LOWERINGS", "Lowering", "Tiler"]


@dataclass(frozen=True)
class Lowering(Row):
    """A row of :data:`hwcost.LOWERINGS`, or one of the caller's.

    Args:
        name: what the device file calls it.
        lower: a function of a :class:`hwcost.Gemm` whose k spans the whole kernel; returns the Gemm laid on the array.
        summary: one line for people.

    Raises:
        InvalidValueError: an empty name, or something that cannot be called.
    """

    functions = Table({"lower": "a Gemm that returns a Gemm"})
    lower: Callable[[Any], Any]
    summary: str


def _four_times(array: Any) -> Any:
    return 4.0 * array.cols


def _im2col(gemm: Any) -> Any:
    return gemm


def _by_position(gemm: Any) -> Any:
    return gemm.by_position()


LOWERINGS: Mapping[str, Lowering] = table(
    Lowering("im2col", _im2col, "one product with k = kernel height * kernel width * channels"),
    Lowering("kernel-position", _by_position, "a product with k = channels for each position of the kernel"),
)
"""Every lowering by name."""

_RATE = "a finite input_bytes_per_s, dram_bytes_per_s or reread_bytes_per_s"
_READ_AGAIN = Need(_RATE, lambda array: array.limits_rereads)
_IN_BLOCKS = Need(
    f"filter_block or rereads_inputs, and {_RATE}",
    lambda array: array.limits_rereads and (array.rereads_inputs or is_stated(array, "filter_block")),
)
_BLOCKS = Need(
    "cycles_per_block, rereads_inputs or fold_latency",
    lambda a: a.rereads_inputs or is_stated(a, "cycles_per_block") or is_stated(a, "fold_latency"),
)
_ROWS_ALONG_ROWS = Need('a dataflow with m along the rows ("os")', lambda array: array.dataflow_row.rows == "m")
_FOUR_TIMES = Start(_four_times, "four times the columns")


@part
class Tiler(Part):
    """How a product is laid on the array, and how much of it is worked on at once.

    >>> Tiler("os").dataflow_row.stationary
    'outputs'
    """

    dataflow: str | Dataflow = declare(
        row_of(DATAFLOWS, Dataflow), "", "how a product lies on the array", f"{', '.join(DATAFLOWS)}, or a Dataflow",
        default="ws",
    )  # fmt: skip
    _: KW_ONLY
    lowering: str | Lowering = declare(
        row_of(LOWERINGS, Lowering), "", "how a convolution becomes products", f"{', '.join(LOWERINGS)}, or a Lowering",
        default="im2col",
    )  # fmt: skip
    max_streamed: Size | None = declare(
        COUNT, "row", "maximum rows streamed per fold", "longer streams are cut", default=None
    )
    accumulators: Size | None = declare(
        COUNT, "1", "outputs held on chip at once", "in whole blocks of rows x cols", default=None, need=_BLOCKS
    )
    filter_block: Size = declare(
        RATE, "filter", "filters processed at once", "inputs are read again for each such block", default=math.inf,
        need=_READ_AGAIN, start=_FOUR_TIMES,
    )  # fmt: skip
    rereads_inputs: bool = declare(
        SWITCH, "", "inputs read again for each block of filters",
        "as many as the accumulators have room for; without accumulators, one for each column", default=False,
        need=_READ_AGAIN,
    )  # fmt: skip

    reread_stairs: Size = declare(
        SHARE, "1", "weight of the ceiling on blocks of filters",
        "1 reads all inputs again for a block that is not full", default=0.0, need=_IN_BLOCKS,
    )  # fmt: skip
    channel_multiple: Size = declare(
        COUNT, "1", "channels are padded to a multiple of this number",
        "of products without groups: 3 channels count as 4", default=1,
    )  # fmt: skip

    spreads_vectors: bool = declare(
        SWITCH, "", "filters of a product of one row lie along rows and columns",
        "as a matrix times a vector, and not in a single row of the array", default=False, need=_ROWS_ALONG_ROWS,
    )  # fmt: skip

    @property
    def dataflow_row(self) -> Dataflow:
        """The dataflow as a row."""
        return resolved(DATAFLOWS, self.dataflow)

    @property
    def lowering_row(self) -> Lowering:
        """The lowering as a row."""
        return resolved(LOWERINGS, self.lowering)
