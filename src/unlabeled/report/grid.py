"""Pictures made of small pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

GAP = 2
_CELL = 64


def scale_for(edge: int) -> int:
    """Return how many times a picture of this edge is enlarged on the page.

    >>> scale_for(28), scale_for(32), scale_for(96)
    (2, 2, 1)
    """
    return max(1, round(_CELL / max(edge, 1)))


def colour(pixels: Pixels) -> Pixels:
    """Return (H, W, 3) from (H, W, C): grey is repeated, many channels become three bands.

    More than four channels are averaged by thirds, the last third as red, for in most orders the
    long waves come last.
    """
    channels = pixels.shape[-1]
    if channels > 4:
        thirds = np.array_split(np.arange(channels), 3)[::-1]
        bands = [pixels[..., third].mean(axis=-1) for third in thirds]
        return np.asarray(np.rint(np.stack(bands, axis=-1)), np.uint8)
    return pixels[..., :3] if channels >= 3 else np.repeat(pixels[..., :1], 3, axis=-1)


def montage(rows: Sequence[Sequence[Pixels | None]], after: Sequence[int] = ()) -> Image.Image:
    """Lay pictures out in rows and columns on a transparent ground.

    Args:
        rows: pictures (h, w, C), each at most as large as the largest; None leaves a cell empty.
        after: columns that a wider gap follows.
    """
    cells = [cell for row in rows for cell in row if cell is not None]
    high, wide = (max(cell.shape[axis] for cell in cells) for axis in (0, 1))
    columns = max(len(row) for row in rows)
    offsets = [
        i * (wide + GAP) + 3 * GAP * sum(column < i for column in after) for i in range(columns)
    ]
    size = (offsets[-1] + wide, len(rows) * (high + GAP) - GAP)
    page = Image.new("RGBA", size, (0, 0, 0, 0))
    for y, row in enumerate(rows):
        for x, cell in zip(offsets, row, strict=False):
            if cell is not None:
                left = x + (wide - cell.shape[1]) // 2
                top = y * (high + GAP) + (high - cell.shape[0]) // 2
                page.paste(Image.fromarray(colour(cell)), (left, top))
    return page


def scatter(pictures: Sequence[Pixels], places: NDArray[np.float32], size: int) -> Image.Image:
    """Place pictures by two coordinates, one in each cell of a raster so that none overlap.

    Args:
        pictures: (h, w, C) each, equal sizes.
        places: (N, 2), any scale.
        size: edge of the map in pixels.
    """
    edge = pictures[0].shape[0]
    low, high = np.percentile(places, 0.5, axis=0), np.percentile(places, 99.5, axis=0)
    share = np.clip((places - low) / np.maximum(high - low, 1e-9), 0, 1)
    count = size // (edge + GAP)
    cells = np.rint(share * (count - 1)).astype(int)
    page = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    taken: set[tuple[int, int]] = set()
    for picture, (x, y) in zip(pictures, cells.tolist(), strict=True):
        if (x, y) not in taken:
            taken.add((x, y))
            page.paste(Image.fromarray(colour(picture)), (x * (edge + GAP), y * (edge + GAP)))
    return page


def principal_colours(tokens: NDArray[np.float32]) -> Pixels:
    """Return the three main directions of tokens as colours, (B, N, D) -> (B, N, 3) uint8."""
    flat = tokens.reshape(-1, tokens.shape[-1]).astype(np.float64)
    flat = flat - flat.mean(0)
    _, _, axes = np.linalg.svd(flat, full_matrices=False)
    low_rank = flat @ axes[:3].T  # (B N, <= 3)
    low_rank = np.pad(low_rank, ((0, 0), (0, 3 - low_rank.shape[1])))
    # A direction has no sign of its own; fix it so that a report repeats.
    low_rank *= np.where(np.abs(low_rank.min(0)) > low_rank.max(0), -1, 1)
    low, high = np.percentile(low_rank, [2, 98], axis=0)
    share = np.clip((low_rank - low) / np.maximum(high - low, 1e-9), 0, 1)
    return np.asarray(np.rint(255 * share), np.uint8).reshape(*tokens.shape[:2], 3)
