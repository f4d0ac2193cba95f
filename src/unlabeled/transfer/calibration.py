"""Whether a reading is right as often as its probabilities say: reliability, and its error.

Guo et al., 2017 (arXiv:1706.04599): test samples are put into bins of equal width by the
probability of the class that each is said to be of; in a calibrated bin that share is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled import rng

BINS = 15
_COPIES = 100
Floats = NDArray[np.floating]


def sureness(logits: Floats) -> Floats:
    """Return the probability of the likeliest class, (N, K) logits -> (N,).

    >>> sureness(np.log(np.array([[1.0, 3.0]]))).round(6).tolist()
    [0.75]
    """
    scaled = logits.astype(np.float64)
    found: Floats = 1 / np.exp(scaled - scaled.max(axis=1, keepdims=True)).sum(axis=1)
    return found


def error(sure: Floats, right: NDArray[np.bool_]) -> float:
    """Return the expected calibration error: sum over bins of n_b / N |accuracy_b - sureness_b|.

    Args:
        sure: (N,) probabilities of what was said, in [0, 1].
        right: (N,) whether it was so.
    """
    gap = np.bincount(_bin(sure), right - sure.astype(np.float64), minlength=BINS)
    return float(np.abs(gap).sum() / len(sure))


def _bin(sure: Floats) -> NDArray[np.int64]:
    """Return the bin of each, ((m - 1) / M, m / M]."""
    found: NDArray[np.int64] = (np.ceil(sure * BINS) - 1).clip(0, BINS - 1).astype(np.int64)
    return found


def floor(sure: Floats, seed: int = 0) -> float:
    """Return the mean error of answers that are right exactly as often as `sure` says.

    Few samples in a bin are never as many right as they should be, so even such answers have some.
    """
    random = rng.generator(rng.mix(seed, len(sure)))
    return float(np.mean([error(sure, random.random(len(sure)) < sure) for _ in range(_COPIES)]))


def bins(sure: Floats, right: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Return mean sureness, share that was right and number of samples of each bin that has any."""
    place = _bin(sure)
    counts = np.bincount(place, minlength=BINS)
    means = [np.bincount(place, part, minlength=BINS) / np.maximum(counts, 1)
             for part in (sure.astype(np.float64), right)]  # fmt: skip
    return [
        {"sureness": round(float(means[0][b]), 4), "accuracy": round(float(means[1][b]), 4),
         "count": int(counts[b])}
        for b in np.flatnonzero(counts)
    ]  # fmt: skip


def of_draws(parts: Sequence[tuple[Floats, NDArray[np.bool_]]], seed: int = 0) -> dict[str, Any]:
    """Return errors as means over draws, and bins of all draws together.

    Args:
        parts: of each draw, `sure` and `right` as for `error`.
        seed: of what `floor` draws.
    """
    sure, right = (np.concatenate(column) for column in zip(*parts, strict=True))
    return {
        "draws": len(parts),
        "samples": len(parts[0][0]),
        "error": round(float(np.mean([error(*part) for part in parts])), 4),
        "floor": round(float(np.mean([floor(part, seed) for part, _ in parts])), 4),
        "sureness": round(float(sure.mean()), 4),
        "accuracy": round(float(right.mean()), 4),
        "bins": bins(sure, right),
    }
