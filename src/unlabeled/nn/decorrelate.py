"""Losses without negatives or teachers: views agree, and dimensions tell different things."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from unlabeled.nn.gather import gather_rows
from unlabeled.nn.precision import full, no_autocast

_EPSILON = 1e-5
"""Of BatchNorm, by which the authors of Barlow Twins standardise."""


class Twins(NamedTuple):
    """What `barlow_twins` finds; the parts are detached.

    Args:
        loss: scalar with gradient.
        diagonal: mean correlation of a dimension with itself in the other view.
        redundancy: mean square of the correlations with the other dimensions.
    """

    loss: Tensor
    diagonal: Tensor
    redundancy: Tensor


class Regularised(NamedTuple):
    """What `vicreg` finds: three terms, each with gradient and not weighted."""

    invariance: Tensor
    variance: Tensor
    covariance: Tensor


def barlow_twins(one: Tensor, two: Tensor, redundancy: float) -> Twins:
    """Bring the cross-correlation of two views' projections near the identity.

    Eq. 1 of Zbontar et al., 2021 (arXiv:2103.03230): sum over i of (1 - C_ii)^2, plus
    `redundancy` times the sum over i != j of C_ij^2. Columns are standardised by the mean and
    the biased variance of the samples of all ranks, as by BatchNorm that is synchronised.

    Args:
        one: (B, D) projections of the first views on this rank, any scale.
        two: (B, D) of the second views, row for row the same samples.
        redundancy: lambda, >= 0; 0.0051 in the paper.

    Raises:
        ValueError: shapes differ.

    >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> round(barlow_twins(z, z, 0.0051).loss.item(), 6)
    0.0
    """
    one, two = _together(one, two)
    with no_autocast(one):
        cross = _standard(one).T @ _standard(two) / len(one)  # (D, D)
    diagonal = cross.diagonal()
    others = cross.square().sum() - diagonal.square().sum()
    loss = (1 - diagonal).square().sum() + redundancy * others
    pairs = max(1, cross.numel() - len(cross))
    return Twins(loss, diagonal.mean().detach(), (others / pairs).detach())


def vicreg(one: Tensor, two: Tensor) -> Regularised:
    """Return the three terms of VICReg.

    Bardes et al., 2022 (arXiv:2105.04906), Eq. 1-5, with the authors' code where both differ:
    the hinge on standard deviations is averaged over the views, which the paper sums;
    covariances are summed over them. Variance and covariance are those of the samples of all
    ranks; the invariance is this rank's mean, so that ranks average to the whole batch's.

    Args:
        one: (B, D) projections of the first views on this rank, B >= 2 over all ranks.
        two: (B, D) of the second views, row for row the same samples.

    Returns:
        The mean squared difference of views; the mean shortfall of standard deviations
        (``sqrt(var + 1e-4)``, unbiased) below 1; the sum of squared covariances over D.

    Raises:
        ValueError: shapes differ.

    >>> z = torch.zeros(4, 2)
    >>> [round(x.item(), 3) for x in vicreg(z, z)]
    [0.0, 0.99, 0.0]
    """
    invariance = F.mse_loss(full(one), full(two))
    one, two = _together(one, two)
    shortfall = (_shortfall(one) + _shortfall(two)) / 2
    return Regularised(invariance, shortfall, _covariance(one) + _covariance(two))


def _together(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Return both views of the samples of all ranks, in fp32 or wider."""
    if one.shape != two.shape:
        raise ValueError(f"views have different shapes: {tuple(one.shape)}, {tuple(two.shape)}")
    both = gather_rows(full(torch.stack([one, two], dim=1)))  # (B over all ranks, 2, D)
    return both[:, 0], both[:, 1]


def _standard(x: Tensor) -> Tensor:
    """Standardise columns by the biased variance."""
    mean, variance = x.mean(0), x.var(0, correction=0)
    return (x - mean) * (variance + _EPSILON).rsqrt()


def _shortfall(x: Tensor) -> Tensor:
    return F.relu(1 - (x.var(0) + 1e-4).sqrt()).mean()


def _covariance(x: Tensor) -> Tensor:
    """Return the sum of the squared covariances of different columns, over D."""
    x = x - x.mean(0)
    with no_autocast(x):
        covariance = x.T @ x / (len(x) - 1)  # (D, D)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / x.shape[1]
