"""Who is nearest to whom among many samples: by the cosine of features, or by their distance."""

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


def whitened(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return principal components of equal variance, (N, D) -> (N, R).

    Features mostly vary in a few directions; what is foreign differs in the others. Components
    of less than a thousandth of the largest variance are left out.
    """
    x = (features - features.mean(axis=0)).astype(np.float64)
    variance, directions = np.linalg.eigh(x.T @ x / len(x))
    kept = variance > max(1e-3 * float(variance[-1]), 1e-30)
    return np.asarray(x @ (directions[:, kept] / np.sqrt(variance[kept])), np.float32)


def nearest_apart(
    x: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return rows and distances of the nearest others, (N, D) -> (N, K) each, nearest first."""
    points = torch.from_numpy(x)
    count = min(count, len(points) - 1)
    rows, found = [], []
    for start in range(0, len(points), _ROWS):
        distances = torch.cdist(points[start : start + _ROWS], points)  # (b, N)
        own = torch.arange(len(distances))
        distances[own, start + own] = torch.inf
        top = distances.topk(count, dim=1, largest=False)
        rows.append(top.indices)
        found.append(top.values)
    return torch.cat(rows).numpy(), torch.cat(found).numpy()
