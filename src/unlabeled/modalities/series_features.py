"""What of a log is known without training: its statistics, and how it answers random kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

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
    found = np.zeros((len(logs), num_kernels, 2), np.float32)
    if not logs:
        return found.reshape(0, 2 * num_kernels)
    kernels = _kernels(logs[0].shape[1], num_kernels, length)
    for steps in sorted({len(x) for x in logs}):
        rows = [i for i, x in enumerate(logs) if len(x) == steps]
        # Missing is the mean, as it is for the encoder.
        x = torch.from_numpy(np.stack([np.nan_to_num(logs[i]).T for i in rows]))  # (n, C, T)
        for kernel in kernels:
            found[np.ix_(rows, kernel.places)] = _answers(x, kernel)
    return found.reshape(len(logs), -1)


class Kernels(NamedTuple):
    """Random kernels of one size and dilation.

    Args:
        places: (k,) where their answers are written.
        weights: (k, C, size); 0 for the channels that a kernel does not see.
        bias: (k,).
        dilation: steps between the values that are weighed.
    """

    places: list[int]
    weights: Tensor
    bias: Tensor
    dilation: int


def _kernels(num_channels: int, count: int, length: int) -> list[Kernels]:
    """Draw kernels and put those of one size and dilation together."""
    rng = np.random.Generator(np.random.Philox(key=num_channels))
    drawn: dict[tuple[int, int], list[tuple[int, Values, float]]] = {}
    for place in range(count):
        size = int(rng.choice([7, 9, 11]))
        seen = min(num_channels, int(2 ** rng.uniform(0, np.log2(num_channels + 1))))
        weights = np.zeros((num_channels, size), np.float32)
        values = rng.normal(size=(seen, size))
        weights[rng.permutation(num_channels)[:seen]] = values - values.mean(1, keepdims=True)
        bias = float(rng.uniform(-1, 1))
        dilation = int(2 ** (rng.uniform(0, 1) * np.log2(max(1.0, (length - 1) / (size - 1)))))
        drawn.setdefault((size, dilation), []).append((place, weights, bias))
    return [
        Kernels(
            [place for place, _, _ in found],
            torch.from_numpy(np.stack([weights for _, weights, _ in found])),
            torch.tensor([bias for _, _, bias in found]),
            dilation,
        )
        for (_, dilation), found in drawn.items()
    ]


def _answers(x: Tensor, kernels: Kernels) -> Values:
    """Return the share of positive answers and the largest, (n, C, T) -> (n, k, 2)."""
    most = 1 + (x.shape[2] - 1) // kernels.dilation  # what of a kernel fits into a short log
    weights = kernels.weights[..., :most]
    with torch.no_grad():
        answers = F.conv1d(x, weights, kernels.bias, dilation=kernels.dilation)  # (n, k, T')
        both = torch.stack([(answers > 0).float().mean(2), answers.amax(2)], 2)
    return np.asarray(both.numpy())
