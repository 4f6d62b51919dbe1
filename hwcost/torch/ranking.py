"""Which of many networks to look at next: those predicted to be best, and apart from each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["APART", "apart", "predicted"]

RIDGE = 1e-2
# the least distance between networks that are looked at together, in standard deviations of the candidates' log sizes:
# without it one family of near-equal networks takes all places, and a better one is never scored
APART = 0.5


def apart(
    ranked: NDArray[np.int64], points: NDArray[np.float64], count: int, distance: float = APART
) -> NDArray[np.int64]:
    """The first ``count`` of ranked places whose points are a distance apart, then the first of the rest."""
    left, picked = ranked, list[int]()
    while len(left) and len(picked) < count:
        picked.append(int(left[0]))
        left = left[np.linalg.norm(points[left] - points[left[0]], axis=1) >= distance]
    rest = ranked[~np.isin(ranked, picked)][: count - len(picked)]
    return np.array([*picked, *rest.tolist()], dtype=np.int64)


def predicted(
    points: NDArray[np.float64], seen: list[int], scores: NDArray[np.float64], ridge: float = RIDGE
) -> NDArray[np.float64]:
    """The scores of all points, by ridge regression on a quadratic form of those of some.

    Args:
        points: shape (count, dimensions), standardised.
        seen: the places of those whose scores are known.
        scores: of these.
        ridge: the weight of the penalty, for each score.

    >>> points = np.array([[-1.0], [0.0], [1.0], [2.0]])
    >>> predicted(points, [0, 1, 2], np.array([1.0, 0.0, 1.0]), ridge=1e-9).round(3).tolist()
    [1.0, 0.0, 1.0, 4.0]
    """
    pairs = np.triu_indices(points.shape[1])
    features = np.concatenate([points, points[:, pairs[0]] * points[:, pairs[1]]], axis=1)
    middle, centred = scores.mean(), features - features[seen].mean(axis=0)
    own = centred[seen]
    penalty = ridge * len(seen) * np.eye(own.shape[1])
    found: NDArray[np.float64] = middle + centred @ np.linalg.solve(own.T @ own + penalty, own.T @ (scores - middle))
    return found
