"""Nearest neighbours: read a feature without training anything.

Weighted votes as in Wu et al., 2018 (arXiv:1805.01978) and the DINO evaluation: cosine
similarity, weights exp(similarity / T) with T = 0.07.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TEMPERATURE = 0.07
NEIGHBOURS = (1, 5, 10, 20)
_BLOCK = 2048


def normalise(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to length 1; rows of zeros stay.

    Args:
        features: (N, D).
    """
    length = np.linalg.norm(features, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = features / np.maximum(length, 1e-12)
    return scaled


def votes(
    similarity: NDArray[np.float32], y: NDArray[np.int64], num_classes: int, k: int
) -> NDArray[np.float64]:
    """Return each class's share of the weighted votes of the k nearest.

    Args:
        similarity: (Q, N) cosines of queries with labelled samples.
        y: (N,) classes.
        num_classes: K.
        k: neighbours, at most N are used.

    Returns:
        (Q, K), rows sum to 1.
    """
    k = min(k, similarity.shape[1])
    near = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
    close = np.take_along_axis(similarity, near, axis=1).astype(np.float64)
    weight = np.exp((close - close.max(axis=1, keepdims=True)) / TEMPERATURE)
    found = np.zeros((len(similarity), num_classes))
    rows = np.repeat(np.arange(len(similarity)), k)
    np.add.at(found, (rows, y[near].ravel()), weight.ravel())
    share: NDArray[np.float64] = found / found.sum(axis=1, keepdims=True)
    return share


def choose_k(features: NDArray[np.float32], y: NDArray[np.int64], num_classes: int) -> int:
    """Choose k by leave-one-out among the labelled samples alone; smaller wins ties.

    Candidates are capped by the samples of the smallest class. With one sample a class there
    is nothing to leave out: 1.
    """
    most = int(np.bincount(y)[np.unique(y)].min())
    candidates = [k for k in NEIGHBOURS if k <= most] or [1]
    if most < 2 or len(candidates) == 1:
        return candidates[0]
    rows = np.random.Generator(np.random.Philox(key=0)).permutation(len(y))[:_BLOCK]
    unit = normalise(features)
    similarity = unit[rows] @ unit.T
    similarity[np.arange(len(rows)), rows] = -np.inf
    scores = [
        np.mean(votes(similarity, y, num_classes, k).argmax(axis=1) == y[rows]) for k in candidates
    ]
    return candidates[int(np.argmax(scores))]


def shares(
    train: NDArray[np.float32],
    y: NDArray[np.int64],
    queries: NDArray[np.float32],
    num_classes: int,
    k: int,
) -> NDArray[np.float64]:
    """Return each class's share of the votes of each query's neighbours, (Q, K).

    Args:
        train: (N, D) features of labelled samples.
        y: (N,) their classes.
        queries: (Q, D) features.
        num_classes: K.
        k: neighbours.
    """
    unit, asked = normalise(train).T, normalise(queries)
    blocks = (asked[start : start + _BLOCK] for start in range(0, len(asked), _BLOCK))
    return np.concatenate([votes(block @ unit, y, num_classes, k) for block in blocks])


def predict(
    train: NDArray[np.float32],
    y: NDArray[np.int64],
    queries: NDArray[np.float32],
    num_classes: int,
    k: int,
) -> NDArray[np.int64]:
    """Return the class with the largest share of the votes, (Q,); as for `shares`."""
    found: NDArray[np.int64] = shares(train, y, queries, num_classes, k).argmax(axis=1)
    return found


def mean_class(share: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the mean of grades by their shares, rounded to a grade, (Q, K) -> (Q,)."""
    return np.rint(share @ np.arange(share.shape[1])).astype(np.int64)
