"""How a convolution becomes products."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hwcost.errors import InvalidValueError
from hwcost.machine.fields import check_name, table

__all__ = ["LOWERINGS", "Lowering"]


@dataclass(frozen=True)
class Lowering:
    """A row of :data:`hwcost.LOWERINGS`, or one of the caller's.

    Args:
        name: what the device file calls it.
        lower: a function of a :class:`hwcost.Gemm` whose k spans the whole kernel; returns the Gemm laid on the array.
        summary: one line for people.

    Raises:
        InvalidValueError: an empty name, or something that cannot be called.
    """

    name: str
    lower: Callable[[Any], Any]
    summary: str

    def __post_init__(self) -> None:
        check_name(self.name, "Lowering.name")
        if not callable(self.lower):
            raise InvalidValueError("Lowering.lower", self.lower, "a function of a Gemm that returns a Gemm")

    def __str__(self) -> str:
        return self.name


def _whole(gemm: Any) -> Any:
    return gemm


def _by_position(gemm: Any) -> Any:
    return gemm.by_position()


LOWERINGS: Mapping[str, Lowering] = table(
    Lowering("im2col", _whole, "one product with k = kernel height * kernel width * channels"),
    Lowering("kernel-position", _by_position, "a product with k = channels for each position of the kernel"),
)
"""Every lowering by name."""
