"""Readings and scores where a sample has several labels, or a number, instead of one class.

``multi``: the score is F1 averaged over labels. ``regression``: the share of variance that is
explained, 0 where the mean would do as well.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from unlabeled.transfer import knn, probe

METRICS = {"multi": "label_f1", "regression": "r2"}
_ALPHAS = 10.0 ** np.arange(-4, 3)


def score(guess: NDArray[Any], truth: NDArray[Any], metric: str) -> float:
    """Return the score of guesses, in [0, 1].

    >>> truth = np.array([[1, 0], [0, 1], [1, 1]])
    >>> score(truth, truth, "label_f1"), score(np.zeros(2), np.array([-1.0, 1.0]), "r2")
    (1.0, 0.0)
    """
    ones = np.ones((1, len(truth)), dtype=np.float32)
    return float(resample(guess[None], truth, metric, ones)[0, 0])


def resample(
    guesses: NDArray[Any], truth: NDArray[Any], metric: str, weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the score of each row on each copy of the test part, (M, R).

    Args:
        guesses: (M, N, K) 0 or 1, or (M, N) numbers.
        truth: (N, K) or (N,).
        metric: ``label_f1`` or ``r2``.
        weights: (R, N) how often a copy has each item.
    """
    return _label_f1(guesses, truth, weights) if metric == "label_f1" else _r2(
        guesses, truth, weights
    )  # fmt: skip


def _label_f1(
    guesses: NDArray[Any], truth: NDArray[Any], weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    total = np.zeros((len(guesses), len(weights)))
    there = np.zeros(len(weights))
    for label in range(truth.shape[1]):
        real = (truth[:, label] > 0.5).astype(np.float32)
        said = (guesses[:, :, label] > 0.5).astype(np.float32)
        hits = (said * real) @ weights.T
        both = said @ weights.T + weights @ real
        exists = weights @ real > 0
        total += np.where(exists, 2 * hits / np.maximum(both, 1e-12), 0)
        there += exists
    return total / np.maximum(there, 1)


def _r2(
    guesses: NDArray[Any], truth: NDArray[Any], weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    w = weights.astype(np.float64)
    centred = truth.astype(np.float64) - float(truth.mean())
    size = w.sum(axis=1)
    whole = w @ centred**2 - (w @ centred) ** 2 / size  # (R,)
    rest = (guesses.astype(np.float64) - truth) ** 2 @ w.T  # (M, R)
    found: NDArray[np.float64] = np.clip(1 - rest / np.maximum(whole, 1e-12), 0, 1)
    return found


def linear(
    x: Any, targets: NDArray[np.float32], asked: list[Any], seed: int
) -> tuple[list[NDArray[Any]], dict[str, Any]]:
    """Fit a linear reading and return its guesses of each part, and what was chosen.

    Several labels: a logistic regression each. Numbers: ridge regression, its penalty by
    leave-one-out inside the labelled samples.

    Args:
        x: (N, D) scaled features of labelled samples, dense or sparse.
        targets: (N, K) or (N,).
        asked: features of the parts to be guessed.
        seed: of folds.
    """
    if targets.ndim == 1:
        return _ridge(x, targets, asked)
    found = [np.zeros((part.shape[0], targets.shape[1]), dtype=np.int64) for part in asked]
    chosen = []
    for label in range(targets.shape[1]):
        y = (targets[:, label] > 0.5).astype(np.int64)
        if y.min() == y.max():
            for guess in found:
                guess[:, label] = y[0]
            continue
        if isinstance(x, np.ndarray):
            fitted = probe.fit(x, y, 2, seed)
            chosen.append(fitted.penalty)
            guesses = [fitted.predict(part) for part in asked]
        else:
            from unlabeled.transfer.baselines import fit_sparse

            model, penalty = fit_sparse(x, y, seed)
            chosen.append(penalty)
            guesses = [model.predict(part) for part in asked]
        for guess, said in zip(found, guesses, strict=True):
            guess[:, label] = said
    return list(found), {"l2": float(np.median(chosen)) if chosen else 0.0}


def _ridge(
    x: Any, targets: NDArray[np.float32], asked: list[Any]
) -> tuple[list[NDArray[Any]], dict[str, Any]]:
    from sklearn.linear_model import Ridge, RidgeCV
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if x.shape[0] < 3:
            model = Ridge(1.0).fit(x, targets)
        else:
            folds = None if isinstance(x, np.ndarray) else min(5, x.shape[0])
            model = RidgeCV(_ALPHAS * x.shape[0], cv=folds).fit(x, targets)
    penalty = float(getattr(model, "alpha_", 1.0))
    return [model.predict(part).astype(np.float32) for part in asked], {"l2": penalty}


def nearest(
    x: NDArray[np.float32], targets: NDArray[np.float32], asked: NDArray[np.float32], k: int
) -> NDArray[Any]:
    """Return the weighted mean of the neighbours' targets; labels where it is above a half."""
    unit, queries = knn.normalise(x), knn.normalise(asked)
    similarity = queries @ unit.T
    k = min(k, len(x))
    near = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
    close = np.take_along_axis(similarity, near, axis=1).astype(np.float64)
    weight = np.exp((close - close.max(axis=1, keepdims=True)) / knn.TEMPERATURE)
    weight /= weight.sum(axis=1, keepdims=True)
    mean = np.einsum("qk,qk...->q...", weight, targets[near].astype(np.float64))
    found: NDArray[Any] = mean > 0.5 if targets.ndim == 2 else mean
    return found.astype(np.int64 if targets.ndim == 2 else np.float32)


def loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the loss that the form of the targets asks for.

    Args:
        logits: (B, K), or (B, T, K) for tagged tokens.
        target: (B,) int64 classes, (B, K) float labels in {0, 1}, (B,) float numbers, or
            (B, >= T) int64 tags, -100 where a token has none.
    """
    if logits.ndim == 3:
        return functional.cross_entropy(logits.transpose(1, 2), target[:, : logits.shape[1]])
    if not target.is_floating_point():
        return functional.cross_entropy(logits, target)
    if target.ndim == 2:
        return functional.binary_cross_entropy_with_logits(logits, target)
    return functional.mse_loss(logits[:, 0], target)


def decide(logits: NDArray[np.float32], targets: NDArray[np.float32]) -> NDArray[Any]:
    """Return what a trained network's outputs mean, given the targets that it was trained on."""
    if targets.ndim == 2:
        return (logits > 0).astype(np.int64)
    scale, mean = spread(targets)
    return (logits[:, 0] * scale + mean).astype(np.float32)


def spread(targets: NDArray[np.float32]) -> tuple[float, float]:
    """Return deviation (never 0) and mean of numbers, by which they are trained on."""
    return float(targets.std()) or 1.0, float(targets.mean())


def trained_on(targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return targets as a network is trained on them: numbers standardised."""
    if targets.ndim == 2:
        return targets
    scale, mean = spread(targets)
    return ((targets - mean) / scale).astype(np.float32)


def gain(logits: NDArray[np.float32], targets: NDArray[np.float32], truth: NDArray[Any]) -> float:
    """Return how good outputs are on the validation part; the loss breaks ties."""
    guess = decide(logits, targets)
    found = score(guess, truth, "label_f1" if truth.ndim == 2 else "r2")
    aim = torch.from_numpy(truth.astype(np.float32))
    if truth.ndim == 1:
        scale, mean = spread(targets)
        aim = (aim - mean) / scale
    return found + 1e-4 * float(torch.exp(-loss(torch.from_numpy(logits).float(), aim)))
