"""Tokens and the head that guesses from them: logits a part at a time, where there are many.

Logits over a large vocabulary are the largest thing in a step: 8,192 tokens and 32,768 entries
are 1 GiB in fp32, and the cross-entropy holds that three times. Here no more than `MOST` logits
are there at once. A part's gradient is taken as soon as its loss is known, so nothing is computed
twice; what is kept are gradients of tokens and of the head's weights, which are needed anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unlabeled.nn.cross_entropy import cross_entropy

MOST = 1 << 24
"""Logits that are there at once: 64 MiB in fp32."""


Cost = Callable[[Tensor, slice], Tensor]
"""What logits (S, K) of a part of the tokens cost in all, (): given the logits and which part."""


class Tied(NamedTuple):
    """A last layer that is a table of tokens held elsewhere.

    Args:
        table: (K, D).
        bias: (K,).
    """

    table: Tensor
    bias: Tensor

    def __call__(self, tokens: Tensor) -> Tensor:
        """Return logits, (S, D) -> (S, K)."""
        return F.linear(tokens, self.table, self.bias)


class Guess(NamedTuple):
    """What is guessed, before it is logits.

    Args:
        head: (S, D) tokens to (S, K) logits, each row by itself.
        tokens: (S, D).
    """

    head: nn.Module | Tied
    tokens: Tensor

    def parts(self) -> list[slice]:
        """Return parts of the tokens with no more than `MOST` logits each; at least one part."""
        count = len(self.tokens)
        with torch.no_grad():
            classes = self.head(self.tokens[:1].detach()).shape[-1] if count else 1
        rows = max(1, MOST // int(classes))
        return [slice(start, min(start + rows, count)) for start in range(0, max(count, 1), rows)]

    def logits(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield the logits of each part, and which part it is."""
        for part in self.parts():
            yield part, self.head(self.tokens[part])

    def weights(self) -> list[Tensor]:
        """Return what of the head is trained."""
        held = self.head if isinstance(self.head, Tied) else self.head.parameters()
        return [weight for weight in held if weight.requires_grad]


def summed(guess: Guess, targets: Tensor) -> Tensor:
    """Return the sum of the cross-entropies in nats; targets (S,) below 0 cost nothing."""
    return cost_of(guess, lambda logits, part: cross_entropy(logits, targets[part], "sum"))


def cost_of(guess: Guess, cost: Cost) -> Tensor:
    """Return the sum of what all parts cost. `cost` is asked once for each part, in order."""
    parts = guess.parts()
    if len(parts) == 1:
        return cost(guess.head(guess.tokens), parts[0])
    found: Tensor = _Parts.apply(guess, cost, parts, guess.tokens, *guess.weights())
    return found


class _Parts(torch.autograd.Function):
    """The sum over parts; gradients are made on the way and scaled when they are asked for."""

    @staticmethod
    def forward(
        ctx: Any, guess: Guess, cost: Cost, parts: list[slice], tokens: Tensor, *weights: Tensor
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=tokens.device)
        needed = any(ctx.needs_input_grad)
        kept = [torch.zeros_like(t) for t in (tokens, *weights)] if needed else []
        for part in parts:
            with torch.set_grad_enabled(needed):
                own = tokens[part].detach().requires_grad_(needed)
                nats = cost(guess.head(own), part)
            total += nats.detach()
            if needed:
                first, *others = torch.autograd.grad(nats, [own, *guess.weights()])
                kept[0][part] = first
                torch._foreach_add_(kept[1:], others)
        ctx.save_for_backward(*kept)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *(grad * outer.to(grad.dtype) for grad in ctx.saved_tensors)
