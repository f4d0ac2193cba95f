"""Tokens and the head that guesses from them: logits a part at a time, where there are many.

Logits over a large vocabulary are the largest thing in a step: 8,192 tokens and 32,768 entries
are 1 GiB in fp32, and the cross-entropy holds that three times. Here no more than `MOST` logits
are there at once. A part's gradient is taken as soon as its loss is known, so nothing is computed
twice; what is kept are gradients of tokens and of the head's weights, which are needed anyway.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unlabeled.nn.cross_entropy import cross_entropy

MOST = 1 << 24
"""Logits that are there at once: 64 MiB in fp32."""


class Guess(NamedTuple):
    """What is guessed, before it is logits.

    Args:
        head: (S, D) tokens to (S, K) logits, each row by itself.
        tokens: (S, D).
    """

    head: nn.Module
    tokens: Tensor

    def rows(self) -> int:
        """Return how many tokens have no more than `MOST` logits together."""
        with torch.no_grad():
            classes = self.head(self.tokens[:1].detach()).shape[-1] if len(self.tokens) else 1
        return max(1, MOST // int(classes))


def summed(guess: Guess, targets: Tensor) -> Tensor:
    """Return the sum of the cross-entropies in nats; targets (S,) below 0 cost nothing."""
    rows = guess.rows()
    if len(targets) <= rows:
        return cross_entropy(guess.head(guess.tokens), targets, "sum")
    weights = [p for p in guess.head.parameters() if p.requires_grad]
    found: Tensor = _Parts.apply(guess.head, targets, rows, guess.tokens, *weights)
    return found


class _Parts(torch.autograd.Function):
    """The sum over parts; gradients are made on the way and scaled when they are asked for."""

    @staticmethod
    def forward(
        ctx: Any, head: nn.Module, targets: Tensor, rows: int, tokens: Tensor, *weights: Tensor
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=tokens.device)
        needed = any(ctx.needs_input_grad)
        kept = [torch.zeros_like(t) for t in (tokens, *weights)] if needed else []
        for start in range(0, len(targets), rows):
            part = slice(start, start + rows)
            with torch.set_grad_enabled(needed):
                own = tokens[part].detach().requires_grad_(needed)
                nats = cross_entropy(head(own), targets[part], "sum")
            total += nats.detach()
            if needed:
                first, *others = torch.autograd.grad(nats, [own, *weights])
                kept[0][part] = first
                torch._foreach_add_(kept[1:], others)
        ctx.save_for_backward(*kept)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *(grad * outer.to(grad.dtype) for grad in ctx.saved_tensors)
