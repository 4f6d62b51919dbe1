"""What memory delivers."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY
from typing import Any

from hwcost.arrays import Size
from hwcost.machine.fields import (
    COUNT,
    POSITIVE,
    QUANTITY,
    RATE,
    SHARE,
    SWITCH,
    Need,
    Part,
    Start,
    declare,
    is_finite,
    is_stated,
    part,
)

__all__ = ["Memory"]


def _byte_per_column(array: Any) -> Any:
    return array.dram_bytes_per_s if is_finite(array.dram_bytes_per_s) else array.cols * array.clock_hz


_OPERANDS = ("weight", "input", "output")
_BANDWIDTHS = tuple(f"{name}_bytes_per_s" for name in ("dram", *_OPERANDS, "reread"))


def _leaves_a_share(array: Any) -> bool:
    return any(getattr(array, f"{operand}_bytes_per_s") is None for operand in _OPERANDS)


_START = Start(_byte_per_column, "dram_bytes_per_s, or one byte per cycle and column")
_LIMIT = Need("a finite bandwidth, such as dram_bytes_per_s", lambda array: array.has_memory_limit)
_SHARED = Need("an operand whose own bandwidth is not set", _leaves_a_share)
_SEVERAL = Need(
    "arrays above 1, and a finite bandwidth, such as dram_bytes_per_s",
    lambda array: array.has_memory_limit and is_stated(array, "arrays"),
)
_READERS = Need(
    "single_block, and a finite bandwidth, such as dram_bytes_per_s",
    lambda array: array.has_memory_limit and array.single_block is not None,
)
_BLOCK = Need("readers above 1", lambda array: is_stated(array, "readers"))
_AGAIN = Need("filter_block or rereads_inputs", lambda a: a.rereads_inputs or is_stated(a, "filter_block"))


def _own(operand: str) -> Any:
    def differs(array: Any) -> bool:
        return is_finite(getattr(array, f"{operand}_bytes_per_s")) or is_finite(array.dram_bytes_per_s)

    need = Need("a finite value, or a finite dram_bytes_per_s from which it differs", differs)
    words = f"bandwidth for {operand}s"
    return declare(
        RATE, "B/s", words, "if it differs from the shared one", default=None, need=need, start=_START,
        fallback="dram_bytes_per_s",
    )  # fmt: skip


@part
class Memory(Part):
    """Bandwidths between memory and the array; infinite by default, so that nothing waits.

    >>> Memory(dram_bytes_per_s=16e9, output_bytes_per_s=4e9).rates
    (16000000000.0, 16000000000.0, 4000000000.0)
    """

    _: KW_ONLY
    bytes_per_element: Size = declare(POSITIVE, "B", "bytes per element", "of weights, inputs and outputs", default=1.0)
    bytes_per_output: Size | None = declare(
        POSITIVE, "B", "bytes per output", "if it is stored wider or narrower than it is read", default=None,
        fallback="bytes_per_element",
    )  # fmt: skip
    dram_bytes_per_s: Size = declare(
        RATE, "B/s", "bandwidth to memory", "shared by weights, inputs and outputs", default=math.inf, need=_SHARED,
        start=_START,
    )  # fmt: skip
    weight_bytes_per_s: Size | None = _own("weight")
    input_bytes_per_s: Size | None = _own("input")
    output_bytes_per_s: Size | None = _own("output")
    reread_bytes_per_s: Size | None = declare(
        RATE, "B/s", "bandwidth for inputs that are read again", "if a nearer memory keeps them", default=None,
        need=_AGAIN, start=_START, fallback="input_bytes_per_s",
    )  # fmt: skip
    overlap: Size = declare(
        SHARE, "1", "share of the shorter of compute and memory that adds to the longer",
        "0 hides the shorter, 1 runs them one after the other", default=0.0, need=_LIMIT,
        start=Start(0.5, "0.5", spread=2.0),
    )  # fmt: skip

    pipeline_cycles: Size = declare(
        QUANTITY, "cycle", "cycles of a product with which half of the shorter of compute and memory hides",
        "of a shorter product less, of a longer one more: overlap grows with the work", default=0.0, need=_LIMIT,
        start=Start(1000.0, "1000", spread=2.0),
    )  # fmt: skip
    parallel_operands: bool = declare(
        SWITCH, "", "weights, inputs and outputs move at the same time, each on a channel of its own",
        "the longest of the three counts, and not their sum", default=False, need=_LIMIT,
    )  # fmt: skip

    readers: Size = declare(
        COUNT, "1", "places that read an operand at once", "a product with a single block of outputs along one side "
        "and several along the other has one for the operand that all blocks share", default=1, need=_READERS,
    )  # fmt: skip
    single_block: Size | None = declare(
        COUNT, "1", "side of such a block", "in output positions and in filters", default=None, need=_BLOCK
    )

    bandwidth_per_array: bool = declare(
        SWITCH, "", "every array has the bandwidths for itself",
        "what several arrays need, each of them reads; or else it crosses a shared memory once", default=False,
        need=_SEVERAL,
    )  # fmt: skip
    vector_bytes_per_s: Size = declare(
        RATE, "B/s", "bandwidth of operations without products",
        "element-wise ones, norms, softmax and pooling: what they read and write; infinite: they take no time",
        default=math.inf, start=_START,
    )  # fmt: skip

    @property
    def rates(self) -> tuple[Size, Size, Size]:
        """Bytes per second of weights, inputs and outputs."""
        weights, inputs, outputs = (self.effective(f"{operand}_bytes_per_s") for operand in _OPERANDS)
        return weights, inputs, outputs

    @property
    def limits_rereads(self) -> bool:
        """Whether inputs that are read again take time."""
        return is_finite(self.effective("reread_bytes_per_s"))

    @property
    def is_limited(self) -> bool:
        """Whether any bandwidth is finite."""
        if self.stated_names.isdisjoint(_BANDWIDTHS):
            return False
        return any(map(is_finite, self.rates)) or is_finite(self.reread_bytes_per_s)
