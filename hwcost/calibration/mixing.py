"""Columns of a file that a fit does not use, but by which its residuals differ: several tilers in one fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hwcost.errors import MissingDependencyError
from hwcost.units import printable

try:
    from scipy import stats
except ImportError as error:
    raise MissingDependencyError("scipy", "fit", "hwcost.calibration") from error

__all__ = ["Labelled", "mixed"]

MOST_VALUES, FEWEST_ROWS = 12, 5
"""A column with more values is no category, and a value with fewer rows is left out."""
RARELY = 0.01
"""How often one of the columns of a file is named though the residuals do not depend on it, at most."""
LEAST_FACTOR = 1.25
"""The smallest factor between two values of a column that matters."""


class Labelled(NamedTuple):
    """A row: its values by column, the number of the layer that it measured, and log(measured / predicted)."""

    labels: Mapping[str, str]
    layer: int
    residual: float


def mixed(rows: Sequence[Labelled]) -> list[str]:
    """A sentence for each column whose values differ in their residuals, more than chance and enough to matter.

    The residuals of each value are compared by the test of Kruskal and Wallis (JASA 47, 1952), at a level that is
    divided by the number of columns; repeats of a layer count once for each value.

    >>> rows = [Labelled({"tiler": "ab"[i % 2]}, i, 0.4 * (i % 2) + 0.01 * (i % 7)) for i in range(40)]
    >>> mixed(rows)
    ['rows with tiler = b take 1.54 times as long as predicted, with a 1.03 times: fit them apart']
    """
    columns = dict.fromkeys(name for row in rows for name in row.labels)
    tested = {name: groups for name in columns if len(groups := _groups(rows, name)) > 1}
    found = []
    for name, groups in tested.items():
        factors = {value: math.exp(float(np.median(own))) for value, own in groups.items()}
        low, high = min(factors, key=factors.__getitem__), max(factors, key=factors.__getitem__)
        if factors[high] >= LEAST_FACTOR * factors[low] and _probability(list(groups.values())) <= RARELY / len(tested):
            found.append(
                f"rows with {printable(name)} = {printable(high)} take {factors[high]:.3g} times as long as predicted, "
                f"with {printable(low)} {factors[low]:.3g} times: fit them apart"
            )
    return found


def _groups(rows: Sequence[Labelled], name: str) -> dict[str, list[float]]:
    """The residuals of each value of a column with enough layers; none if it is no category."""
    layers: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        if value := row.labels.get(name):
            layers.setdefault(value, {}).setdefault(row.layer, []).append(row.residual)
    if len(layers) > MOST_VALUES:
        return {}
    merged = {value: [float(np.median(same)) for same in own.values()] for value, own in layers.items()}
    return {value: own for value, own in merged.items() if len(own) >= FEWEST_ROWS}


def _probability(groups: Sequence[Sequence[Any]]) -> float:
    if len({value for own in groups for value in own}) < 2:
        return 1.0
    return float(stats.kruskal(*groups).pvalue)
