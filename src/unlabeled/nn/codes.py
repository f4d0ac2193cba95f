"""Discrete targets: nearest centres of k-means, and of a random projection."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlabeled.rng import uniform


def centres(x: Tensor, count: int, seed: int) -> Tensor:
    """Cluster rows by k-means, (N, P) -> (K, P).

    Raises:
        ValueError: there are fewer rows than centres.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    if len(x) < count:
        raise ValueError(f"{len(x)} rows cannot have {count} centres")
    with threadpool_limits(1):
        fitted = KMeans(count, n_init=1, max_iter=50, random_state=seed % (1 << 31))
        fitted.fit(x.detach().cpu().double().numpy())
    return torch.from_numpy(fitted.cluster_centers_).to(x)


def nearest(x: Tensor, table: Tensor) -> Tensor:
    """Return the row of `table` (K, P) that is nearest to each of x, (..., P) -> (...) int64."""
    x, table = x.float(), table.float()
    return (x @ table.T - table.square().sum(1) / 2).argmax(-1)


class Centres(nn.Module):
    """Codes by nearest centre; `table` (K, P) is a buffer."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table: Tensor
        self.register_buffer("table", table)

    def forward(self, x: Tensor) -> Tensor:
        """Return codes, (..., P) -> (...) int64."""
        return nearest(x, self.table)


class RandomCodes(nn.Module):
    """Codes of BEST-RQ: the nearest of random directions to a random projection.

    Values are first given mean 0 and variance 1 in each dimension, without which most codes
    stay unused. Projection (Xavier) and codes (normal, on the sphere) are never trained.

    Args:
        seen: (S, P) rows that mean and variance are taken of.
        count: K.
        dim: width of the projection.
        seed: of projection and codes.
    """

    def __init__(self, seen: Tensor, count: int, dim: int = 16, seed: int = 0) -> None:
        super().__init__()
        width = seen.shape[1]
        draws = uniform(torch.tensor([seed, seed + 1]), max(width, count) * dim)
        bound = math.sqrt(6 / (width + dim))
        projection = (2 * draws[0, : width * dim].view(width, dim) - 1) * bound
        self.mean: Tensor
        self.scale: Tensor
        self.projection: Tensor
        self.table: Tensor
        self.register_buffer("mean", seen.mean(0))
        self.register_buffer("scale", seen.std(0).clamp(min=1e-3))
        self.register_buffer("projection", projection)
        table = normal(draws[1, : count * dim]).view(count, dim)
        self.register_buffer("table", F.normalize(table, dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """Return codes, (..., P) -> (...) int64."""
        projected = ((x.float() - self.mean) / self.scale) @ self.projection
        return nearest(F.normalize(projected, dim=-1), self.table)


def normal(draws: Tensor) -> Tensor:
    """Turn uniform draws in [0, 1) into normal ones."""
    return torch.as_tensor(torch.special.ndtri(draws.clamp(1e-6, 1 - 1e-6)))


def perplexity(codes: Tensor, count: int) -> Tensor:
    """Return how many codes are in use: exp of the entropy of their shares.

    >>> round(float(perplexity(torch.tensor([0, 1, 2, 3]), 8)), 3)
    4.0
    """
    shares = torch.bincount(codes.flatten(), minlength=count).float() / max(1, codes.numel())
    return torch.exp(-torch.xlogy(shares, shares).sum())
