"""Which moments of a clip are looked at, drawn from each sample's own key."""

from __future__ import annotations

import torch
from torch import Tensor

from unlabeled.rng import uniform

_SALT = 0x4D4F_4D54
"""Keeps moments independent of whatever else is drawn from the same keys."""


def rising(keys: Tensor, length: int, count: int) -> Tensor:
    """Draw `count` different moments of each clip, in the order of time; all sets alike likely.

    Args:
        keys: (B,) int64.
        length: moments of a clip, at least `count`.
        count: how many are drawn.

    Returns:
        (B, count) int64 in [0, length), rising.
    """
    return uniform(keys, length, _SALT).argsort(1)[:, :count].sort(1).values


def between(keys: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Draw a moment of each clip, from `first` on and before `last`, (B,) int64."""
    share = uniform(keys, 1, _SALT + 1)[:, 0]
    return first + (share * (last - first)).long()


def at(frames: Tensor, places: Tensor) -> Tensor:
    """Pick moments, (B, T, ...) and (B, M) -> (B, M, ...)."""
    rows = torch.arange(len(frames), device=frames.device)[:, None]
    return frames[rows, places]
