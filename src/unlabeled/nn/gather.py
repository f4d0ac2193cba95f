"""What ranks tell one another, with gradients that equal those of one process.

DistributedDataParallel averages gradients over ranks. With a loss that is the mean over a rank's
own samples, and with the backward passes below, that average is the gradient of the mean over
all samples, as if one process had held the whole batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from unlabeled.device import rank, world


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(world())]
        dist.all_gather(parts, rows.contiguous())
        ctx.size = len(rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        # Every rank's loss depends on our rows, so our gradient is the sum over all of them.
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        start = rank() * ctx.size
        return total[start : start + ctx.size]


def gather_rows(rows: Tensor) -> Tensor:
    """Concatenate the rows of all ranks, in rank order, keeping the gradient.

    Args:
        rows: (B, ...), the same B on every rank.

    Returns:
        (world * B, ...); `rows` itself without a process group. Gradients that other ranks'
        losses send to these rows arrive here.
    """
    if world() == 1:
        return rows
    gathered: Tensor = _GatherRows.apply(rows)
    return gathered


def sum_over_ranks(x: Tensor) -> Tensor:
    """Return the sum of `x` over all ranks, without gradient; `x` itself on one rank."""
    if world() == 1:
        return x
    total = x.detach().clone()
    dist.all_reduce(total)
    return total
