"""Classes of places: what part of a patch is of which, a linear probe of patches, and the score."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from unlabeled.transfer.probe import DEFAULT_PENALTY, Scaler, solve

IGNORED = 255
"""Value of a mask that says nothing."""


def shares(masks: Tensor, side: int, num_classes: int) -> Tensor:
    """Return how much of each patch is of each class, (N, E, E) -> (N, side, side, K).

    Where nothing is said of a patch all its shares are 0.
    """
    known = F.one_hot(masks.clamp(max=num_classes), num_classes + 1)[..., :num_classes]
    return F.adaptive_avg_pool2d(known.permute(0, 3, 1, 2).float(), side).permute(0, 2, 3, 1)


def linear(
    maps: Tensor, masks: Tensor, num_classes: int
) -> tuple[Scaler, NDArray[np.float32], NDArray[np.float32]]:
    """Fit a linear classifier to the patches of annotated images.

    Args:
        maps: (A, H, W, D).
        masks: (A, E, E).
        num_classes: K.

    Returns:
        The scaling of patches, weights (D, K) and biases (K,).
    """
    part = shares(masks, maps.shape[1], num_classes).flatten(0, 2)  # (A H W, K)
    known = part.sum(1) > 0.5
    rows = maps.flatten(0, 2)[known].numpy()
    scaler = Scaler.fit(rows)
    weight, bias = solve(
        scaler(rows), part[known].argmax(1).numpy(), num_classes, np.array([DEFAULT_PENALTY])
    )
    return scaler, weight[0].astype(np.float32), bias[0].astype(np.float32)


def mean_iou(scores: Tensor, masks: Tensor) -> float:
    """Return the mean over classes of intersection over union, over all pixels that are known.

    Args:
        scores: (N, H, W, K), enlarged bilinearly to the masks.
        masks: (N, E, E).
    """
    num_classes = scores.shape[-1]
    large = F.interpolate(
        scores.permute(0, 3, 1, 2), masks.shape[1:], mode="bilinear", align_corners=False
    )
    guess, known = large.argmax(1), masks != IGNORED
    pairs = masks[known] * num_classes + guess[known]
    table = torch.bincount(pairs, minlength=num_classes**2).view(num_classes, -1).double()
    union = table.sum(0) + table.sum(1) - table.diagonal()
    return float((table.diagonal() / union)[union > 0].mean())
