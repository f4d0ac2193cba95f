"""Who is nearest to whom among many samples, by the cosine of their features."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ROWS = 1024


def unit(features: NDArray[np.float32]) -> Tensor:
    """Return features without their mean, of length 1, (N, D)."""
    x = torch.from_numpy(features)
    return torch.nn.functional.normalize(x - x.mean(0), dim=1)


def nearest_others(
    features: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return rows and cosines of the nearest others, (N, D) -> (N, K) each, K <= N - 1.

    Nearest come first; cosines are those after removing the mean feature.
    """
    directions = unit(features)
    count = min(count, len(directions) - 1)
    rows, found = [], []
    for start in range(0, len(directions), _ROWS):
        cosines = directions[start : start + _ROWS] @ directions.T  # (b, N)
        own = torch.arange(len(cosines))
        cosines[own, start + own] = -2.0
        top = cosines.topk(count, dim=1)
        rows.append(top.indices)
        found.append(top.values)
    return torch.cat(rows).numpy(), torch.cat(found).numpy()
