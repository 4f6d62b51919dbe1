"""The best choice within a limit, part of which goes to cycles that belong to no table.

Whether the weights of a layer fit on the chip depends on all layers, so that no table has the cycles of those that do
not. Part of the limit is set aside for them. A choice within the rest is good if it takes no more than that on top;
the smallest part that is enough is found by bisection. What is found with nothing set aside bounds all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["best_with_aside"]

HALVINGS = 10

_C = TypeVar("_C")


def best_with_aside(
    search: Callable[[float], _C | None], limit: float, more: Callable[[_C], float], worth: Callable[[_C], float]
) -> _C | None:
    """The choice that is worth most, of those found whose cycles and what comes on top are within a limit.

    Args:
        search: the best choice within a limit on the cycles of tables; None if there is none.
        limit: on both together.
        more: the cycles on top of those of the tables; below 0 if a table charges more than a choice takes.
        worth: of a choice.

    >>> cheap, dear = (3.0, 0.0), (8.0, 4.0)  # cycles of tables, and on top
    >>> def search(limit):
    ...     return next((each for each in (dear, cheap) if each[0] <= limit), None)
    >>> best_with_aside(search, 10.0, lambda found: found[1], sum), best_with_aside(search, 12.0, lambda f: f[1], sum)
    ((3.0, 0.0), (8.0, 4.0))
    """
    found = search(limit)
    if found is None or more(found) <= 0:
        return found
    best: _C | None = None
    low, aside = 0.0, more(found)
    high = aside
    for _ in range(HALVINGS):
        found = search(limit - aside)
        is_good = found is not None and more(found) <= aside
        if found is not None and is_good and (best is None or worth(found) > worth(best)):
            best = found
        if found is None or is_good:
            high = aside
        else:
            low = aside
        aside = (low + high) / 2
    return best
