"""Which tokens are hidden, drawn from each sample's own key."""

from __future__ import annotations

from torch import Tensor

from unlabeled.rng import uniform


def shuffle_mask(noise: Tensor, num_visible: int) -> tuple[Tensor, Tensor]:
    """Shuffle each row's tokens by its noise; the first ones stay visible.

    Section 3 of He et al., 2021 (arXiv:2111.06377): exactly `num_visible` tokens of every
    sample, uniformly and without replacement.

    Args:
        noise: (B, N), the token with the least stays first.
        num_visible: how many tokens of each sample stay, in [1, N - 1].

    Returns:
        Positions of the visible tokens (B, num_visible) and of the hidden ones
        (B, N - num_visible), int64, each in shuffled order.

    >>> import torch
    >>> visible, hidden = shuffle_mask(torch.tensor([[0.3, 0.1, 0.2]]), num_visible=1)
    >>> visible.tolist(), hidden.tolist()
    ([[1]], [[2, 0]])
    """
    order = noise.argsort(dim=1, stable=True)
    return order[:, :num_visible], order[:, num_visible:]


def random_masks(keys: Tensor, num_tokens: int, ratio: float) -> tuple[Tensor, Tensor]:
    """Hide a share of each sample's tokens, as its key says.

    Args:
        keys: (B,) int64.
        num_tokens: N.
        ratio: share that is hidden, in (0, 1); at least one token is visible and one hidden.

    Returns:
        As `shuffle_mask`.
    """
    num_visible = min(max(int(num_tokens * (1 - ratio)), 1), num_tokens - 1)
    return shuffle_mask(uniform(keys, num_tokens, salt=_SALT), num_visible)


def take(tokens: Tensor, positions: Tensor) -> Tensor:
    """Pick tokens by position, (B, N, D) and (B, M) -> (B, M, D)."""
    return tokens.gather(1, positions[..., None].expand(-1, -1, tokens.shape[-1]))


_SALT = 0x4D41_534B
"""Keeps masks independent of whatever else is drawn from the same keys."""
