"""Pictures of a run on recordings: spectrograms, time from left to right, low bands below."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unlabeled.modalities import logmel
from unlabeled.report import grid
from unlabeled.report.image_samples import ImageSamples

_BANDS, _RANGE = 64, 2.0


class SoundSamples(ImageSamples):
    """Draws spectrograms of held-out recordings; of the pool where few are held out."""

    def drawers(self) -> dict[str, Callable[[], None]]:
        """Return what can be drawn, by the key of its part."""
        found = {"views": self.views, "neighbours": self.neighbours, "map": self.map}
        if self.run.config.modality.form == "spectrogram":  # type: ignore[union-attr]
            found |= {"masks": self.masks, "patches": self.patches}
        return found

    def pixels(self, x: Tensor) -> grid.Pixels:
        """Return views as grey images, (..., bands, frames, 3) uint8."""
        config = self.modality.config
        if config.form == "wave":
            frames = logmel.log_mel(x[..., 0, :].float(), config.rate, _BANDS)
            x = (frames - frames.mean()) / (2 * frames.std())
        elif config.form == "frames":
            x = x[..., :-1]
        else:
            x = x[..., 0, :, :]
        values = (x.float() / _RANGE + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        upright = values.transpose(-1, -2).flip(-2)  # (..., bands, frames)
        return upright[..., None].expand(*upright.shape, 3).contiguous().numpy()
