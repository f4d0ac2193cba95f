"""Linear probe: multinomial logistic regression on frozen features.

Many fits (folds x strengths of the L2 penalty) are solved at once. In the basis of the singular
vectors of X the bound H <= 1/2 (I - 11'/K) x X'X of Boehning (1992, doi:10.1007/BF00048682) is
diagonal, and X of a fold is bounded by the X of all; so one diagonal step serves every fit, and
Nesterov's momentum with restarts makes it fast. All fits share two matrix products a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlabeled import rng
from unlabeled.transfer import metrics

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""L2 penalties tried, for features scaled by `Scaler` (rows have length about 1)."""

DEFAULT_PENALTY = 0.1
"""Used where nothing can be left out: one sample a class."""

_FOLDS = 5
_ONE_FOLD_ABOVE = 2000


@dataclass(frozen=True)
class Scaler:
    """Standardises features and divides by sqrt(D), so that one grid of penalties fits all.

    Args:
        mean: (..., D).
        scale: (..., D), what centred features are multiplied by.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    @staticmethod
    def fit(features: NDArray[np.float32], each: bool = True) -> Scaler:
        """Take mean and deviation of features (N, ..., D); constant columns become 0.

        With `each` false all dimensions are divided by the same deviation, so that those of
        small variance (last principal components) stay small.
        """
        mean, deviation = features.mean(axis=0), features.std(axis=0)
        if not each:
            deviation = np.full_like(deviation, np.sqrt(np.square(deviation).mean()))
        floor = 1e-6 * max(float(deviation.max(initial=0.0)), 1e-30)
        alive = deviation > floor
        scale = np.where(alive, 1 / np.where(alive, deviation, 1), 0) / np.sqrt(features.shape[-1])
        return Scaler(mean.astype(np.float32), scale.astype(np.float32))

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale features (N, ..., D)."""
        scaled: NDArray[np.float32] = (features - self.mean) * self.scale
        return scaled


@dataclass(frozen=True)
class Probe:
    """A fitted linear classifier on scaled features.

    Args:
        weight: (D, K).
        bias: (K,).
        penalty: the L2 penalty chosen.
        balanced: whether each class weighed the same, however many samples it had.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    penalty: float
    balanced: bool = False

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits of scaled features, (N, D) -> (N, K)."""
        logits: NDArray[np.float32] = features @ self.weight + self.bias
        return logits

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return classes of scaled features, (N, D) -> (N,)."""
        guess: NDArray[np.int64] = self.scores(features).argmax(axis=1).astype(np.int64)
        return guess


def solve(
    features: NDArray[np.floating],
    y: NDArray[np.int64],
    num_classes: int,
    penalties: NDArray[np.floating],
    weights: NDArray[np.floating] | None = None,
    max_steps: int = 500,
    tolerance: float = 1e-4,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Minimise sum_i w_i CE_i + penalty/2 |W|^2 for several penalties and row weights at once.

    Args:
        features: (N, D).
        y: (N,) classes.
        num_classes: K.
        penalties: (J,) one a fit, > 0; the bias is not penalised.
        weights: (J, N) weights of rows in [0, 1], one row a fit; None is all ones.
        max_steps: most steps.
        tolerance: stop when the largest gradient is below this share of the number of rows.

    Returns:
        Weights (J, D, K) and biases (J, K).
    """
    x = torch.from_numpy(np.ascontiguousarray(features))
    centre = x.mean(dim=0)
    basis, spectrum = _rotate(x - centre)
    rows = torch.cat([(x - centre) @ basis, x.new_ones(len(x), 1)], dim=1)  # (N, R + 1)
    target = torch.nn.functional.one_hot(torch.from_numpy(y), num_classes).to(x.dtype)
    lam = torch.as_tensor(np.asarray(penalties), dtype=x.dtype)[:, None, None]
    penalty = lam * torch.cat([torch.ones_like(spectrum), x.new_zeros(1)])[None, :, None]
    bound = torch.cat([spectrum.square(), x.new_full((1,), float(len(x)))])[None, :, None] / 2
    share = None if weights is None else torch.as_tensor(np.asarray(weights), dtype=x.dtype)
    found = _descend(rows, target, penalty, bound + penalty, share, max_steps, tolerance)
    weight = torch.einsum("dr,jrk->jdk", basis, found[:, :-1])
    bias = found[:, -1] - torch.einsum("d,jdk->jk", centre, weight)
    return weight.numpy(), bias.numpy()


