"""SIGReg: how far samples are from an isotropic Gaussian, seen along random lines."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from unlabeled.device import world
from unlabeled.nn.gather import gather_rows
from unlabeled.nn.precision import full, no_autocast
from unlabeled.rng import mix, uniform


def draw_lines(key: int, dim: int, count: int) -> Tensor:
    """Draw directions, uniform on the sphere; the same key gives the same ones everywhere.

    Args:
        key: any integer.
        dim: D, width of what is projected.
        count: M, how many lines.

    Returns:
        (D, M) float32, columns of length 1.
    """
    draws = uniform(torch.tensor([mix(key, _SALT) >> 1]), 2 * dim * count).view(2, dim, count)
    normal = (-2 * (1 - draws[0]).log()).sqrt() * (2 * math.pi * draws[1]).cos()  # Box and Muller
    return F.normalize(normal, dim=0)


def sigreg(samples: Tensor, lines: Tensor, knots: int = 17, reach: float = 3.0) -> Tensor:
    """Epps and Pulley's statistic of samples against N(0, 1), the mean over lines and views.

    Balestriero and LeCun, 2025 (arXiv:2511.08544), section 4: for each line the empirical
    characteristic function of the projections is compared with ``exp(-t^2 / 2)``; the squared
    distance, weighted by ``exp(-t^2 / 2)``, is integrated over [-reach, reach] by trapezoids
    (its integrand is even, so half of the knots do) and multiplied by the number of samples.
    Samples of all ranks count, with gradient to all of them.

    Args:
        samples: (V, B, D) projections on this rank, any scale, the same B on every rank.
        lines: (D, M) unit columns, the same on every rank.
        knots: T, points in [0, reach], > 1.
        reach: > 0, largest frequency.

    Returns:
        Scalar: 0 for a perfect Gaussian; about 1.06 for N(0, 1) samples of any number; grows
        with B when all samples are one point.

    >>> point = torch.zeros(1, 8, 2)
    >>> round(sigreg(point, torch.eye(2)).item() / 8, 3)
    0.402
    """
    with no_autocast(samples):
        samples = full(samples)
        t = torch.linspace(0, reach, knots, dtype=samples.dtype, device=samples.device)
        target = torch.exp(-t.square() / 2)  # (T,)
        weights = target * 2 * reach / (knots - 1)
        weights[[0, -1]] /= 2
        angles = (samples @ lines.to(samples))[..., None] * t  # (V, B, M, T)
        means = torch.stack([angles.cos().mean(1), angles.sin().mean(1)])  # (2, V, M, T)
        means = gather_rows(means[None]).mean(0)  # over the samples of all ranks
        distance = (means[0] - target).square() + means[1].square()
        return (distance @ weights).mean() * (samples.shape[1] * world())


_SALT = 0x5349_4752
"""Keeps lines independent of whatever else is drawn from the same key."""
