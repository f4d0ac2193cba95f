"""A straight line between what was seen before and after: what a model of smooth logs must beat.

And gaps in what is shown of logs: what is missing is NaN there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unlabeled.nn.patches import Reconstruction


def interpolate(values: Tensor, seen: Tensor) -> Tensor:
    """Fill what was not seen; before the first and after the last value it stays that one.

    Args:
        values: (B, T, C).
        seen: (B, T, C) bool.

    Returns:
        (B, T, C); 0, the mean of a normalised channel, where nothing of a channel was seen.

    >>> x, seen = torch.tensor([1.0, 0, 0, 4, 0]), torch.tensor([1, 0, 0, 1, 0]).bool()
    >>> interpolate(x[None, :, None], seen[None, :, None]).flatten().tolist()
    [1.0, 2.0, 3.0, 4.0, 4.0]
    """
    size = values.shape[1]
    place = torch.arange(size, device=values.device)[None, :, None].expand_as(values)
    last = torch.where(seen, place, -1).cummax(1).values
    ahead = torch.where(seen, place, size).flip(1).cummin(1).values.flip(1)
    before = values.gather(1, torch.where(last < 0, ahead.clamp(max=size - 1), last))
    after = values.gather(1, torch.where(ahead >= size, last.clamp(min=0), ahead))
    known = (last >= 0) & (ahead < size)
    share = (place - last) / (ahead - last).clamp(min=1)
    filled = torch.where(known, before + share * (after - before), before)
    return torch.where(seen.any(1, keepdim=True), filled, 0.0)


def gaps(values: Tensor, flags: Tensor, seen: Tensor, guess: Tensor) -> Reconstruction:
    """Return logs (B, T, C) with NaN where nothing was measured, or where it was hidden."""
    nothing = torch.full_like(values, float("nan"))
    return Reconstruction(
        torch.where(flags > 0.5, values, nothing), torch.where(seen > 0.5, values, nothing), guess
    )
