"""KoLeo: features keep a distance from their nearest neighbour."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unlabeled.device import rank
from unlabeled.nn.gather import gather_rows
from unlabeled.nn.precision import full, no_autocast


def koleo(features: Tensor, eps: float = 1e-8) -> Tensor:
    """Kozachenko and Leonenko's estimate of entropy, negated, for unit features.

    Sablayrolles et al., 2019 (arXiv:1806.03198), as DINOv2 (arXiv:2304.07193, section 4) uses
    it: the mean over samples of ``-log`` of the distance to the nearest other one. Samples of
    all ranks count as neighbours, with gradient to all of them (the authors look among the
    samples of one rank, so that their loss depends on the number of ranks).

    Args:
        features: (B, D) on this rank, any scale, the same B on every rank; more than one in all.
        eps: added to distances, so that equal samples cost 18 nats and not infinity.

    Returns:
        Scalar, in nats; the smaller, the more spread out.

    >>> round(koleo(torch.eye(4)).item(), 4)
    -0.3466
    """
    with no_autocast(features):
        unit = F.normalize(full(features), dim=-1, eps=eps)
        everyone = gather_rows(unit)  # (B over all ranks, D)
        own = torch.arange(len(unit), device=unit.device)
        with torch.no_grad():
            similarity = unit @ everyone.T
            similarity[own, own + rank() * len(unit)] = -2.0  # not oneself
            nearest = similarity.argmax(1)
        distance = F.pairwise_distance(unit, everyone[nearest], eps=eps)
        return -(distance + eps).log().mean()
