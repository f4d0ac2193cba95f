"""Pictures of a run on logs: a row a channel, time from left to right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from unlabeled.nn.interpolate import interpolate
from unlabeled.report import dots, grid, nearest, rollouts, traces
from unlabeled.report.image_samples import NUM_FEATURES, NUM_SHOWN, ImageSamples

_RANGE, _EDGE, _MAP = 3.0, 96, 560
_MISSING = (235, 200, 120)


class SeriesSamples(ImageSamples):
    """Draws logs as maps of their channels; what is missing is sand-coloured."""

    def drawers(self) -> dict[str, Callable[[], None]]:
        """Return what can be drawn, by the key of its part."""
        return {
            "views": self.views, "masks": self.masks, "rollout": self.rollout,
            "neighbours": self.neighbours, "map": self.map, "spectrum": self.spectrum,
        }  # fmt: skip

    def masks(self) -> None:
        """Draw the channels of a log with hidden spans and what was made of them."""
        made = self.method.reconstruct(self.batch(NUM_SHOWN))
        there = ~made.original.isnan()
        hidden = there & made.masked.isnan()
        row = int((hidden.any(1).sum(1) * 10_000 + hidden.sum((1, 2))).argmax())
        error = (made.reconstruction - made.original).square()[hidden]
        line = (
            interpolate(made.masked.nan_to_num(), ~made.masked.isnan()) - made.original
        ).square()
        guess = torch.where(hidden, made.reconstruction, float("nan"))
        page = traces.page(self.modality.channels, made.original[row], guess[row], hidden[row])
        caption = (
            f"Mean squared error of what was hidden in {len(there)} logs, in deviations of the "
            f"pool: {error.mean():.3f}; of a straight line between what was seen: "
            f"{line[hidden].mean():.3f}."
        )
        self._save("masks", page, page.height, caption)

    def rollout(self) -> None:
        """Draw what is foretold of a hidden stretch, step by step, against what happened."""
        found = rollouts.roll(self.method, self.plain[:NUM_FEATURES])
        page = traces.page(
            self.modality.config.observations, found.truth[0], found.guess[0], found.hidden[0],
            found.still[0],
        )  # fmt: skip
        self._save("rollout", page, page.height, rollouts.sentence(found))

    def map(self) -> None:
        """Draw logs as dots where their features lie, coloured by the labels in the data."""
        called = dots.known(self.run.source(), self.run.config.data.path)
        labels = [called.get(name) for name in self.names]
        page = dots.page(nearest.plane(self.features, self.seed), labels, _MAP)
        caption = "A dot is a log, or a part of one."
        if any(labels):
            caption += " Colours are the labels in the data, which pre-training did not see."
        self._save("map", page, page.height, caption)

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
