"""What statistics, random convolutions and main directions say of logs without any training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from unlabeled.transfer.baselines import Plain, of_modality, principal
from unlabeled.transfer.features import Inputs

_LEAST = 1e-6


def for_series(train: Inputs, test: Inputs, pool: Inputs) -> dict[str, Callable[[], Plain]]:
    """Return the baselines of logs: statistics, random convolutions, PCA of all values."""
    return {
        "pca": lambda: principal(_flat, train, test, pool),
        **of_modality(train, test, ("statistics", "rocket")),
    }


def _flat(inputs: Inputs) -> NDArray[np.float32]:
    """Return all values of logs as the encoder sees them, (N, T C)."""
    parts = [
        inputs.modality.raw(inputs.plain(slice(start, start + 512))).flatten(1).numpy()
        for start in range(0, len(inputs), 512)
    ]
    return np.concatenate(parts)
