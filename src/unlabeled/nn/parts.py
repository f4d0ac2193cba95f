"""Means over equal parts of time: what came first stays apart from what came last.

The mean over a whole clip is the same for a word and for its sounds in another order. The mean
over each of a few equal parts of what is heard keeps the order and forgets the speed.
"""

from __future__ import annotations

import torch
from torch import Tensor


def shares(lengths: Tensor, size: int, count: int) -> Tensor:
    """Return which share of each part of a row each of its tokens makes up.

    A token that lies across an edge belongs to both parts by what lies in each, so a row of fewer
    tokens than parts has parts too.

    Args:
        lengths: (B,) tokens that hold anything, the first of a row; 0 counts as 1.
        size: N, tokens of a row.
        count: K, parts.

    Returns:
        (B, K, N) float32, rows of sum one.

    >>> shares(torch.tensor([3]), 4, 2)[0].tolist()[0][2:]
    [0.0, 0.0]
    """
    found = lengths.clamp(min=1).float()[:, None, None]  # (B, 1, 1)
    edges = torch.arange(count + 1, device=lengths.device).float() / count * found  # (B, 1, K + 1)
    first = edges[..., :-1].transpose(1, 2)  # (B, K, 1)
    last = edges[..., 1:].transpose(1, 2)
    place = torch.arange(size, device=lengths.device).float()
    inside = torch.minimum(last, place + 1) - torch.maximum(first, place)  # (B, K, N)
    return inside.clamp(min=0) * count / found


def means(tokens: Tensor, lengths: Tensor, count: int) -> Tensor:
    """Return the mean of each part, one after another, (B, N, D) -> (B, K D).

    Args:
        tokens: (B, N, D).
        lengths: (B,) how many of a row, from the first, hold anything.
        count: K, parts.
    """
    weights = shares(lengths, tokens.shape[1], count)
    return torch.bmm(weights, tokens.float()).flatten(1)
