"""Muon, with all matrices of one shape orthogonalised in one batch of products."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalise(x: Tensor, steps: int = 5) -> Tensor:
    """Bring the singular values of matrices near 1 by Newton-Schulz iterations in bf16.

    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.

    Args:
        x: (M, R, C).
        steps: iterations.

    Returns:
        (M, R, C) bf16, singular values between about 0.7 and 1.2 where they were not tiny.
    """
    x = x.bfloat16()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        update = torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C)
        x = torch.baddbmm(x, update, x, beta=_A)
    return x.mT if tall else x


class Muon(Optimizer):
    """Momentum, orthogonalised: every direction of a matrix moves equally far.

    The same updates as `torch.optim.Muon` with its defaults, which works matrix by matrix; small
    models have many small matrices of few shapes, so batches of them cost a fraction.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        """See the class; parameters are matrices."""
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move each matrix that has a gradient."""
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(tuple(p.shape), []).append(p)
            for matrices in shapes.values():
                self._move(matrices, group)

    def _move(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        grads = [p.grad for p in matrices if p.grad is not None]
        buffers = [self._buffer(p) for p in matrices]
        momentum, rate = group["momentum"], group["lr"]
        torch._foreach_lerp_(buffers, grads, 1 - momentum)
        ahead = torch._foreach_lerp(grads, buffers, momentum)  # Nesterov
        update = orthogonalise(torch.stack(list(ahead)))
        rows, columns = matrices[0].shape
        torch._foreach_mul_(matrices, 1 - rate * group["weight_decay"])
        scale = -rate * math.sqrt(max(1.0, rows / columns))
        torch._foreach_add_(matrices, list(update.to(matrices[0].dtype).unbind()), alpha=scale)

    def _buffer(self, p: Tensor) -> Tensor:
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        found: Tensor = state["momentum_buffer"]
        return found
