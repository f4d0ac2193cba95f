"""Readings and scores where a sample has several labels, a grade or a number.

``multi``: the score is F1 averaged over labels; NaN is a cell that is not known, which counts
neither as there nor as absent. ``regression``: the share of variance that is explained, 0 where
the mean would do as well. ``ordinal``: the kappa of Cohen (1968, doi:10.1037/h0026256) with
squared distances, 0 where chance would do as well.
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

METRICS = {"multi": "label_f1", "regression": "r2", "ordinal": "quadratic_kappa"}
_ALPHAS = 10.0 ** np.arange(-4, 3)
_HEAVIEST = 20.0
_SURE = 10.0
"""Logit of a label that all, or none, of the labelled samples have."""


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
        guesses: (M, N, K) 0 or 1, or (M, N) numbers or grades.
        truth: (N, K) or (N,).
        metric: ``label_f1``, ``r2`` or ``quadratic_kappa``.
        weights: (R, N) how often a copy has each item.
    """
    ways = {"label_f1": _label_f1, "r2": _r2, "quadratic_kappa": _quadratic_kappa}
    return ways[metric](guesses, truth, weights)


def mean_error(guess: NDArray[Any], truth: NDArray[Any]) -> float:
    """Return the mean absolute error: grades, or the unit of the numbers."""
    return float(np.abs(guess.astype(np.float64) - truth).mean())


def _label_f1(
    guesses: NDArray[Any], truth: NDArray[Any], weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    total = np.zeros((len(guesses), len(weights)))
    there = np.zeros(len(weights))
    for label in range(truth.shape[1]):
        real = (truth[:, label] > 0.5).astype(np.float32)
        known = ~np.isnan(truth[:, label])
        said = ((guesses[:, :, label] > 0.5) & known).astype(np.float32)
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


def _quadratic_kappa(
    guesses: NDArray[Any], truth: NDArray[Any], weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return ``1 - S(g-y)^2 / (S g^2 + S y^2 - 2 Sg Sy / W)``, at least 0."""
    w = weights.astype(np.float64)
    middle = float(truth.mean())  # any grade may be called 0
    said, real = guesses.astype(np.float64) - middle, truth.astype(np.float64) - middle
    apart = (said - real) ** 2 @ w.T  # (M, R)
    chance = said**2 @ w.T + w @ real**2 - 2 * (said @ w.T) * (w @ real) / w.sum(axis=1)
    found: NDArray[np.float64] = np.where(chance > 0, 1 - apart / np.maximum(chance, 1e-12), 0)
    return np.clip(found, 0, 1)


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
    fitted = fit(x, targets, seed)
    said = [np.asarray(part @ fitted.weight + fitted.bias) for part in asked]
    chosen = {"l2": fitted.penalty}
    if targets.ndim == 1:
        return [part[:, 0].astype(np.float32) for part in said], chosen
    return [(part > 0).astype(np.int64) for part in said], chosen


def fit(
    x: Any, targets: NDArray[np.float32], seed: int, weighting: str | None = None
) -> probe.Probe:
    """Fit a linear reading: (D, K) logits of labels, or (D, 1) of a number in its own unit.

    Args:
        x: (N, D) scaled features of labelled samples, dense or sparse.
        targets: (N, K), NaN where a cell is not known, or (N,).
        seed: of folds.
        weighting: of labels that are there and not there, as for `probe.fit`.
    """
    if targets.ndim == 1:
        return _ridge(x, targets)
    each = [_logistic(x, column, seed, weighting) for column in targets.T]
    chosen = [one.penalty for one in each if one.penalty > 0]
    return probe.Probe(
        np.hstack([one.weight for one in each]),
        np.concatenate([one.bias for one in each]),
        float(np.median(chosen)) if chosen else 0.0,
    )


def _logistic(x: Any, cells: NDArray[np.float32], seed: int, weighting: str | None) -> probe.Probe:
    """Fit the logit of one label on the samples of which it is known; penalty 0: nothing to fit."""
    known = np.flatnonzero(~np.isnan(cells))
    y = (cells[known] > 0.5).astype(np.int64)
    if not len(y) or y.min() == y.max():
        sure = _SURE if len(y) and y[0] else -_SURE
        return probe.Probe(np.zeros((x.shape[1], 1), np.float32), np.array([sure], np.float32), 0.0)
    if isinstance(x, np.ndarray):
        two = probe.fit(x[known], y, 2, seed, weighting)
        return probe.Probe(
            two.weight[:, 1:] - two.weight[:, :1], two.bias[1:] - two.bias[:1], two.penalty
        )
    from unlabeled.transfer.baselines import fit_sparse

    model, penalty = fit_sparse(x[known], y, seed)
    return probe.Probe(
        model.coef_.T.astype(np.float32), np.asarray(model.intercept_, np.float32), penalty
    )


def _ridge(x: Any, targets: NDArray[np.float32]) -> probe.Probe:
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
    weight = np.asarray(model.coef_, np.float32).reshape(-1, 1)
    return probe.Probe(weight, np.array([model.intercept_], np.float32), penalty)


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
    aims = targets[near].astype(np.float64)
    known = ~np.isnan(aims)
    total = np.einsum("qk,qk...->q...", weight, known)
    mean = np.einsum("qk,qk...->q...", weight, np.where(known, aims, 0)) / np.maximum(total, 1e-12)
    found: NDArray[Any] = mean > 0.5 if targets.ndim == 2 else mean
    return found.astype(np.int64 if targets.ndim == 2 else np.float32)


def positive_weights(targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return for each label how many known cells lack it for one that has it, (N, K) -> (K,).

    At most 20, at least 1 in 20: a label of two samples would else be all that is learned.
    """
    have, lack = np.nansum(targets > 0.5, axis=0), np.nansum(targets <= 0.5, axis=0)
    found = np.where(have > 0, lack / np.maximum(have, 1), 1.0)
    return found.clip(1 / _HEAVIEST, _HEAVIEST).astype(np.float32)


def loss(logits: Tensor, target: Tensor, positive: Tensor | None = None) -> Tensor:
    """Return the loss that the form of the targets asks for.

    Args:
        logits: (B, K), or (B, T, K) for tagged tokens.
        target: (B,) int64 classes, (B, K) float labels in {0, 1}, (B,) float numbers, or
            (B, >= T) int64 tags, -100 where a token has none. NaN is not known and counts for
            nothing: the loss is the mean over what is known.
        positive: (K,) weights of labels that are there; None is 1.
    """
    if logits.ndim == 3:
        return functional.cross_entropy(logits.transpose(1, 2), target[:, : logits.shape[1]])
    if not target.is_floating_point():
        return functional.cross_entropy(logits, target)
    known = ~torch.isnan(target)
    filled = target.nan_to_num(0.0)
    if target.ndim == 2:
        each = functional.binary_cross_entropy_with_logits(
            logits, filled, pos_weight=positive, reduction="none"
        )
    else:
        each = (logits[:, 0] - filled).square()
    return (each * known).sum() / known.sum().clamp_min(1)
