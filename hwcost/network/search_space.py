"""Networks some of whose sizes are still to be decided."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from hwcost import arrays
from hwcost.arrays import Size
from hwcost.errors import InvalidValueError
from hwcost.model.layers import Layer, is_layer

__all__ = ["SearchSpace", "SearchedLayer"]


@dataclass(frozen=True)
class SearchedLayer:
    """A layer some of whose sizes are still to be decided.

    Attributes:
        layer: the template; sizes that are decided elsewhere may hold anything valid.
        sizes: which field follows which decision, as ``{"out_channels": "conv1.width"}``; a pair multiplies the decided
            size by a constant, as ``{"in_features": ("conv2.width", 25)}`` behind a flattened 5 x 5 map.
    """

    layer: Layer
    sizes: Mapping[str, str | tuple[str, int]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        known = getattr(self.layer, "__dataclass_fields__", None)
        if known is None or not is_layer(self.layer):
            raise InvalidValueError("SearchedLayer.layer", self.layer, "a layer: a dataclass with gemms()")
        for name, rule in self.sizes.items():
            if name not in known:
                raise InvalidValueError("SearchedLayer.sizes", name, f"one of: {', '.join(known)}")
            _check_rule(rule, f"SearchedLayer.sizes[{name!r}]")
        object.__setattr__(self, "sizes", MappingProxyType(dict(self.sizes)))

    def __reduce__(self) -> tuple[Any, ...]:
        return SearchedLayer, (self.layer, dict(self.sizes))

    @property
    def decisions(self) -> tuple[str, ...]:
        """The names of the decisions that this layer's cost depends on, each once."""
        return tuple(dict.fromkeys(name for name, _ in self._rules().values()))

    def at(self, sizes: Mapping[str, Size]) -> Layer:
        """The layer with its open sizes filled in: numbers, arrays of options, or soft widths."""
        filled = {
            field: sizes[name] if factor == 1 else arrays.product(arrays.as_size(sizes[name], name), factor)
            for field, (name, factor) in self._rules().items()
        }
        layer: Layer = dataclasses.replace(self.layer, **filled)  # type: ignore[type-var]
        return layer

    def _rules(self) -> dict[str, tuple[str, int]]:
        return {field: (rule, 1) if isinstance(rule, str) else rule for field, rule in self.sizes.items()}


def _check_rule(rule: Any, field: str) -> None:
    if isinstance(rule, str):
        return
    if not isinstance(rule, tuple) or len(rule) != 2 or not isinstance(rule[0], str):
        raise InvalidValueError(field, rule, "the name of a decision, or a pair of a name and a factor")
    arrays.as_size(rule[1], field)


@dataclass(frozen=True)
class SearchSpace:
    """A network with open decisions: each a name with the sizes that it may take.

    >>> from hwcost import Conv2d, Linear, SystolicArray, network_cost
    >>> space = SearchSpace(
    ...     decisions={"width": (4, 8, 12)},
    ...     layers={
    ...         "conv": SearchedLayer(Conv2d(1, 4, 5, height=28, width=28, padding="same"), {"out_channels": "width"}),
    ...         "fc": SearchedLayer(Linear(4, 10), {"in_features": ("width", 784)}),
    ...     },
    ... )
    >>> network_cost(space.at({"width": 8}), SystolicArray(8, 8)).total.cycles
    4704
    """

    decisions: Mapping[str, tuple[int, ...]]
    layers: Mapping[str, SearchedLayer]

    def __post_init__(self) -> None:
        options = {}
        for name, values in self.decisions.items():
            if not isinstance(values, (tuple, list)) or not values:
                raise InvalidValueError(f"decision {name!r}", values, "a sequence of at least one size")
            options[name] = tuple(arrays.as_size(value, f"decision {name!r}") for value in values)
            if len(set(options[name])) != len(values):
                raise InvalidValueError(f"decision {name!r}", values, "sizes that differ from each other")
        object.__setattr__(self, "decisions", MappingProxyType(options))
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))
        for layer_name, searched in self.layers.items():
            if not isinstance(searched, SearchedLayer):
                raise InvalidValueError(f"layer {layer_name!r}", searched, "a SearchedLayer")
            for name in searched.decisions:
                if name not in options:
                    raise InvalidValueError(f"a size of layer {layer_name!r}", name, f"one of: {', '.join(options)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return SearchSpace, (dict(self.decisions), dict(self.layers))

    def at(self, sizes: Mapping[str, Size]) -> dict[str, Layer]:
        """The layers with every open size filled in; any sizes are taken, options or not.

        Raises:
            InvalidValueError: a decision without a size, or a name that is no decision.
        """
        self.check_names(sizes)
        return {name: searched.at(sizes) for name, searched in self.layers.items()}

    def check_names(self, given: Mapping[str, Any]) -> None:
        """Raises unless ``given`` has exactly the decisions of this space."""
        for name in (*self.decisions, *given):
            if name not in given or name not in self.decisions:
                kind = "missing" if name not in given else "unknown"
                raise InvalidValueError(f"decisions ({kind})", name, f"exactly: {', '.join(self.decisions)}")
