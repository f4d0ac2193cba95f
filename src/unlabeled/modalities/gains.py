"""Distortions of measured values, where channels are no colours: gains instead of hues.

A channel of a multispectral, medical or microscopic image measures something of its own. What
may differ between two measurements of the same thing is how bright the light was, how sensitive
the sensor was, and how each channel was calibrated. Values have no ceiling, so none is clipped.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unlabeled.rng import uniform

_OFFSET, _SALT = 16, 0x6A1
_PROBABILITY, _SPAN, _CHANNEL_SPAN = 0.8, 0.8, 0.2


def draw(keys: Tensor, channels: int, salt: int) -> Tensor:
    """Draw what `jitter` needs beside the draws of colours, (B, 3 + C)."""
    return uniform(keys, 3 + channels, salt ^ _SALT)


def jitter(x: Tensor, strength: float, draws: Tensor) -> Tensor:
    """Change gain, contrast and the balance of channels of 80 % of the images.

    Gain and contrast (about each channel's own mean) are uniform in [max(0, 1 - 0.8 s),
    1 + 0.8 s], the gain of each of several channels beside it in [1 - 0.2 s, 1 + 0.2 s].

    Args:
        x: (B, C, H, W), any range.
        strength: s.
        draws: (B, 16 + 3 + C) uniform in [0, 1).
    """
    own = draws[:, _OFFSET:, None, None]
    gain, contrast = (_between(own[:, i : i + 1], _SPAN * strength) for i in (1, 2))
    if x.shape[1] > 1:
        gain = gain * _between(own[:, 3:], _CHANNEL_SPAN * strength)  # (B, C, 1, 1)
    mean = x.mean(dim=(2, 3), keepdim=True)
    chosen = own[:, :1] < _PROBABILITY
    return torch.where(chosen, gain * (mean + contrast * (x - mean)), x)


def _between(draws: Tensor, span: float) -> Tensor:
    low = max(0.0, 1 - span)
    return low + draws * (1 + span - low)
