"""TS2Vec's contrast of two crops of logs: between samples and between times, at every scale."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def hierarchical(one: Tensor, two: Tensor, alpha: float = 0.5) -> Tensor:
    """Contrast two views at all times, then at times pooled by two, until one is left.

    Yue et al., 2022 (arXiv:2106.10466), Equations 1 to 3 and Algorithm 1; similarity is the plain
    product, without a temperature.

    Args:
        one: (B, T, D), the overlap as the first crop tells it.
        two: (B, T, D), the same times as the second crop tells them.
        alpha: weight of the contrast between samples, in [0, 1]; the rest is between times.

    Returns:
        The mean over the scales, a scalar; 0 for one sample at one time.
    """
    total, scales = one.new_zeros(()), 0
    while True:
        pair = torch.stack([one, two])  # (2, B, T, D)
        total = total + alpha * contrast(pair.transpose(1, 2))
        if one.shape[1] == 1:
            return total / (scales + 1)
        total = total + (1 - alpha) * contrast(pair)
        scales += 1
        one, two = (F.max_pool1d(x.transpose(1, 2), 2).transpose(1, 2) for x in (one, two))


def contrast(pair: Tensor) -> Tensor:
    """Find each row's other view among all rows of its group, of both views.

    Args:
        pair: (2, G, M, D): two views of M rows in each of G groups.

    Returns:
        The mean cross-entropy in nats; 0 where a group has one row.
    """
    _, groups, count, _ = pair.shape
    if count == 1:
        return pair.new_zeros(())
    rows = pair.transpose(0, 1).flatten(1, 2)  # (G, 2 M, D)
    logits = rows @ rows.mT
    own = torch.eye(2 * count, dtype=torch.bool, device=pair.device)
    logits = logits.masked_fill(own, float("-inf"))
    other = torch.arange(2 * count, device=pair.device).roll(count)
    return F.cross_entropy(logits.flatten(0, 1), other.repeat(groups))
