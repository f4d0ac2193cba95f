"""Randomness as a function of position, so that no generator state is ever saved.

The order of an epoch is a function of (seed, epoch); what is drawn for a sample is a function
of its key, which is a function of (seed, epoch, index). Batch size, number of workers, number
of ranks and the point of a resume therefore change nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def mix(*words: int) -> int:
    """Hash integers to one of 64 bits (SplitMix64 finaliser, chained).

    >>> mix(0, 1) != mix(1, 0)
    True
    """
    state = 0
    for word in words:
        state = (state + (word & _MASK) + _GOLDEN) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def sample_key(seed: int, epoch: int, index: int) -> int:
    """Return the key of a sample in an epoch, a non-negative int64."""
    return mix(seed, epoch, index) >> 1


def moment(progress: float) -> int:
    """Return the key of a point of a run, for what all samples and ranks must share in a step."""
    return mix(int(progress * (1 << 53))) >> 1


def generator(key: int) -> np.random.Generator:
    """Return a numpy generator that depends on `key` alone."""
    return np.random.Generator(np.random.Philox(key=key))


def order(seed: int, epoch: int, num_samples: int) -> NDArray[np.int64]:
    """Return the order of an epoch, a permutation of ``range(num_samples)``."""
    return generator(mix(seed, epoch, -1)).permutation(num_samples)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Shift int64 right logically (torch shifts arithmetically)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(word: int) -> int:
    """Return a 64-bit word as the int64 of the same bits."""
    return word - (1 << 64) if word >= (1 << 63) else word


def uniform(keys: Tensor, count: int, salt: int = 0) -> Tensor:
    """Draw `count` numbers for each key by hashing (key, salt, position).

    Args:
        keys: (B,) int64.
        count: how many a key, >= 0.
        salt: any integer; different salts give independent draws.

    Returns:
        (B, count) float32 in [0, 1), 24 random bits each, on the device of `keys`.

    >>> a = uniform(torch.tensor([5, 6]), 4)
    >>> torch.equal(a[1], uniform(torch.tensor([6]), 4)[0])
    True
    """
    position = torch.arange(count, device=keys.device, dtype=torch.int64)
    state = keys[:, None] + (position + 1)[None] * _signed(_GOLDEN) + _signed(mix(salt))
    state = (state ^ _shift_right(state, 30)) * _signed(0xBF58476D1CE4E5B9)
    state = (state ^ _shift_right(state, 27)) * _signed(0x94D049BB133111EB)
    state = state ^ _shift_right(state, 31)
    return _shift_right(state, 40).to(torch.float32) / (1 << 24)
