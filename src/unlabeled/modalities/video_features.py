"""What of a clip is known without training: its mean picture, its middle, and how things move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unlabeled.modalities import picture_features

_MOMENT_EDGE, _CELLS, _CHUNK = 16, 4, 256
_STILL = 1e-5
"""Added to squared slopes (values in [0, 1]), so that flat cells move by nothing."""


def describe(clips: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Return ``moments``, ``middle`` and ``motion`` of clips, (N, T, C, H, W) -> (N, D) each."""
    parts = [clips[i : i + _CHUNK] for i in range(0, len(clips), _CHUNK)]
    middle = clips[:, clips.shape[1] // 2]
    return {
        "moments": np.concatenate([moments(part) for part in parts]),
        "middle": picture_features.colour_gradient(middle),
        "motion": np.concatenate([motion(part) for part in parts]),
    }


def moments(clips: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return mean and deviation over time of every pixel of small frames."""
    small = _by_cell((clips / 255).astype(np.float32), min(_MOMENT_EDGE, clips.shape[-1]))
    parts = [small.mean(1).reshape(len(clips), -1), small.std(1).reshape(len(clips), -1)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def motion(clips: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how much and where to things move in 4 x 4 cells, and in all, (N, 136).

    Optical flow by least squares over a cell (Lucas and Kanade, "An iterative image registration
    technique", 1981), from each frame to the next; of the speed to the right, the speed downwards,
    their size and the absolute difference of frames, the mean and the deviation over time.
    """
    grey = clips.astype(np.float32).mean(2) / 255  # (N, T, H, W)
    between = (grey[:, 1:] + grey[:, :-1]) / 2
    down, right = np.gradient(between, axis=(2, 3))
    change = grey[:, 1:] - grey[:, :-1]
    names = (right * right, right * down, down * down, right * change, down * change)
    xx, xy, yy, xt, yt, size = (_and_in_all(x) for x in (*names, np.abs(change)))
    xx, yy = xx + _STILL, yy + _STILL
    found = xx * yy - xy * xy
    u, v = (xy * yt - yy * xt) / found, (xy * xt - xx * yt) / found
    values = np.stack([u, v, np.hypot(u, v), size], axis=-1)
    flat = np.concatenate([values.mean(1), values.std(1)], axis=-1).reshape(len(clips), -1)
    return flat.astype(np.float32)


def _and_in_all(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Average over 4 x 4 cells, and over the frame, (N, T, H, W) -> (N, T, 17)."""
    cells = _by_cell(x, _CELLS).reshape(*x.shape[:2], -1)
    return np.concatenate([cells, x.mean((2, 3), dtype=np.float64)[..., None]], axis=-1)


def _by_cell(x: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    """Average over `count` x `count` cells, (..., H, W) -> (..., count, count)."""
    found = x.astype(np.float64)
    for axis in (-2, -1):
        edges = np.arange(count) * x.shape[axis] // count
        sizes = np.diff([*edges, x.shape[axis]])
        found = np.add.reduceat(found, edges, axis)
        found = found / (sizes[:, None] if axis == -2 else sizes)
    return found
