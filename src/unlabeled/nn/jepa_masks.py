"""Target blocks and what is left around them, drawn from each sample's own key."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from unlabeled.rng import uniform

_TRIES = 20
_SIZE, _PLACE, _TUBES = 0x4A45_5053, 0x4A45_5050, 0x4A45_5054
"""Keep what is drawn here apart from whatever else is drawn from the same keys."""


class Blocks(NamedTuple):
    """What is guessed and what it is guessed from.

    Args:
        targets: (B, T, M) positions of T target blocks of the same size; they may overlap.
        context: (B, N) bool, patches that the student sees; none is a target.
    """

    targets: Tensor
    context: Tensor


def block_size(
    draw: float, side: int, scale: tuple[float, float], aspect: tuple[float, float]
) -> tuple[int, int]:
    """Return height and width of a block; one draw sets both area and aspect, as the authors do.

    Args:
        draw: in [0, 1).
        side: patches along an edge; a block is shorter than it.
        scale: least and largest share of the patches.
        aspect: least and largest height over width.
    """
    area = int(side**2 * (scale[0] + draw * (scale[1] - scale[0])))
    shape = aspect[0] + draw * (aspect[1] - aspect[0])
    sizes = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
    high, wide = (min(max(size, 1), side - 1) for size in sizes)
    return high, wide


def draw_blocks(
    keys: Tensor,
    moment: int,
    side: int,
    num_targets: int = 4,
    scale: tuple[float, float] = (0.15, 0.2),
    aspect: tuple[float, float] = (0.75, 1.5),
    context: tuple[float, float] = (0.85, 1.0),
) -> Blocks:
    """Draw target blocks and a context block without them.

    Section 3 of Assran et al., 2023 (arXiv:2301.08243). The sizes are the same for all samples
    of a step, on all ranks; the places are each sample's own. A context that keeps less than
    a twentieth of the patches is drawn again, up to 20 times; then the largest is taken, and if
    the targets cover all of it, they are not removed.

    Args:
        keys: (B,) int64.
        moment: key of the step, from which sizes are drawn.
        side: patches along an edge; N = side * side, side > 1.
        num_targets: T.
        scale: share of the patches in a target block.
        aspect: height over width of a target block.
        context: share of the patches in the context block, which is square.
    """
    sizes = uniform(torch.tensor([moment]), 2, _SIZE)[0].tolist()
    high, wide = block_size(sizes[0], side, scale, aspect)
    draws = uniform(keys, 2 * (num_targets + _TRIES), _PLACE).view(len(keys), -1, 2)
    corners = _corners(draws[:, :num_targets], side, high, wide)  # (B, T, 2)
    rows = corners[..., :1] + torch.arange(high, device=keys.device)  # (B, T, high)
    columns = corners[..., 1:] + torch.arange(wide, device=keys.device)
    targets = (rows[..., :, None] * side + columns[..., None, :]).flatten(2)  # (B, T, M)
    hit = torch.zeros(len(keys), side**2, dtype=torch.bool, device=keys.device)
    hit.scatter_(1, targets.flatten(1), True)
    edge, _ = block_size(sizes[1], side, context, (1.0, 1.0))
    corners = _corners(draws[:, num_targets:], side, edge, edge)  # (B, tries, 2)
    cells = torch.arange(side, device=keys.device)
    inside = (cells >= corners[..., None]) & (cells < corners[..., None] + edge)  # (B, t, 2, side)
    blocks = (inside[:, :, 0, :, None] & inside[:, :, 1, None, :]).flatten(2)  # (B, tries, N)
    left = blocks & ~hit[:, None]
    counts = left.sum(2)  # (B, tries)
    enough = counts > side**2 // 20
    chosen = torch.where(enough.any(1), enough.int().argmax(1), counts.argmax(1))
    own = torch.arange(len(keys), device=keys.device)
    some = counts[own, chosen] > 0
    return Blocks(targets, torch.where(some[:, None], left[own, chosen], blocks[own, chosen]))


def draw_tubes(
    keys: Tensor,
    moment: int,
    side: int,
    num_blocks: int,
    scale: float,
    aspect: tuple[float, float] = (0.75, 1.5),
) -> Tensor:
    """Draw blocks of a frame that are hidden at all times; together they are what is guessed.

    Section 3.2 of Bardes et al., 2024 (arXiv:2404.08471): blocks of one size, at places of each
    clip's own, which may overlap. Places that leave nothing visible are drawn again, up to 20
    times; then the first block alone is hidden.

    Args:
        keys: (B,) int64.
        moment: key of the step, from which the shape of a block is drawn.
        side: boxes along an edge of a frame; > 1.
        num_blocks: how many are drawn.
        scale: share of the frame in one block, in (0, 1).
        aspect: least and largest height over width.

    Returns:
        (B, side * side) bool, True where hidden: at least one is, and one is not.
    """
    salt = _TUBES + num_blocks
    draw = float(uniform(torch.tensor([moment]), 1, salt)[0, 0])
    high, wide = block_size(draw, side, (scale, scale), aspect)
    draws = uniform(keys, 2 * num_blocks * _TRIES, salt).view(len(keys), -1, 2)
    corners = _corners(draws, side, high, wide).view(len(keys), _TRIES, num_blocks, 2)
    cells = torch.arange(side, device=keys.device)
    extent = torch.tensor([high, wide], device=keys.device)[:, None]
    inside = (cells >= corners[..., None]) & (cells < corners[..., None] + extent)
    blocks = (inside[..., 0, :, None] & inside[..., 1, None, :]).flatten(3)  # (B, tries, K, N)
    hidden = blocks.any(2)  # (B, tries, N)
    fits = ~hidden.all(2)
    own = torch.arange(len(keys), device=keys.device)
    chosen = hidden[own, fits.int().argmax(1)]
    return torch.where(fits.any(1, keepdim=True), chosen, blocks[:, 0, 0])


def _corners(draws: Tensor, side: int, high: int, wide: int) -> Tensor:
    """Return upper left corners of blocks that lie inside, (B, T, 2) int64."""
    room = torch.tensor([side - high + 1, side - wide + 1], device=draws.device)
    return (draws * room).long()


def gather_context(context: Tensor) -> tuple[Tensor, Tensor]:
    """Bring what is seen of each sample to the front, for tensors of one length.

    Args:
        context: (B, N) bool, at least one True a row.

    Returns:
        Positions (B, L), L the most of any sample, and which of them are real (B, L) bool.
    """
    counts = context.sum(1, keepdim=True)  # (B, 1)
    order = (~context).int().argsort(dim=1, stable=True)
    positions = order[:, : int(counts.max())]
    return positions, torch.arange(positions.shape[1], device=context.device) < counts
