"""How well a ranking finds what belongs to a query: average precision and recall at k.

Samples of equal score share their places: average precision counts precision once a whole block
of equals is in, as scikit-learn does, and recall at k is the chance of a hit when the equals that
straddle place k are drawn at random. Features that are all alike thus find what chance finds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

AT = (1, 5, 10)
FIGURES = ("map", *(f"recall_at_{k}" for k in AT))

Floats = NDArray[np.float64]


def per_query(likeness: NDArray[np.floating], relevant: NDArray[np.bool_]) -> Floats:
    """Return average precision and recall at 1, 5 and 10 of each query, (Q, 4).

    Recall at k is the share of queries that have a hit among their k nearest (Song et al., 2016,
    arXiv:1511.06452), here of one query, so 0 or 1 where no scores are equal.

    Args:
        likeness: (Q, M), higher is nearer; minus infinity leaves a sample out.
        relevant: (Q, M) what belongs to a query; none may be left out by `likeness`.

    Returns:
        NaN for queries that nothing belongs to.
    """
    order = np.argsort(-likeness, axis=1, kind="stable")
    scores = np.take_along_axis(likeness, order, 1)  # (Q, M), the nearest first
    right = np.take_along_axis(relevant, order, 1)
    hits, last = right.cumsum(1), _ends(scores)
    total = hits[:, -1]
    precision = np.take_along_axis(hits, last, 1) / (last + 1)
    with np.errstate(invalid="ignore"):
        average = (precision * right).sum(1) / total
    found = [average, *(_hit(scores, hits, last, k) for k in AT)]
    return np.where(total[:, None] > 0, np.stack(found, 1), np.nan)


def _ends(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the place of the last of the equals of each, (Q, M) scores in falling order."""
    width = scores.shape[1]
    last = np.full(scores.shape, width - 1)
    last[:, :-1] = np.where(scores[:, 1:] != scores[:, :-1], np.arange(width - 1), width - 1)
    return np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]


def _hit(
    scores: NDArray[np.floating], hits: NDArray[np.int64], last: NDArray[np.int64], k: int
) -> Floats:
    """Return the chance that one of the first k belongs to the query, (Q,)."""
    k, rows = min(k, scores.shape[1]), np.arange(len(scores))
    end = last[:, k - 1]
    above = (scores > scores[:, k - 1, None]).sum(1)
    sure = np.where(above > 0, hits[rows, np.maximum(above - 1, 0)], 0)
    size, good = end + 1 - above, hits[rows, end] - sure
    # None of the k - above that are drawn from the equals: hypergeometric.
    none = np.exp(_ways(size - good, k - above) - _ways(size, k - above))
    return np.where(sure > 0, 1.0, 1 - none)


def _ways(of: NDArray[np.int64], drawn: NDArray[np.int64]) -> Floats:
    """Return the logarithm of how many ways there are to draw; minus infinity for none."""
    left = np.maximum(of - drawn, 0)
    found = gammaln(of + 1.0) - gammaln(drawn + 1.0) - gammaln(left + 1.0)
    return np.where(of >= drawn, found, -np.inf)


def means(values: Floats, weights: NDArray[np.float32]) -> Floats:
    """Return the mean over queries in every copy of them, (Q, F), (R, Q) -> (F, R)."""
    found: Floats = (weights @ values / np.maximum(weights.sum(1), 1e-12)[:, None]).T
    return found
