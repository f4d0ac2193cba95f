"""Which tokens of a row are hidden: exactly a share, and at least one."""

from __future__ import annotations

import torch
from torch import Tensor


def _budget(free: Tensor, ratio: float) -> Tensor:
    """Return how many tokens of each row are chosen, (B, 1)."""
    count = free.sum(1, keepdim=True)
    return (count * ratio).round().clamp(min=1).minimum(count)


def choose_tokens(noise: Tensor, free: Tensor, ratio: float) -> Tensor:
    """Choose the share of free tokens whose noise is least.

    Args:
        noise: (B, T) in [0, 1).
        free: (B, T) bool, tokens that may be chosen.
        ratio: share of the free tokens, rounded to a whole number, at least 1.

    Returns:
        (B, T) bool.

    >>> noise, free = torch.tensor([[0.5, 0.1, 0.2]]), torch.tensor([[True, False, True]])
    >>> choose_tokens(noise, free, 0.15).tolist()
    [[False, False, True]]
    """
    ranked = noise.masked_fill(~free, 2.0).sort(dim=1, stable=True)
    index = torch.arange(noise.shape[1], device=noise.device)
    chosen = torch.zeros_like(free).scatter_(1, ranked.indices, index < _budget(free, ratio))
    return chosen & free


def choose_words(
    noise: Tensor, free: Tensor, begins: Tensor, documents: Tensor, ratio: float
) -> Tensor:
    """Choose whole words until the share of tokens is used up.

    Words that would overdraw it are left out, except the first, so that no row is without a
    target (`create_masked_lm_predictions` of BERT counts tokens against the budget likewise).

    Args:
        noise: (B, T) in [0, 1); a word has the noise of its first token.
        free: (B, T) bool, tokens that may be chosen.
        begins: (B, T) bool, tokens that begin a word.
        documents: (B, T) document numbers; a word ends with its document.
        ratio: share of the free tokens.

    Returns:
        (B, T) bool.
    """
    length = noise.shape[1]
    index = torch.arange(length, device=noise.device)
    begins = begins | ~free
    begins[:, 0] = True
    begins[:, 1:] |= documents[:, 1:] != documents[:, :-1]
    first = torch.where(begins, index, 0).cummax(1).values  # (B, T) first token of the word
    order = noise.masked_fill(~free, 2.0).gather(1, first).sort(dim=1, stable=True).indices
    rank = torch.empty_like(order).scatter_(1, order, index.expand_as(order).contiguous())
    last = torch.zeros_like(rank).scatter_reduce_(1, first, rank, "amax").gather(1, first)
    least = torch.zeros_like(rank).scatter_reduce_(1, first, rank, "amin", include_self=False)
    fits = last < _budget(free, ratio)
    return (fits | (least.gather(1, first) == 0)) & free
