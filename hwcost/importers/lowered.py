"""What an operator comes down to: layers with the axes that their sizes follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hwcost.network.axes import Axis, AxisTracker
from hwcost.network.operations import Operation, check_layer

__all__ = ["MADE_ONCE", "CannotPriceError", "LoweredLayer", "Step"]

MADE_ONCE = "products of weights alone are computed once, when a model is loaded, and not counted"
"""A note on networks that have such products."""


class CannotPriceError(Exception):
    """An operator of a known kind that cannot be priced; the message gives the reason."""


@dataclass(frozen=True)
class LoweredLayer:
    """A layer that an operator comes down to.

    Args:
        layer: what is priced.
        kind: the operator, in words for people.
        sizes: the axes that fields of the layer follow, by field.
        weight: the operand that is a parameter, if one is: the operation takes its name.
        output_axis: the width that the layer makes, named after the operation.
        part: of the operator, if that is several layers.
        note: a remark on how it was interpreted, for the notes of the network.
    """

    layer: Any
    kind: str
    sizes: Mapping[str, Axis] = field(default_factory=dict)
    weight: Any = None
    output_axis: Axis | None = None
    part: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        check_layer(self.layer, "LoweredLayer.layer")


@dataclass(slots=True)
class Step:
    """An operation whose sizes are axes still, not yet sums of named widths."""

    name: str
    kind: str
    path: str
    layer: Any
    sizes: Mapping[str, Axis] = field(default_factory=dict)

    def operation(self, widths: AxisTracker) -> Operation:
        """The operation, once all widths have their names."""
        sizes = {name: widths.rule(axis) for name, axis in self.sizes.items()}
        return Operation(self.layer, sizes, self.kind, self.path)
