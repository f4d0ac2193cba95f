"""How good features are, without labels: six numbers that were proposed for it.

None replaces labels. They are shown beside what labels say, so that anyone can see how far they
agree.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from unlabeled import rng
from unlabeled.transfer.features import Inputs, best_precision
from unlabeled.transfer.knn import normalise, predict
from unlabeled.transfer.measures import WORDS, worth
from unlabeled.types import View

MOST = 2000
"""Samples that are looked at."""
SURROGATES, VIEWS = 200, 8
_RIDGE = 1e-4
_EPSILON = 1e-7

SHOWN: tuple[str, ...] = ()
"""Measures that were shown to put methods in the order in which labels put them, on several data
sets; a test compares this with what is published (docs/results.md, Measures without labels)."""


def entropy_rank(values: NDArray[np.floating]) -> float:
    """Return exp of the entropy of non-negative values as shares.

    >>> round(entropy_rank(np.ones(4)), 3), round(entropy_rank(np.array([1.0, 0.0])), 3)
    (4.0, 1.0)
    """
    share = values / max(float(values.sum()), 1e-30) + _EPSILON
    return float(np.exp(-(share * np.log(share)).sum()))


def rankme(features: NDArray[np.floating]) -> float:
    """Return RankMe: the effective rank of features (Garrido et al., 2023, arXiv:2210.02885).

    Args:
        features: (N, D).

    Returns:
        Between 1 and min(N, D).
    """
    return entropy_rank(np.linalg.svd(features.astype(np.float64), compute_uv=False))


def alpha_req(features: NDArray[np.floating]) -> float:
    """Return the exponent a of the spectrum of the covariance, eigenvalue i ~ i^-a.

    Agrawal et al., 2022 (arXiv:2202.05808): features with a close to 1 transfer best; a larger
    one means few directions, a smaller one noise in all. The line is fitted to the logarithms
    with weights 1/i, so that each octave counts the same; theirs takes a range chosen by hand.

    Args:
        features: (N, D).
    """
    centred = features.astype(np.float64) - features.mean(axis=0)
    values = np.linalg.svd(centred, compute_uv=False) ** 2
    values = values[values > values[0] * 1e-9] if values[0] > 0 else values[:0]
    if len(values) < 3:
        return math.inf
    place = np.arange(1, len(values) + 1)
    slope = np.polyfit(np.log(place), np.log(values), 1, w=np.sqrt(1 / place))[0]
    return float(-slope)


def lidar(views: NDArray[np.floating]) -> float:
    """Return LiDAR: the effective rank of what separates samples from their own views.

    Thilak et al., 2023 (arXiv:2312.04000), eqs. 1 to 5: each sample is a class whose members are
    its views; eigenvalues are those of the between-class scatter in the metric of the
    within-class scatter, which gets a ridge of 1e-4 of its mean so that it can be inverted.

    Args:
        views: (N, V, D) features of V views of N samples.
    """
    x = views.astype(np.float64)
    means = x.mean(axis=1)  # (N, D)
    within = (x - means[:, None]).reshape(-1, x.shape[2])
    between = means - means.mean(axis=0)
    inner = within.T @ within / max(len(x) * (x.shape[1] - 1), 1)
    ridge = _RIDGE * max(float(np.trace(inner)) / len(inner), 1e-12)
    values, basis = np.linalg.eigh(inner + ridge * np.eye(len(inner)))
    turned = between @ (basis / np.sqrt(values))
    return entropy_rank(np.linalg.svd(turned, compute_uv=False) ** 2)


def learnability(
    features: NDArray[np.float32], clusters: int | None = None, seed: int = 0
) -> float:
    """Return how well nearest neighbours of one half tell the clusters of the other half.

    After Lu et al., 2022 (arXiv:2206.01251), who ask how easily a clustering of the features is
    learned; they count mistakes while samples arrive one by one, here one half is given at once.

    Args:
        features: (N, D).
        clusters: K of k-means; None is the square root of N / 2.
        seed: of the halves and of k-means.

    Returns:
        Accuracy in [0, 1]; about 1 / K where features know nothing of one another.
    """
    from unlabeled.transfer.clusters import kmeans

    count = clusters or max(2, round(math.sqrt(len(features) / 2)))
    unit = normalise(features - features.mean(axis=0))
    member = kmeans(unit, count, seed)
    order = rng.generator(rng.mix(seed, len(unit))).permutation(len(unit))
    known, asked = order[: len(order) // 2], order[len(order) // 2 :]
    said = predict(unit[known], member[known], unit[asked], count, 1)
    return float((said == member[asked]).mean())


def alignment(views: NDArray[np.floating]) -> float:
    """Return how far views of one sample lie apart: the mean of |f(x) - f(y)|^2.

    Wang and Isola, 2020 (arXiv:2005.10242), l_align with alpha = 2: x and y are two views of one
    sample, features have length 1. Over all pairs of V views it is 2 V / (V - 1) (1 - |mean|^2).

    Args:
        views: (N, V, D) features of V > 1 views of N samples.

    Returns:
        Between 0 and 4; 0 where views change nothing, and where all features are alike.
    """
    x = _unit(views)
    mean = np.square(x.mean(axis=1)).sum(axis=-1)  # (N,)
    count = x.shape[1]
    return float(np.maximum(2 * count / (count - 1) * (1 - mean), 0).mean())


def uniformity(features: NDArray[np.floating]) -> float:
    """Return how unevenly features lie on the sphere: log of the mean of exp(-2 |f(x) - f(y)|^2).

    Wang and Isola, 2020 (arXiv:2005.10242), l_uniform with t = 2, over all pairs of two samples;
    features have length 1.

    Args:
        features: (N, D), N > 1.

    Returns:
        Between -8 and 0: 0 where all are alike, -4 + log 0F1(D / 2; 4) where they are spread
        evenly over the sphere, which is about -4 + 8 / D.
    """
    x = _unit(features)
    near = np.exp(4 * (x @ x.T - 1))  # of length 1: |a - b|^2 = 2 - 2 a b
    count = len(x)
    return float(np.log((near.sum() - np.trace(near)) / (count * (count - 1))))


def _unit(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scale features to length 1, (..., D)."""
    x = features.astype(np.float64)
    scaled: NDArray[np.float64] = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-30)
    return scaled


