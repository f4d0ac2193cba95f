"""What is unlike all that pre-training saw: scores of oddness from features, without any label.

A score is how far a sample lies from those of the unlabelled pool: the mean distance to its nearest
ones (Sun, Ming, Zhu and Li, ICML 2022, arXiv:2204.06507), or Mahalanobis' distance under one
Gaussian (Lee, Lee, Lee and Shin, NeurIPS 2018, arXiv:1807.03888, without their classes), whose
covariance is shrunk (Ledoit and Wolf, 2004, doi:10.1016/S0047-259X(03)00096-4). Nothing is fitted
to labels and nothing chosen by them: they are looked at once, to count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from unlabeled.errors import UsageError
from unlabeled.transfer.detection import auroc, average_precision
from unlabeled.transfer.probe import Scaler
from unlabeled.transfer.rivals import compared, spanned

NEIGHBOURS = 5
NORMAL = (
    "normal", "nominal", "ok", "good", "healthy", "usual", "regular", "negative", "neg", "inlier",
    "benign", "0", "no", "false", "none", "-1",
)  # fmt: skip
_BLOCK = 512

Features = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Of the pool, (N, D), and of the test samples, (M, D)."""


def neighbours(
    x: NDArray[np.float32], asked: NDArray[np.float32], k: int = NEIGHBOURS
) -> NDArray[np.float64]:
    """Return the mean Euclidean distance to the k nearest of `x`, (M,)."""
    k = min(k, len(x))
    known, found = np.asarray(x, np.float64), []
    size = np.square(known).sum(1)
    with threadpool_limits(1):
        for block in np.array_split(np.asarray(asked, np.float64), -(-len(asked) // _BLOCK) or 1):
            squared = np.square(block).sum(1)[:, None] + size - 2 * block @ known.T
            near = np.partition(squared, k - 1, axis=1)[:, :k]
            found.append(np.sqrt(np.maximum(near, 0)).mean(1))
    return np.concatenate(found)


def mahalanobis(x: NDArray[np.float32], asked: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the squared distance from the mean of `x` under its shrunk covariance, (M,)."""
    from sklearn.covariance import LedoitWolf

    with threadpool_limits(1):
        fitted = LedoitWolf(store_precision=True).fit(np.asarray(x, np.float64))
        return np.asarray(fitted.mahalanobis(np.asarray(asked, np.float64)))


SCORES = {"k-NN": neighbours, "Mahalanobis": mahalanobis}
JUDGED = ("features", "k-NN")
"""Of ours, what is compared with the others; it is set beforehand."""


def usual(classes: list[str], counts: NDArray[np.int64], given: str | None) -> int:
    """Return which class is no anomaly.

    Raises:
        UsageError: that one is not there, or none is called so that it can be told.
    """
    if given is not None:
        if given in classes:
            return classes.index(given)
        raise UsageError(f"There is no class '{given}'. Classes: {', '.join(classes[:20])}.")
    found = [i for i, name in enumerate(classes) if name.strip().lower() in NORMAL]
    if len(found) != 1:
        listed = ", ".join(f"{n} ({c:,})" for n, c in zip(classes[:20], counts, strict=False))
        raise UsageError(
            f"Which class is no anomaly? Say --normal CLASS. Classes and their samples: {listed}."
        )
    return found[0]


def scored(features: Mapping[str, Features]) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Return both scores of every kind of features, each dimension standardised by the pool."""
    found = {}
    for name, (pool, asked) in features.items():
        scaler = Scaler.fit(pool, each=True)
        for way, score in SCORES.items():
            found[name, way] = score(scaler(pool), scaler(asked))
    return found


def rows(
    scores: Mapping[tuple[str, str], NDArray[np.float64]],
    odd: NDArray[np.bool_],
    weights: NDArray[np.float32],
) -> list[dict[str, Any]]:
    """Return AUROC and average precision of every score, with intervals."""
    table = []
    for (features, way), score in scores.items():
        row: dict[str, Any] = {"features": features, "score": way}
        for name, figure in (("auroc", auroc), ("precision", average_precision)):
            row |= spanned(name, figure(score, odd, weights))
        table.append(row)
    return table


def difference(
    scores: Mapping[tuple[str, str], NDArray[np.float64]],
    odd: NDArray[np.bool_],
    weights: NDArray[np.float32],
) -> dict[str, Any]:
    """Compare nearest neighbours of our features with the best of all other features' scores.

    Ours is set beforehand; the rival is the best on the test samples, which favours it.
    """
    others = {key: auroc(s, odd, weights) for key, s in scores.items() if key[0] != JUDGED[0]}
    rival, gain = compared(auroc(scores[JUDGED], odd, weights), others)
    return {"rival": list(rival), **gain}


def by_class(
    score: NDArray[np.float64], y: NDArray[np.int64], normal: int, classes: list[str]
) -> dict[str, float]:
    """Return the AUROC of each class against the usual one."""
    found = {}
    for label in (int(i) for i in np.unique(y) if i != normal):
        rows = (y == label) | (y == normal)
        one = auroc(score[rows], y[rows] == label, np.ones((1, int(rows.sum())), np.float32))
        found[classes[label]] = float(one[0])
    return found
