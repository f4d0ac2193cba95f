"""The cross-entropy of many classes, a few rows at a time, with its gradient made on the way.

Written out at once, logits over a vocabulary pass through memory in fp32 four times: converted,
as log-probabilities, as their gradient, and rounded back. Here a few rows do all of it in the
cache, and only the rounded gradient is kept, in the place that the rounded logits would take.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from unlabeled.nn.precision import full, no_autocast

_CACHED = 1 << 19
"""Numbers that are worked on at once: 2 MiB in fp32."""


def cross_entropy(logits: Tensor, targets: Tensor, reduction: str) -> Tensor:
    """Return the cross-entropy in nats, computed in fp32; targets below 0 cost nothing.

    Args:
        logits: (S, K), any precision.
        targets: (S,) int64; -1 where nothing is to be predicted.
        reduction: ``sum`` or ``none``.
    """
    with no_autocast(logits):
        if reduction == "sum" and logits.dtype == torch.bfloat16 and logits.requires_grad:
            return cast("Tensor", _Sum.apply(logits, targets))
        return F.cross_entropy(full(logits), targets, ignore_index=-1, reduction=reduction)


class _Sum(torch.autograd.Function):
    """The sum over rows; the gradient of a row is its probabilities less the target's 1."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        grad = torch.empty_like(logits)
        total = torch.zeros((), dtype=torch.float32, device=logits.device)
        rows = max(1, _CACHED // logits.shape[1])
        for start in range(0, len(logits), rows):
            part = slice(start, start + rows)
            total += _rows(logits[part], targets[part, None], grad[part])
        ctx.save_for_backward(grad)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None]:
        (grad,) = ctx.saved_tensors
        return grad * outer.to(grad.dtype), None


def _rows(logits: Tensor, targets: Tensor, grad: Tensor) -> Tensor:
    """Return the sum of (S, K) logits' cross-entropies with (S, 1) targets; fills `grad`."""
    real = (targets >= 0).to(torch.float32)
    own = targets.clamp_min(0)
    found = torch.log_softmax(logits, 1, dtype=torch.float32)
    total = -(found.gather(1, own) * real).sum()
    found.exp_().scatter_add_(1, own, -torch.ones_like(real))
    grad.copy_(found.mul_(real))
    return total