def of_encoder(
    encoder: nn.Module,
    features: NDArray[np.float32],
    inputs: Inputs,
    view: View | None,
    seed: int = 0,
) -> dict[str, float]:
    """Return all six numbers of an encoder; no label is read.

    Args:
        encoder: whose features they are.
        features: (N, D) of `inputs`.
        inputs: the samples.
        view: of them for LiDAR and alignment; None leaves both out (text has no views). All else
            is of undistorted samples.
        seed: of which samples are looked at, and of their views.
    """
    order = rng.generator(rng.mix(seed, len(features))).permutation(len(features))
    x = features[np.sort(order[:MOST])]
    found = {"rankme": rankme(x), "alpha": alpha_req(x), "learnability": learnability(x)}
    if len(x) > 1:
        found["uniformity"] = uniformity(x)
    if view is not None and len(inputs) > 1:
        shown = _views(encoder, inputs, view, np.sort(order[:SURROGATES]), seed)
        found |= {"lidar": lidar(shown), "alignment": alignment(shown)}
    return {name: round(value, 4) for name, value in found.items() if math.isfinite(value)}


def _views(
    encoder: nn.Module, inputs: Inputs, view: View, rows: NDArray[np.int64], seed: int
) -> NDArray[np.float32]:
    """Return features of several views of each sample, (N, V, D)."""
    from unlabeled.device import autocast, device

    where = device()
    encoder.to(where).eval()
    parts = []
    with torch.inference_mode(), autocast(best_precision(), where):
        for number in range(VIEWS):
            keys = [rng.sample_key(seed, number, int(inputs.indices[row])) for row in rows]
            x = inputs.view(rows, view, np.array(keys, dtype=np.int64)).to(where)
            parts.append(encoder(x).float().cpu().numpy())
    return np.stack(parts, axis=1)


def agreement(quality: list[dict[str, float]], scores: list[float]) -> dict[str, Any]:
    """Return Spearman's rank correlation of each number with what labels say, over several runs.

    Args:
        quality: of each run, as `of_encoder` returns it.
        scores: of each run, from labels.

    Returns:
        name -> correlation, for numbers that three runs or more have, turned so that 1 always
        means full agreement (`measures.worth`).
    """
    from scipy.stats import spearmanr

    found = {}
    for name in WORDS:
        pairs = [(q[name], s) for q, s in zip(quality, scores, strict=True) if name in q]
        values = [worth(name, v) for v, _ in pairs]
        if len(pairs) > 2 and len(set(values)) > 1 and len({s for _, s in pairs}) > 1:
            found[name] = float(spearmanr(values, [s for _, s in pairs]).statistic)
    return found
