"""Sinkhorn-Knopp: targets that share the prototypes out evenly, instead of a centre."""

from __future__ import annotations

import torch
from torch import Tensor

from unlabeled.nn.gather import gather_rows, sum_over_ranks
from unlabeled.nn.precision import full, no_autocast

_TINY = 1e-37
"""Keeps a prototype that no sample is near, to the last bit, from being divided by zero."""


@torch.no_grad()
def sinkhorn(scores: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Assign samples to prototypes so that all prototypes are used about alike.

    Algorithm 1 of Cuturi, 2013 (arXiv:1306.0895), as SwAV (arXiv:2006.09882, section 3.1) and
    DINOv2 (arXiv:2304.07193, section 4) use it: ``exp(scores / temperature)`` is divided by its
    sums over samples, then by its sums over prototypes, `iterations` times. It is done on two
    vectors of factors, with each sample's largest score as its unit, so that scores of any size
    neither overflow nor make a sample vanish. After three iterations the prototypes' shares are
    near alike, not equal.

    Sums over samples are taken over all ranks; ranks may hold different numbers of samples, and
    none.

    Args:
        scores: (B, K) of this rank's samples, any scale.
        temperature: > 0; 0.05 in SwAV, the teacher's in DINOv2.
        iterations: >= 1.

    Returns:
        (B, K) in fp32 or wider, without gradient; rows sum to 1.

    Raises:
        ValueError: `temperature` or `iterations` is not positive.

    >>> sinkhorn(torch.tensor([[9.0, 8.0], [9.0, 8.0]]), temperature=1.0)
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """
    if temperature <= 0 or iterations < 1:
        raise ValueError(f"temperature={temperature} must be > 0, iterations={iterations} >= 1")
    with no_autocast(scores):
        scores = full(scores).detach() / temperature
        largest = scores.amax(1)  # (B,)
        kernel = (scores - largest[:, None]).exp()  # (B, K), each row's largest is 1
        samples = (largest - _over_ranks(largest)).exp()  # factors, (B,)
        prototypes = kernel.new_ones(kernel.shape[1])
        for _ in range(iterations):
            prototypes = 1 / sum_over_ranks(samples @ kernel).clamp_min(_TINY)  # (K,)
            # Their common scale is free; the least becomes 1, so that no sample's sum vanishes.
            prototypes = (prototypes / prototypes.amin()).clamp_max(1 / _TINY)
            samples = 1 / (kernel @ prototypes)  # (B,)
        return samples[:, None] * kernel * prototypes


def _over_ranks(largest: Tensor) -> Tensor:
    """Return the largest score of all ranks; a rank may hold no sample."""
    lowest = largest.new_full((1,), torch.finfo(largest.dtype).min)
    return gather_rows(torch.cat([largest, lowest]).amax()[None]).amax()
