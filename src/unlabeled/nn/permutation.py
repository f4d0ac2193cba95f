"""Which tokens are guessed in which order, and what each place may see (XLNet)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlabeled import rng
from unlabeled.rng import uniform


def spans(
    free: NDArray[np.bool_], one_in: int, longest: int, draws: np.random.Generator
) -> NDArray[np.bool_]:
    """Choose spans as XLNet does: one of L tokens in each stretch of L one_in tokens.

    L is drawn from 1 ... `longest`, and the span lies anywhere in its stretch (Yang et al. 2019,
    arXiv:1906.08237, section 2.7 and the authors' code).

    Args:
        free: (T,) tokens that may be guessed.
        one_in: of so many tokens one is guessed on average; K in the paper.
        longest: tokens in a span at most.
        draws: what the choice comes from.

    Returns:
        (T,), at least one where one is free.
    """
    chosen = np.zeros(len(free), bool)
    at = 0
    while at < len(free):
        length = int(draws.integers(1, longest + 1))
        stretch = length * one_in
        begin = at + int(draws.integers(0, stretch - length + 1))
        chosen[begin : begin + length] = True
        at += stretch
    chosen &= free
    if not chosen.any() and free.any():
        chosen[draws.choice(np.flatnonzero(free))] = True
    return chosen


def choose(free: Tensor, keys: Tensor, one_in: int, longest: int) -> Tensor:
    """Choose spans in each row, (B, T) bool -> (B, T) bool; see `spans`."""
    rows = [
        spans(row, one_in, longest, rng.generator(rng.mix(key, 7)))
        for row, key in zip(free.cpu().numpy(), keys.tolist(), strict=True)
    ]
    return torch.from_numpy(np.stack(rows)).to(free.device)


def unseen(chosen: Tensor, keys: Tensor) -> Tensor:
    """Draw an order of the chosen tokens and return what each place must not see.

    What is not chosen stands first in the order: all see it, and it sees no chosen token. A
    chosen token sees those that are drawn before it, and not itself.

    Args:
        chosen: (B, T) bool.
        keys: (B,).

    Returns:
        (B, T, T) bool: a place (middle) must not see a token (last).

    >>> unseen(torch.tensor([[False, True]]), torch.tensor([3])).int().tolist()
    [[[0, 1], [0, 1]]]
    """
    order = uniform(keys, chosen.shape[1], salt=7).masked_fill(~chosen, -1.0)
    return chosen[:, None, :] & (order[:, :, None] <= order[:, None, :])


def listed(chosen: Tensor) -> Tensor:
    """Return the chosen places of each row, (B, S), -1 where a row has fewer.

    >>> listed(torch.tensor([[True, False, True], [False, True, False]])).tolist()
    [[0, 2], [1, -1]]
    """
    count = chosen.sum(1, keepdim=True)  # (B, 1)
    most = max(int(count.max()), 1)
    places = chosen.long().argsort(dim=1, descending=True, stable=True)[:, :most]
    return places.masked_fill(torch.arange(most, device=chosen.device) >= count, -1)
