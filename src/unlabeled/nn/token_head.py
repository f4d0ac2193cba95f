"""The library's own token head: from features of single tokens to logits over the vocabulary."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from unlabeled.nn.precision import full, no_autocast


class Scores(NamedTuple):
    """What each scored target cost.

    Args:
        nats: (S,) cross-entropy.
        targets: (S,) ids.
        right: (S,) whether the likeliest token was the target.
    """

    nats: Tensor
    targets: Tensor
    right: Tensor


HEADS = {
    "bert": ("cls",),
    "modernbert": ("head", "decoder"),
    "gpt2": ("lm_head",),
    "llama": ("lm_head",),
}
"""The modules, in order, that turn tokens into logits in the library's model with a head."""


class TokenHead(nn.Module):
    """Turns tokens into logits; the last matrix is the embedding of the tokens.

    Args:
        model: a transformers model with a language head, its weights tied.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.names = HEADS[str(model.config.model_type)]  # type: ignore[union-attr]
        self.parts = nn.ModuleDict({name: getattr(model, name) for name in self.names})

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, (S, D) -> (S, K)."""
        for name in self.names:
            tokens = self.parts[name](tokens)
        return tokens


def cross_entropy(logits: Tensor, targets: Tensor, reduction: str) -> Tensor:
    """Return the cross-entropy in nats, computed in fp32; targets below 0 cost nothing.

    Args:
        logits: (S, K), any precision.
        targets: (S,) int64; -1 where nothing is to be predicted.
        reduction: ``sum`` or ``none``.
    """
    with no_autocast(logits):
        return F.cross_entropy(full(logits), targets, ignore_index=-1, reduction=reduction)
