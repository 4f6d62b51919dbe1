"""The memory next to the array that tiles of the operands share, and what a partial sum takes there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY
from typing import Any

from hwcost.arrays import Size
from hwcost.machine.fields import (
    NO_EFFECT,
    POSITIVE,
    RATE,
    SHARE,
    SWITCH,
    Need,
    Part,
    declare,
    is_finite,
    is_stated,
    part,
)

__all__ = ["Buffers", "rivals_of"]

_OPERANDS = ("weight", "input", "output")
_BUFFERS = ("buffer_bytes", *(f"{operand}_buffer_bytes" for operand in _OPERANDS))
_RIVALS = ("filter_block", "rereads_inputs", "tile_bytes", "bandwidth_per_array")


def rivals_of(array: Any) -> list[str]:
    """The fields of a machine that describe the memory next to the array in another way; a buffer excludes them."""
    return [name for name in _RIVALS if is_stated(array, name)]


def _alone(words: str, is_met: Callable[[Any], bool]) -> Need:
    """A need of a buffer, on top of a machine whose memory no other fields describe."""

    def reason(array: Any) -> str:
        rivals = " and ".join(rivals_of(array))
        return f"buffers and {rivals} are two models of the same memory" if rivals else NO_EFFECT

    alone = f"a machine without {', '.join(_RIVALS[:-1])} and {_RIVALS[-1]}"
    return Need(f"{alone}, and {words}", lambda array: not rivals_of(array) and is_met(array), reason)


_SHARED = _alone(
    "an operand without a buffer of its own",
    lambda array: any(getattr(array, f"{operand}_buffer_bytes") is None for operand in _OPERANDS),
)
_BUFFER = Need("buffer_bytes, or a buffer of an operand", lambda array: array.has_buffers)


def _own(operand: str) -> Any:
    words, more = f"buffer for {operand}s alone", "the operands without one share buffer_bytes"
    name = f"{operand}_buffer_bytes"
    need = _alone(
        "a finite value, or a finite buffer_bytes from which it differs",
        lambda array: is_finite(getattr(array, name)) or is_finite(array.buffer_bytes),
    )
    return declare(RATE, "B", words, more, default=None, need=need)


@part
class Buffers(Part):
    """Buffers for tiles, of which :mod:`hwcost.model.tilings` takes those that move least; infinite by default.

    >>> Buffers(buffer_bytes=65536.0, double_buffered=True)
    Buffers(buffer_bytes=65536.0, double_buffered=True)
    """

    _: KW_ONLY
    buffer_bytes: Size = declare(
        RATE, "B", "buffer next to the array", "holds the tiles of all operands; of all tilings that fit, the one that "
        "moves least is taken", default=math.inf, need=_SHARED,
    )  # fmt: skip
    weight_buffer_bytes: Size | None = _own("weight")
    input_buffer_bytes: Size | None = _own("input")
    output_buffer_bytes: Size | None = _own("output")
    partial_bytes: Size = declare(POSITIVE, "B", "bytes of a partial sum", "until it is complete", default=4.0)
    double_buffered: bool = declare(
        SWITCH, "", "tiles are held twice, one being filled while the other is used",
        "but for operands that are held as a whole", default=False, need=_BUFFER,
    )  # fmt: skip
    reload_weight: Size = declare(
        SHARE, "1", "what a byte of weights costs that is loaded into the array again, relative to one from memory",
        "so that tilings of equal traffic with long streams are preferred: energy of the buffer over that of DRAM",
        default=0.02, need=_BUFFER,
    )  # fmt: skip

    @property
    def has_buffers(self) -> bool:
        """Whether any buffer is finite."""
        if self.stated_names.isdisjoint(_BUFFERS):
            return False
        return any(map(is_finite, (self.buffer_bytes, *(getattr(self, f"{name}_buffer_bytes") for name in _OPERANDS))))

    @property
    def rooms(self) -> tuple[tuple[Size, tuple[str, ...]], ...]:
        """The finite buffers, each with the operands that share it.

        >>> Buffers(buffer_bytes=1024.0, output_buffer_bytes=512.0).rooms
        ((512.0, ('outputs',)), (1024.0, ('weights', 'inputs')))
        """
        own = {f"{name}s": getattr(self, f"{name}_buffer_bytes") for name in _OPERANDS}
        shared = tuple(operand for operand, room in own.items() if room is None)
        found: list[tuple[Any, tuple[str, ...]]] = [
            (room, (operand,)) for operand, room in own.items() if room is not None
        ]
        found.append((self.buffer_bytes, shared))
        return tuple((room, operands) for room, operands in found if operands and is_finite(room))
