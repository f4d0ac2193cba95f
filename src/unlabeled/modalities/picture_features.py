"""What of an image is known without training: colours and directions of edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEVELS = 4
_BINS = 9
_CELLS = 4
_CHUNK = 1024


def colour_histogram(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return square roots of shares of joint colours, (N, C, H, W) -> (N, D).

    Four levels a channel for up to three channels (D = 4^C); 16 levels a channel otherwise.
    """
    num, channels = images.shape[:2]
    flat = images.reshape(num, channels, -1)
    if channels in (2, 3):
        powers = _LEVELS ** np.arange(channels)
        codes = (flat // (256 // _LEVELS) * powers[None, :, None]).sum(axis=1)[:, None]
        levels = _LEVELS**channels
    else:
        codes, levels = (flat // 16).astype(np.int64), 16
    offsets = np.arange(codes.shape[0] * codes.shape[1]).reshape(*codes.shape[:2], 1) * levels
    counts = np.bincount((codes + offsets).ravel(), minlength=offsets.size * levels)
    shares: NDArray[np.float32] = counts.reshape(num, -1).astype(np.float32)
    np.sqrt(shares / np.float32(codes.shape[2]), out=shares)
    return shares


def gradient_histogram(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return histograms of gradient directions in 4 x 4 cells, (N, C, H, W) -> (N, 144).

    After Dalal & Triggs, "Histograms of oriented gradients", CVPR 2005: unsigned directions in
    9 bins with linear votes, the channel of the steepest slope, clipped L2 normalisation.
    """
    values = images.astype(np.float32) / 255
    num, _, height, width = values.shape
    dy, dx = np.gradient(values, axis=(2, 3))
    slope = dx**2 + dy**2
    steepest = slope.argmax(axis=1)[:, None]
    dx, dy, slope = (np.take_along_axis(v, steepest, 1)[:, 0] for v in (dx, dy, slope))
    size, place = np.sqrt(slope), np.mod(np.arctan2(dy, dx), np.pi) * (_BINS / np.pi)
    lower = np.floor(place)
    upper_share = place - lower
    rows = np.minimum(np.arange(height) * _CELLS // height, _CELLS - 1)
    columns = np.minimum(np.arange(width) * _CELLS // width, _CELLS - 1)
    cell = (np.arange(num)[:, None, None] * _CELLS + rows[:, None]) * _CELLS + columns
    total = num * _CELLS * _CELLS * _BINS
    votes = np.zeros(total)
    for offset, weight in ((0, size * (1 - upper_share)), (1, size * upper_share)):
        bins = (lower.astype(np.int64) + offset) % _BINS
        votes += np.bincount((cell * _BINS + bins).ravel(), weight.ravel(), minlength=total)
    found = votes.reshape(num, -1)
    for clip in (0.2, np.inf):
        found = found / (np.linalg.norm(found, axis=1, keepdims=True) + 1e-6)
        found = np.minimum(found, clip)
    return found.astype(np.float32)


def colour_gradient(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return both histograms beside each other, (N, C, H, W) -> (N, D)."""
    parts = [images[i : i + _CHUNK] for i in range(0, len(images), _CHUNK)]
    return np.concatenate(
        [np.hstack([colour_histogram(part), gradient_histogram(part)]) for part in parts]
    )