def _rotate(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return right singular vectors (D, R) and singular values (R,), R <= min(N, D)."""
    num_rows, width = x.shape
    if num_rows < width:
        values, vectors = torch.linalg.eigh((x @ x.T).double())
        keep = values > values[-1].clamp_min(1e-30) * 1e-9
        values, vectors = values[keep], vectors[:, keep]
        basis = (x.T.double() @ vectors / values.sqrt()).to(x.dtype)
        return basis, values.sqrt().to(x.dtype)
    values, vectors = torch.linalg.eigh((x.T @ x).double())
    return vectors.to(x.dtype), values.clamp_min(0).sqrt().to(x.dtype)


def _descend(
    rows: Tensor,
    target: Tensor,
    penalty: Tensor,
    bound: Tensor,
    share: Tensor | None,
    max_steps: int,
    tolerance: float,
) -> Tensor:
    """Run accelerated steps under the bound; returns (J, R + 1, K)."""
    num_fits, num_classes = len(penalty), target.shape[1]
    now = rows.new_zeros(num_fits, rows.shape[1], num_classes)
    look, momentum = now, now.new_ones(num_fits)
    for step in range(max_steps):
        gradient = _gradient(rows, target, look, share) + penalty * look
        if step % 10 == 0 and float(gradient.abs().max()) < tolerance * len(rows) / num_classes:
            break
        new = look - gradient / bound
        # Restart a fit whose momentum points uphill (O'Donoghue & Candes, 2015).
        uphill = (gradient * (new - now)).sum(dim=(1, 2)) > 0
        momentum = torch.where(uphill, 1.0, momentum)
        following = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        push = torch.where(uphill, 0.0, (momentum - 1) / following)
        look = new + push[:, None, None] * (new - now)
        now, momentum = new, following
    return now


def _gradient(rows: Tensor, target: Tensor, weight: Tensor, share: Tensor | None) -> Tensor:
    """Return the gradient of the weighted cross-entropies, (J, R + 1, K)."""
    num_fits, width, num_classes = weight.shape
    flat = weight.permute(1, 0, 2).reshape(width, -1)
    error = (rows @ flat).view(len(rows), num_fits, num_classes).softmax(dim=2)
    error -= target[:, None]
    if share is not None:
        error *= share.T[:, :, None]
    found = rows.T @ error.view(len(rows), -1)
    return found.view(width, num_fits, num_classes).permute(1, 0, 2)


def folds(y: NDArray[np.int64], seed: int) -> list[NDArray[np.bool_]]:
    """Return masks of the rows left out, stratified; none where a class has one sample.

    Large labelled parts get one fold of a fifth, smaller ones up to five.
    """
    smallest = int(np.bincount(y)[np.unique(y)].min())
    count = min(_FOLDS, smallest)
    if count < 2:
        return []
    place = np.empty(len(y), dtype=np.int64)
    for label in np.unique(y):
        rows = rng.generator(rng.mix(seed, int(label))).permutation(np.flatnonzero(y == label))
        place[rows] = np.arange(len(rows)) % count
    return [place == i for i in range(1 if len(y) > _ONE_FOLD_ABOVE else count)]


def class_weights(y: NDArray[np.int64], num_classes: int) -> NDArray[np.float32]:
    """Return weights with which every class counts the same, N / (classes there x its samples).

    >>> [round(weight, 3) for weight in class_weights(np.array([0, 0, 0, 2]), 3).tolist()]
    [0.667, 0.0, 2.0]
    """
    counts = np.bincount(y, minlength=num_classes)
    there = counts > 0
    found = np.where(there, len(y) / (there.sum() * np.maximum(counts, 1)), 0)
    return found.astype(np.float32)


def _fits(
    features: NDArray[np.float32],
    y: NDArray[np.int64],
    num_classes: int,
    kept: NDArray[np.bool_],
    penalties: Sequence[float],
    balanced: bool,
    max_steps: int = 500,
    tolerance: float = 1e-4,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Fit each penalty on the rows that are kept, (J, N); every class may weigh the same."""
    rows = kept.astype(np.float32)
    largest = np.ones(len(penalties), np.float32)
    if balanced:
        rows = np.stack([part * class_weights(y[part > 0], num_classes)[y] for part in rows])
        largest = rows.max(axis=1)  # the bound of `solve` holds for weights up to 1
        rows /= largest[:, None]
        tolerance *= float(rows.mean())
    lam = np.array(penalties) / largest
    return solve(features, y, num_classes, lam, rows, max_steps, tolerance)


def _choose(
    features: NDArray[np.float32],
    y: NDArray[np.int64],
    num_classes: int,
    seed: int,
    weightings: Sequence[bool],
) -> tuple[float, bool]:
    """Return the penalty, and whether classes weigh the same, that are best on what is left out.

    Accuracy decides, or macro F1 where classes are imbalanced; then the log-likelihood.
    """
    left_out = folds(y, seed)
    if not left_out:
        return DEFAULT_PENALTY, weightings[0]
    grid = PENALTIES * len(left_out)
    kept = np.repeat(~np.stack(left_out), len(PENALTIES), axis=0)
    gained: dict[tuple[float, bool], tuple[float, float]] = {}
    for balanced in weightings:
        weight, bias = _fits(
            features, y, num_classes, kept, grid, balanced, max_steps=200, tolerance=1e-3
        )
        for i, penalty in enumerate(PENALTIES):
            places = range(i, len(grid), len(PENALTIES))
            parts = [
                _judged(features[mask], y[mask], weight[places[j]], bias[places[j]])
                for j, mask in enumerate(left_out)
            ]
            guess = np.concatenate([said for said, _ in parts])
            real = np.concatenate([y[mask] for mask in left_out])
            hit = metrics.single(guess, real, num_classes)
            gained[penalty, balanced] = round(hit, 9), sum(likely for _, likely in parts)
    return max(gained, key=gained.__getitem__)


def _judged(
    x: NDArray[np.float32], y: NDArray[np.int64], weight: Any, bias: Any
) -> tuple[NDArray[np.int64], float]:
    """Return guesses of rows, and the log-likelihood of what they are."""
    logits = x @ weight + bias
    logits = logits - logits.max(axis=1, keepdims=True)
    chance = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits.argmax(axis=1), float(chance[np.arange(len(y)), y].sum())


def fit(
    features: NDArray[np.float32],
    y: NDArray[np.int64],
    num_classes: int,
    seed: int = 0,
    weighting: str | None = "none",
) -> Probe:
    """Choose the penalty by cross-validation inside the labelled samples, and fit on all of them.

    Args:
        features: (N, D), scaled by `Scaler`.
        y: (N,) classes.
        num_classes: K.
        seed: of the folds.
        weighting: ``none``; ``balanced``: every class weighs the same; None: chosen as the
            penalty is, where classes are imbalanced.
    """
    tried = {"none": (False,), "balanced": (True,), None: (False, True)}[weighting]
    if metrics.headline(y, num_classes) == "accuracy":
        tried = tried[:1]
    penalty, balanced = _choose(features, y, num_classes, seed, tried)
    every = np.ones((1, len(y)), dtype=bool)
    weight, bias = _fits(features, y, num_classes, every, [penalty], balanced)
    return Probe(weight[0].astype(np.float32), bias[0].astype(np.float32), penalty, balanced)
