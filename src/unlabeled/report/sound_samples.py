"""Pictures of a run on recordings: spectrograms, time from left to right, low bands below.

Beside them recordings themselves, short and of telephone quality, to be heard on the page.
"""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Callable

import torch
from torch import Tensor

from unlabeled.journal import read_json, write_json
from unlabeled.modalities import logmel, sound
from unlabeled.report import grid, sound_masks
from unlabeled.report.image_samples import NUM_SHOWN, ImageSamples

NUM_HEARD = 2
"""Neighbours of a query that can be heard."""

SHOWN_RATE, SECONDS = 8_000, 2
_BANDS, _RANGE = 64, 2.0


class SoundSamples(ImageSamples):
    """Draws spectrograms of held-out recordings; of the pool where few are held out."""

    def drawers(self) -> dict[str, Callable[[], None]]:
        """Return what can be drawn, by the key of its part."""
        found = {"views": self.views, "neighbours": self.neighbours, "map": self.map}
        found["spectrum"] = self.spectrum
        if self.run.config.modality.form == "spectrogram":  # type: ignore[union-attr]
            found |= {"masks": self.masks, "patches": self.patches}
        elif self.run.config.method["name"] in sound_masks.METHODS:
            found["masks"] = self.guesses
        return found

    def guesses(self) -> None:
        """Draw what was there, what was heard of it, and what the method said of the rest."""
        found = sound_masks.asked(self.method, self.batch(NUM_SHOWN), self.modality.examples)
        # The last column of frames says where there is sound; it is not drawn.
        parts = [self.pixels(torch.nn.functional.pad(part, (0, 1))) for part in found]
        rows = [list(three) for three in zip(*parts, strict=True)]
        self._save("masks", grid.montage(rows), parts[0].shape[1])

    def neighbours(self) -> None:
        """Draw queries beside their nearest neighbours, and keep what they sound like."""
        super().neighbours()
        path = self.place / "neighbours.json"
        tree = read_json(path)
        place = {name: row for row, name in enumerate(self.names)}
        wanted = [
            name
            for query in tree["queries"]
            for name in (query["name"], *(near["name"] for near in query["neighbours"][:NUM_HEARD]))
        ]
        sounds = {name: self._sound(place[name]) for name in dict.fromkeys(wanted)}
        write_json(path, {**tree, "sounds": sounds})

    def _sound(self, position: int) -> str:
        """Return a recording as a WAV file in base64: its first seconds, 8 kHz, 16 bits."""
        source, index = self.pool.source, int(self.pool.indices[position])
        samples = sound.read(source.payload(index), SHOWN_RATE).samples[: SHOWN_RATE * SECONDS]
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SHOWN_RATE)
            file.writeframes((samples * 32767).round().astype("<i2").tobytes())
        return base64.b64encode(buffer.getvalue()).decode("ascii")

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
