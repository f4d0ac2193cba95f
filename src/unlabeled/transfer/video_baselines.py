"""What pixels, the middle frame and the motion of clips say without any training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from unlabeled.transfer.baselines import Plain, of_modality, principal
from unlabeled.transfer.features import Inputs


def for_video(train: Inputs, test: Inputs, pool: Inputs) -> dict[str, Callable[[], Plain]]:
    """Return the baselines of clips: PCA and moments of pixels, the middle frame, motion."""
    return {
        "pca": lambda: principal(_small, train, test, pool),
        **of_modality(train, test, ("moments", "middle", "motion")),
    }


def _small(inputs: Inputs) -> NDArray[np.float32]:
    """Return small clips, every cell the mean of its pixels, (N, T C 256) in [0, 1]."""
    from torch.nn import functional

    parts = []
    for start in range(0, len(inputs), 256):
        x = inputs.cuts[start : start + 256].float() / 255  # (B, T, C, H, W)
        small = functional.adaptive_avg_pool2d(x.flatten(0, 1), min(16, x.shape[-1]))
        parts.append(small.reshape(len(x), -1).numpy())
    return np.concatenate(parts)
