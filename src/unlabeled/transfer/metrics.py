"""Scores of predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IMBALANCE = 3.0
"""Ratio of the largest to the smallest class in the test part above which accuracy misleads."""


def accuracy(guess: NDArray[np.int64], y: NDArray[np.int64]) -> float:
    """Return the share of right predictions."""
    return float(np.mean(guess == y))


def macro_f1(guess: NDArray[np.int64], y: NDArray[np.int64], num_classes: int) -> float:
    """Return the unweighted mean over the classes in `y` of F1.

    >>> macro_f1(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    0.6666666666666666
    """
    table = np.bincount(y * num_classes + guess, minlength=num_classes**2)
    table = table.reshape(num_classes, num_classes)
    hits, real, said = np.diag(table), table.sum(1), table.sum(0)
    present = real > 0
    return float(np.mean(2 * hits[present] / (real[present] + said[present])))


def balanced_accuracy(guess: NDArray[np.int64], y: NDArray[np.int64]) -> float:
    """Return the unweighted mean over the classes in `y` of the share that is found.

    >>> balanced_accuracy(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]))
    0.5
    """
    return float(np.mean([np.mean(guess[y == label] == label) for label in np.unique(y)]))


def headline(y: NDArray[np.int64], num_classes: int) -> str:
    """Return which metric fits a test part: ``accuracy``, or ``macro_f1`` when imbalanced."""
    counts = np.bincount(y, minlength=num_classes)
    counts = counts[counts > 0]
    return "macro_f1" if counts.max() > IMBALANCE * counts.min() else "accuracy"


def score(guess: NDArray[np.int64], y: NDArray[np.int64], num_classes: int, metric: str) -> float:
    """Return ``accuracy`` or ``macro_f1``, whichever is meant."""
    return macro_f1(guess, y, num_classes) if metric == "macro_f1" else accuracy(guess, y)


def single(guess: NDArray[np.int64], y: NDArray[np.int64], num_classes: int) -> float:
    """Return the score of one class a sample, by the metric that fits; 0 without samples."""
    if not len(y):
        return 0.0
    return score(guess, y, num_classes, headline(y, num_classes))
