"""How well scores tell the odd from the usual: area under the ROC curve, average precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def auroc(
    scores: NDArray[np.floating], odd: NDArray[np.bool_], weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the chance that an odd sample scores above a usual one, ties at half, (R,).

    Args:
        scores: (N,), high where a sample seems odd.
        odd: (N,) whether it is.
        weights: (R, N) how often a copy of the test part has each sample.

    Returns:
        One a copy, NaN where a copy has no odd or no usual sample.

    >>> auroc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([0, 1, 0, 1], bool), np.ones((1, 4)))
    array([0.875])
    """
    bad, good = at_thresholds(scores, odd, weights)  # (R, T) each, highest score first
    below = good.sum(1, keepdims=True) - good.cumsum(1)
    pairs = bad.sum(1) * good.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: NDArray[np.float64] = (bad * (below + good / 2)).sum(1) / pairs
    return found


def average_precision(
    scores: NDArray[np.floating], odd: NDArray[np.bool_], weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the sum over thresholds of precision times what recall gains there, (R,).

    A random score has the share of odd samples. Arguments as for `auroc`.
    """
    bad, good = at_thresholds(scores, odd, weights)
    hits, called = bad.cumsum(1), (bad + good).cumsum(1)
    precision = hits / np.maximum(called, 1e-12)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: NDArray[np.float64] = (precision * bad).sum(1) / bad.sum(1)
    return found


def at_thresholds(
    scores: NDArray[np.floating], odd: NDArray[np.bool_], weights: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weight of odd and of usual samples at each score, the highest first, (R, T)."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf) != 0)
    sorted_odd, sorted_weights = odd[order], weights[:, order]
    found = [
        np.add.reduceat(sorted_weights * side, starts, axis=1) for side in (sorted_odd, ~sorted_odd)
    ]
    return found[0], found[1]
