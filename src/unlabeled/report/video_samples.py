"""Pictures of a run on clips: a few frames of each, time from left to right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from unlabeled.nn.tubes import tubes, untubes
from unlabeled.report import grid, views
from unlabeled.report.image_samples import ImageSamples

_SHOWN, _CLIPS = 4, 4
"""Frames of a clip that are shown of a view, and clips whose hidden boxes are."""


class VideoSamples(ImageSamples):
    """Draws held-out clips as strips of frames; of the pool where few are held out."""

    def drawers(self) -> dict[str, Callable[[], None]]:
        """Return what can be drawn, by the key of its part."""
        return {
            "views": self.views, "masks": self.masks, "neighbours": self.neighbours,
            "map": self.map, "spectrum": self.spectrum,
        }  # fmt: skip

    def pixels(self, x: Tensor) -> grid.Pixels:
        """Return clips (..., T, C, H, W) as strips of four frames, (..., H, 4 W, C) uint8."""
        count = min(_SHOWN, x.shape[-4])
        places = np.linspace(0, x.shape[-4] - 1, count).round().astype(int)
        return self.strip(x[..., places.tolist(), :, :, :])

    def strip(self, x: Tensor) -> grid.Pixels:
        """Lay frames side by side, (..., T, C, H, W) -> (..., H, T W, C) uint8."""
        config = self.modality.config
        channels = config.channels
        mean, std = (v * (channels if len(v) == 1 else 1) for v in (config.mean, config.std))
        frames = np.moveaxis(views.pixels(x, mean, std), -4, -3)  # (..., H, T, W, C)
        return frames.reshape(*frames.shape[:-3], -1, frames.shape[-1])

    def masks(self) -> None:
        """Draw what was hidden of every second frame, and what a decoder made of it, if any."""
        if hasattr(self.method, "reconstruct"):
            self._rebuilt()
        else:
            self._hidden()

    def _hidden(self) -> None:
        """Draw each clip under each mask of its method."""
        batch = self.batch(_CLIPS)
        clips, e = batch["global"][0], self.method.encoder
        boxes = tubes(clips, e.length, e.patch)  # (B, N, Q, C)
        shown, shares = [clips], []
        for hidden in self.method.masks(batch.keys, self.step / self.run.config.loop.steps):
            left = boxes.masked_fill(hidden[..., None, None], 0.0)  # the mean of all clips
            shown.append(untubes(left, e.length, e.patch, e.side))
            shares.append(f"{hidden.float().mean():.0%}")
        rows: list[list[grid.Pixels | None]] = []
        for parts in zip(*shown, strict=True):
            rows.extend([[self.strip(part[::2])] for part in parts])
        caption = (
            "Of each clip three rows: the clip, what is left by many small blocks, and by few "
            f"large ones. Hidden of these clips: {' and '.join(shares)}."
        )
        self._save("masks", grid.montage(rows), clips.shape[-1], caption)

    def _rebuilt(self) -> None:
        """Draw, of every second frame, what was hidden, what was made of it, and what was."""
        made = self.method.reconstruct(self.batch(_CLIPS))
        rows: list[list[grid.Pixels | None]] = []
        for parts in zip(made.masked, made.reconstruction, made.original, strict=True):
            rows.extend([[self.strip(part[::2])] for part in parts])
        caption = "Of each clip three rows: what was visible, what was made of it, what was there."
        if getattr(self.method.config, "norm_pix", False):
            caption += " Mean and contrast of hidden boxes are the true ones: they are not guessed."
        self._save("masks", grid.montage(rows), made.original.shape[-1], caption)

    def thumbnails(self) -> grid.Pixels:
        """Return the middle frame of each sample, (N, H, W, C) uint8."""
        middle = self.plain.shape[1] // 2
        return self.strip(self.plain[:, middle : middle + 1])
