"""Clips as rows of tubelets (small boxes of space and time), and which of them are hidden."""

from __future__ import annotations

import torch
from torch import Tensor

from unlabeled.nn.masks import random_masks
from unlabeled.nn.precision import full


def tubes(clips: Tensor, length: int, patch: int) -> Tensor:
    """Cut clips into boxes: time first, then rows, then columns.

    Args:
        clips: (B, T, C, H, W), T a multiple of `length`, H and W of `patch`.
        length: frames of a box.
        patch: edge of a box in pixels.

    Returns:
        (B, N, Q, C): Q = length * patch * patch places of a box as (frame, row, column).
    """
    B, T, C, H, W = clips.shape  # noqa: N806
    x = clips.reshape(B, T // length, length, C, H // patch, patch, W // patch, patch)
    return x.permute(0, 1, 4, 6, 2, 5, 7, 3).reshape(B, -1, length * patch * patch, C)


def untubes(boxes: Tensor, length: int, patch: int, side: int) -> Tensor:
    """Put boxes back in place: the inverse of `tubes` for square frames.

    Args:
        boxes: (B, N, Q, C).
        length: frames of a box.
        patch: edge of a box in pixels.
        side: boxes along an edge of a frame.

    Returns:
        (B, T, C, H, H).
    """
    B, N, _, C = boxes.shape  # noqa: N806
    slots = N // side**2
    x = boxes.reshape(B, slots, side, side, length, patch, patch, C)
    x = x.permute(0, 1, 4, 7, 2, 5, 3, 6)
    return x.reshape(B, slots * length, C, side * patch, side * patch)


def standardise_tubes(boxes: Tensor, eps: float = 1e-6) -> tuple[Tensor, Tensor, Tensor]:
    """Give each channel of each box mean 0 and deviation 1.

    Tong et al., 2022 (arXiv:2203.12602), as in the authors' code: channels apart, the unbiased
    variance, and `eps` added to the deviation.

    Args:
        boxes: (B, N, Q, C), Q > 1.
        eps: added to the deviation.

    Returns:
        The boxes in fp32, and the mean and deviation (B, N, 1, C) that undo it.
    """
    boxes = full(boxes)
    mean = boxes.mean(2, keepdim=True)
    deviation = boxes.var(2, keepdim=True).sqrt() + eps
    return (boxes - mean) / deviation, mean, deviation


def tube_masks(keys: Tensor, slots: int, cells: int, ratio: float) -> tuple[Tensor, Tensor]:
    """Hide a share of each clip's places, at all times: what is hidden never shows up.

    Section 3.3 of Tong et al., 2022 (arXiv:2203.12602).

    Args:
        keys: (B,) int64.
        slots: boxes along time.
        cells: boxes of a frame.
        ratio: share of the cells that is hidden; at least one is visible and one hidden.

    Returns:
        Positions of the visible boxes (B, slots * V) and of the hidden ones (B, slots * M), int64.

    >>> visible, hidden = tube_masks(torch.arange(1), slots=2, cells=4, ratio=0.75)
    >>> visible.tolist()[0][1] - visible.tolist()[0][0], hidden.shape
    (4, torch.Size([1, 6]))
    """
    visible, hidden = random_masks(keys, cells, ratio)
    return over_time(visible, slots, cells), over_time(hidden, slots, cells)


def over_time(places: Tensor, slots: int, cells: int) -> Tensor:
    """Repeat places of a frame at all times, (B, M) -> (B, slots * M)."""
    times = torch.arange(slots, device=places.device) * cells
    return (places[:, None] + times[:, None]).flatten(1)
