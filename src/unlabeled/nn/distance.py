"""How far features are apart and how large they are, as R3M and VIP measure it.

Nair et al., 2022 (arXiv:2203.12601), and Ma et al., 2023 (arXiv:2210.00030).
"""

from __future__ import annotations

from torch import Tensor


def distances(one: Tensor, two: Tensor) -> Tensor:
    """Return Euclidean distances along the last axis, at least 1e-6; the gradient at 0 is 0.

    Args:
        one: (..., D).
        two: (..., D), of a shape that fits.
    """
    return (one - two).square().sum(-1).clamp_min(1e-12).sqrt()


def size(features: Tensor, small: float, sparse: float) -> Tensor:
    """Return what keeps features small and sparse, a scalar.

    Args:
        features: (..., D).
        small: weight of their mean length (L2).
        sparse: weight of their mean sum of values without sign (L1).
    """
    length: Tensor = features.norm(dim=-1).mean()
    return small * length + sparse * features.abs().sum(-1).mean()
