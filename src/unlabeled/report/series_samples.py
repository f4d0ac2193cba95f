"""Pictures of a run on logs: a row a channel, time from left to right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from unlabeled.report import grid
from unlabeled.report.image_samples import ImageSamples

_RANGE, _EDGE = 3.0, 96
_MISSING = (235, 200, 120)


class SeriesSamples(ImageSamples):
    """Draws logs as maps of their channels; what is missing is sand-coloured."""

    def drawers(self) -> dict[str, Callable[[], None]]:
        """Return what can be drawn, by the key of its part."""
        return {"views": self.views, "neighbours": self.neighbours, "map": self.map}

    def pixels(self, x: Tensor) -> grid.Pixels:
        """Return views (..., T, 2 C) as pictures, (..., rows, columns, 3) uint8."""
        values, there = x.float().movedim(-1, -2).chunk(2, -2)  # (..., C, T)
        grey = (values / (2 * _RANGE) + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        shown = grey[..., None].expand(*grey.shape, 3).clone()
        shown[there < 0.5] = torch.tensor(_MISSING, dtype=torch.uint8)
        return _enlarged(shown.numpy())


def _enlarged(pictures: grid.Pixels) -> grid.Pixels:
    """Repeat rows and thin out columns, so that few channels of many steps look like a picture."""
    rows, columns = pictures.shape[-3:-1]
    across = np.linspace(0, columns - 1, min(columns, _EDGE)).round().astype(int)
    down = np.repeat(np.arange(rows), max(1, _EDGE // (2 * rows)))[: 2 * _EDGE]
    return np.ascontiguousarray(pictures[..., down, :, :][..., across, :])
