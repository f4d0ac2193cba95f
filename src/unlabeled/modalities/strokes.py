"""Distortions of what is drawn in strokes: letters, digits, sketches, line drawings.

Two people who write the same letter differ in its slant, its size, the bends of its strokes and
the width of the pen, hardly ever in a crop of it. Affine and smooth random displacements are those
of Simard, Steinkraus and Platt, "Best Practices for Convolutional Neural Networks Applied to
Visual Document Analysis", ICDAR 2003; the width of a stroke is changed by blending with the
dilated or eroded image. Ink may be dark or light: borders are continued, and thick and thin are
drawn alike.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from unlabeled.rng import uniform

_SALT = 0x57E0
_KNOTS, _BEND = 4, 0.14
"""Displacements are drawn at 4 x 4 knots; a bend is at most this share of half an edge."""
_AFFINE = 6
_TURN, _SCALE, _ASPECT, _SHEAR, _SHIFT = math.radians(15), 0.2, 0.15, 0.3, 0.15
_WIDTH, _REFERENCE = 0.8, 28
NUM_DRAWS = _AFFINE + 2 * _KNOTS * _KNOTS + 1


def draw(keys: Tensor, salt: int) -> Tensor:
    """Draw what `bend` and `widen` need, (B, 39)."""
    return uniform(keys, NUM_DRAWS, salt ^ _SALT)


def bend(x: Tensor, strength: float, draws: Tensor) -> Tensor:
    """Turn, scale, shear, shift and bend every image; bilinear, borders continued.

    At strength 1: turned by up to 15 degrees, scaled by e^0.2, stretched by e^0.15, sheared by
    0.3, shifted by 0.15 of half an edge, and bent by up to 0.14 of half an edge.

    Args:
        x: (B, C, H, W).
        strength: what all these are multiplied by, >= 0.
        draws: (B, 39) uniform in [0, 1).
    """
    signed = (2 * draws - 1) * strength
    turn, scale, aspect, shear = (signed[:, i] for i in range(4))
    turn, shear = turn * _TURN, shear * _SHEAR
    scale, aspect = (scale * _SCALE).exp(), (aspect * _ASPECT).exp()
    cos, sin = turn.cos() * scale, turn.sin() * scale
    rows = [cos * aspect, shear * cos - sin, sin, cos / aspect]
    matrix = torch.stack(rows, dim=1).reshape(-1, 2, 2)  # (B, 2, 2)
    shift = signed[:, 4:6, None] * _SHIFT
    grid = F.affine_grid(torch.cat([matrix, shift], dim=2), list(x.shape), align_corners=False)
    knots = signed[:, _AFFINE:-1].reshape(-1, 2, _KNOTS, _KNOTS) * _BEND
    smooth = F.interpolate(knots, size=x.shape[2:], mode="bicubic", align_corners=False)
    moved = grid + smooth.permute(0, 2, 3, 1)  # (B, H, W, 2)
    return F.grid_sample(x, moved, padding_mode="border", align_corners=False)


def widen(x: Tensor, strength: float, draws: Tensor) -> Tensor:
    """Make strokes wider or narrower, by up to 0.8 x strength of a dilation or an erosion.

    Args:
        x: (B, C, H, W).
        strength: in [0, 1].
        draws: (B, 39) uniform in [0, 1).
    """
    radius = max(1, round(min(x.shape[2:]) / _REFERENCE))
    light = F.max_pool2d(x, 2 * radius + 1, 1, radius)
    dark = -F.max_pool2d(-x, 2 * radius + 1, 1, radius)
    share = ((2 * draws[:, -1] - 1) * _WIDTH * strength)[:, None, None, None]
    return x + share.clamp_min(0) * (light - x) - share.clamp_max(0) * (dark - x)
