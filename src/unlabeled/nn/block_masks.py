"""Hidden blocks of patches, drawn from each sample's own key."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unlabeled.device import rank
from unlabeled.nn.gather import gather_rows
from unlabeled.rng import uniform

_TRIES, _PATIENCE = 96, 10
_RATIO, _BLOCK = 0x5241_5449, 0x424C_4F43
"""Keep what is drawn here apart from whatever else is drawn from the same keys."""


def draw_ratios(draws: Tensor, share: float, low: float, high: float) -> Tensor:
    """Say how much of each sample is hidden: of a share of them between `low` and `high`.

    Args:
        draws: (B, 2) in [0, 1).
        share: probability that anything of a sample is hidden, in [0, 1].
        low: smallest share of patches.
        high: largest.

    Returns:
        (B,) float32; 0 where nothing is hidden.
    """
    return torch.where(draws[:, 0] < share, low + (high - low) * draws[:, 1], 0.0)


def spread_ratios(draws: Tensor, share: float, low: float, high: float) -> Tensor:
    """Lay ratios out over a batch: exactly a share of it, each in an interval of its own.

    DINOv2 (arXiv:2304.07193) parts [low, high] into as many equal intervals as samples are
    hidden, and draws one ratio in each. Which sample gets which interval is the order of their
    draws over all ranks.

    Args:
        draws: (B, 2) in [0, 1) on this rank, the same B on every rank.
        share: of the batch in which something is hidden, rounded down.
        low: smallest share of patches.
        high: largest.

    Returns:
        (B,) float32; 0 where nothing is hidden.
    """
    order = gather_rows(draws[:, 0].contiguous()).argsort(stable=True).argsort(stable=True)
    place = order[rank() * len(draws) :][: len(draws)]
    hidden = int(len(order) * share)
    ratio = low + (high - low) * (place + draws[:, 1]) / max(hidden, 1)
    return torch.where(place < hidden, ratio, 0.0)


def crop_masks(
    keys: Tensor, side: int, share: float, ratios: tuple[float, float], spread: bool = False
) -> Tensor:
    """Hide blocks of patches in a share of the two large crops of each sample.

    Args:
        keys: (B,) int64, the same B on every rank.
        side: patches along an edge; N = side * side.
        share: of the crops in which something is hidden, in [0, 1].
        ratios: least and largest share of patches hidden there.
        spread: lay the ratios out over the batch, see `spread_ratios`; otherwise each crop
            draws by itself, so that its mask does not depend on its company.

    Returns:
        (2B, N) bool, the first crops first.
    """
    draws = torch.cat([uniform(keys, 2, crop ^ _RATIO) for crop in (0, 1)])  # (2B, 2)
    drawn = (spread_ratios if spread else draw_ratios)(draws, share, *ratios)
    wanted = (drawn * side**2).long().chunk(2)
    return torch.cat([block_masks(keys, wanted[crop], side, salt=crop) for crop in (0, 1)])


def block_masks(
    keys: Tensor,
    wanted: Tensor,
    side: int,
    smallest: int = 4,
    aspect: float = 0.3,
    salt: int = 0,
) -> Tensor:
    """Hide rectangles until as many patches are hidden as wanted, or no further one fits.

    Algorithm 1 of BEiT (Bao et al., 2021, arXiv:2106.08254), as iBOT and DINOv2 use it: a block
    has an area between `smallest` and what is still wanted and an aspect between `aspect` and
    its inverse (uniform logarithms), and is taken if it hides something new and not too much.
    After ten failures in a row a sample is left as it is. All samples are drawn at once.

    Args:
        keys: (B,) int64.
        wanted: (B,) how many patches to hide, 0 for none.
        side: patches along an edge; N = side * side.
        smallest: patches in the smallest block that is tried.
        aspect: least height over width, in (0, 1].
        salt: another one gives other draws, as for a second crop.

    Returns:
        (B, N) bool, True where hidden; at most `wanted` a sample.
    """
    draws = uniform(keys, 4 * _TRIES, salt ^ _BLOCK).view(len(keys), _TRIES, 4)
    mask = torch.zeros(len(keys), side, side, dtype=torch.bool, device=keys.device)
    room = wanted.to(keys.device).long()  # (B,) patches still wanted
    failures = torch.zeros_like(room)
    for area, shape, down, right in (column.unbind(1) for column in draws.unbind(1)):
        trying = (room > 0) & (failures < _PATIENCE)
        if not bool(trying.any()):
            break
        area = smallest + area * (room - smallest)
        shape = torch.exp(math.log(aspect) * (1 - 2 * shape))
        high, wide = (area * shape).sqrt().round(), (area / shape).sqrt().round()
        block = _spans(down, high, side)[:, :, None] & _spans(right, wide, side)[:, None]
        new = (block & ~mask).sum((1, 2))
        taken = trying & (high < side) & (wide < side) & (new > 0) & (new <= room)
        mask |= block & taken[:, None, None]
        room = room - new * taken
        failures = torch.where(taken, 0, failures + 1)
    return mask.flatten(1)


def _spans(draw: Tensor, length: Tensor, side: int) -> Tensor:
    """Return which of `side` cells lie in a span of `length` at a drawn place, (B, side)."""
    first = (draw * (side - length + 1)).floor()[:, None]
    cells = torch.arange(side, device=draw.device)
    return (cells >= first) & (cells < first + length[:, None])
