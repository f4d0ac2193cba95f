"""What of a log is known without training: its statistics, and how it answers random kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
NUM_KERNELS = 500


def statistics(logs: Sequence[Values]) -> Values:
    """Return mean, deviation and mean absolute step of each channel, (N, 3 C).

    Args:
        logs: N arrays (T, C), NaN where a number is missing; what is nowhere there counts as 0.
    """
    return np.stack([_summary(np.asarray(x, np.float32)) for x in logs])


def _summary(x: Values) -> Values:
    steps = np.abs(np.diff(x, axis=0)) if len(x) > 1 else np.zeros_like(x)
    mean = _mean(x)
    spread = np.sqrt(np.maximum(_mean(np.square(x - mean)), 0))
    return np.concatenate([mean, spread, _mean(steps)]).astype(np.float32)


def _mean(x: Values) -> NDArray[Any]:
    """Return the mean over steps of what is there, 0 where nothing is."""
    there = ~np.isnan(x)
    total = np.where(there, x, 0).sum(0, dtype=np.float64)
    return np.asarray(total / np.maximum(there.sum(0), 1))


def random_convolutions(
    logs: Sequence[Values], length: int, num_kernels: int = NUM_KERNELS
) -> Values:
    """Return how random dilated kernels answer: share of positive answers and the largest.

    After Dempster, Petitjean and Webb, "ROCKET", 2020, arXiv:1910.13051: lengths 7, 9 or 11,
    normal weights of mean 0, a uniform bias, dilations on a logarithmic scale, some channels each.
    The kernels are the same for all data of as many channels and steps.

    Args:
        logs: N arrays (T, C) of normalised values, NaN where a number is missing.
        length: steps that dilations are chosen for.
        num_kernels: K.

    Returns:
        (N, 2 K).
    """
    if not logs:
        return np.zeros((0, 2 * num_kernels), np.float32)
    filled = [np.nan_to_num(x).T for x in logs]  # missing is the mean, as for the encoder
    kernels = _kernels(filled[0].shape[0], num_kernels, length)
    return np.stack([_answers(x, kernels) for x in filled])


Kernel = tuple[NDArray[np.int64], NDArray[np.float32], float, int]


def _kernels(num_channels: int, count: int, length: int) -> list[Kernel]:
    """Draw kernels: channels, weights (c, k), bias and dilation."""
    rng = np.random.Generator(np.random.Philox(key=num_channels))
    found: list[Kernel] = []
    for _ in range(count):
        size = int(rng.choice([7, 9, 11]))
        most = np.log2(num_channels + 1)
        seen = min(num_channels, int(2 ** rng.uniform(0, most)))
        places = np.sort(rng.permutation(num_channels)[:seen])
        weights = rng.normal(size=(seen, size)).astype(np.float32)
        weights -= weights.mean(1, keepdims=True)
        bias, scale = rng.uniform(-1, 1), rng.uniform(0, 1)
        reach = np.log2(max(1.0, (length - 1) / (size - 1)))
        found.append((places, weights, float(bias), int(2 ** (scale * reach))))
    return found


def _answers(x: NDArray[Any], kernels: Sequence[Kernel]) -> Values:
    """Return the share of positive answers and the largest of each kernel, (2 K,)."""
    T = x.shape[1]  # noqa: N806
    found = np.empty((len(kernels), 2), np.float32)
    for number, (places, weights, bias, dilation) in enumerate(kernels):
        size = min(weights.shape[1], 1 + (T - 1) // dilation)
        span = T - (size - 1) * dilation
        answer = np.full(span, bias, np.float32)
        for k in range(size):
            answer += weights[:, k] @ x[places, k * dilation : k * dilation + span]
        found[number] = (answer > 0).mean(), answer.max()
    return found.reshape(-1)
