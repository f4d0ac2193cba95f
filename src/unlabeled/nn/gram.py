"""Gram anchoring: patches keep the likeness to one another that an earlier teacher saw."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlabeled.nn.ema import frozen_copy
from unlabeled.nn.precision import full, no_autocast


def gram_distance(patches: Tensor, anchor: Tensor) -> Tensor:
    """Return the mean squared difference of two tables of cosines between an image's patches.

    Siméoni et al., 2025 (arXiv:2508.10104), section 4.2: features may move as long as what is
    alike stays alike.

    Args:
        patches: (B, N, D) of the student, any scale.
        anchor: (B, N, E) of the earlier teacher, without gradient.

    Returns:
        Scalar in [0, 4]; 0 if one is the other turned.

    >>> x = torch.eye(3)[None]
    >>> gram_distance(x, x.flip(-1)).item(), round(gram_distance(x, torch.ones(1, 3, 2)).item(), 4)
    (0.0, 0.6667)
    """
    with no_autocast(patches):
        one, two = (F.normalize(full(x), dim=-1) for x in (patches, anchor))
        return (torch.bmm(one, one.mT) - torch.bmm(two, two.mT)).square().mean()


class Anchor(nn.Module):
    """An earlier teacher, taken once, whose patches later ones are held to.

    Args:
        encoder: gives the structure.
        since: progress in [0, 1] from which the teacher is taken.
    """

    def __init__(self, encoder: nn.Module, since: float) -> None:
        super().__init__()
        self.encoder: Any = frozen_copy(encoder)
        self.since = since
        self.taken: Tensor
        self.register_buffer("taken", torch.zeros((), dtype=torch.bool))

    def forward(self, images: Tensor, patches: Tensor) -> Tensor:
        """Return the distance of the student's patches (B, N, D) from ours."""
        with torch.no_grad():
            _, ours = self.encoder.feature_and_patches(images)
        return gram_distance(patches, ours)

    @torch.no_grad()
    def take(self, teacher: nn.Module, progress: float) -> None:
        """Take the teacher when its time has come, and never again."""
        if progress >= self.since and not self.taken:
            self.encoder.load_state_dict(teacher.state_dict())
            self.taken.fill_(True)
