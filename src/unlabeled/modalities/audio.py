"""Sound: recordings as log-mel frames, as square log-mel images, or as samples.

Values are normalised by one mean and one deviation of all recordings, never by those of a clip:
that would erase what distinguishes one vowel from another.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from unlabeled import rng as draws
from unlabeled.config import AudioConfig, RunConfig
from unlabeled.errors import DataError
from unlabeled.kinds import AUDIO
from unlabeled.modalities import logmel, sound, sound_features
from unlabeled.modalities.base import Modality
from unlabeled.modalities.sound import Clip
from unlabeled.types import View

_LOUDER, _BANDS, _SPANS = 2.0, 0.25, 0.25


class Audio(Modality):
    """Recordings.

    What an encoder sees depends on ``config.form``:

    - ``frames``: (T, M + 1) log-mel frames; the last column is 1 where there is sound, 0 where a
      short clip ends before the view does.
    - ``spectrogram``: (1, M, M), as many frames as bands, for networks made for images.
    - ``wave``: (2, T) samples, and 1 where there is sound.

    Args:
        config: how recordings are read.
        folder: of the run, where `examples` lie.
    """

    name: ClassVar[str] = "audio"
    num_examples: ClassVar[int] = 256
    suffixes: ClassVar[frozenset[str]] = AUDIO

    def __init__(self, config: AudioConfig, folder: Path | None = None) -> None:
        self.config, self.folder = config, folder

    @classmethod
    def of_run(cls, config: RunConfig, folder: Path) -> Audio:
        """Return the modality of a run."""
        assert isinstance(config.modality, AudioConfig)
        return cls(config.modality, folder)

    @classmethod
    def of_folder(cls, settings: Mapping[str, Any], folder: Path) -> Audio:
        """Return the modality of a saved encoder."""
        return cls(AudioConfig(**settings))

    @cached_property
    def length(self) -> int:
        """Return how many frames, or samples, a view has."""
        c = self.config
        if c.form == "spectrogram":
            return c.mels
        samples = round(c.seconds * c.rate)
        return samples if c.form == "wave" else max(1, logmel.num_frames(samples, c.rate, c.scale))

    def edge(self, view: View) -> int:
        """Return the edge of a square view, a multiple of 8."""
        return self.length if view.size == 1.0 else max(1, round(self.length * view.size / 8)) * 8

    def read(self, payload: bytes | Clip) -> NDArray[Any]:
        """Decode to log-mel frames (T, M) float16, or to samples (T,) float32.

        Raises:
            DataError: damaged, cut off, silent, too short, or of a format that is not read.
        """
        c = self.config
        heard = self.heard(payload)
        if len(heard) < self._fewest:
            raise DataError(
                f"it lasts {len(heard) / c.rate:.3f} s; modality.shortest is {c.shortest:g} s"
            )
        return self.exact(heard) if c.form == "wave" else self.exact(heard).astype(np.float16)

    def heard(self, payload: bytes | Clip) -> NDArray[np.float32]:
        """Return the samples of a recording at the rate of the encoder, its soft ends cut off."""
        c = self.config
        samples = sound.read(payload, c.rate, c.channel).samples
        short = sound.trimmed(samples, c.rate, c.trim) if c.trim > 0 else samples
        # A click in silence is short, but it is what was recorded.
        return short if len(short) >= self._fewest else samples

    @property
    def _fewest(self) -> float:
        """Return how many samples a recording must have."""
        return max(self.config.shortest * self.config.rate, logmel.sizes(self.config.rate)[0])

    def exact(self, heard: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return log-mel frames (T, M), or the samples themselves, in full precision."""
        c = self.config
        if c.form == "wave":
            return heard
        wave = torch.from_numpy(heard)
        pieces = [
            logmel.log_mel(piece, c.rate, c.mels, c.scale) for piece in self._overlapping(wave)
        ]
        return np.asarray(torch.cat(pieces).numpy(), np.float32)

    def _overlapping(self, wave: Tensor) -> list[Tensor]:
        """Cut a long signal where frames begin, so that its spectrogram needs little memory."""
        c, most = self.config, 6000
        count = logmel.num_frames(len(wave), c.rate)
        if c.scale == "slaney" or count <= most:
            return [wave]
        step, span = logmel.sizes(c.rate)[1], logmel.num_samples(most, c.rate)
        return [wave[i * step : i * step + span] for i in range(0, count, most)]

    def cut(self, raw: NDArray[Any], view: View, rng: np.random.Generator) -> Tensor:
        """Cut `view.count` windows; a view of the whole sample is its middle, and draws nothing."""
        cuts = []
        for _ in range(view.count):
            # fp16 is how frames are kept; under autocast torch cannot stack it.
            window = torch.from_numpy(self._window(raw, view, rng).astype(np.float32))
            if self.config.form == "spectrogram":
                cuts.append(self._square(window, view))
            else:
                cuts.append(self._filled(window))
        return torch.stack(cuts)

    def _window(self, raw: NDArray[Any], view: View, rng: np.random.Generator) -> NDArray[Any]:
        there = min(len(raw), self.length)
        if view.extent == (1.0, 1.0):
            start = (len(raw) - there) // 2
            return raw[start : start + there]
        least = min(there, logmel.sizes(self.config.rate)[0] if self.config.form == "wave" else 4)
        length = max(least, round(there * rng.uniform(*view.extent)))
        start = int(rng.integers(0, len(raw) - length + 1))
        return raw[start : start + length]

    def _square(self, window: Tensor, view: View) -> Tensor:
        """Return a window as an image, (T, M) -> (1, edge, edge).

        The whole sample keeps its speed and is padded with the mean; a part of it is stretched to
        the whole, as a crop of an image is.
        """
        edge = self.edge(view)
        if view.extent == (1.0, 1.0) and view.size == 1.0:
            return F.pad(window, (0, 0, 0, edge - len(window)), value=self.config.mean)[None]
        image = window.float()[None, None]
        options: Any = {"mode": "bilinear", "align_corners": False, "antialias": True}
        return F.interpolate(image, (edge, edge), **options)[0].to(window.dtype)

    def _filled(self, window: Tensor) -> Tensor:
        """Return a window with a note of where it is sound, padded to the length of a view."""
        heard = torch.ones(len(window), dtype=window.dtype)
        parts = [window, heard] if window.ndim == 1 else [*window.T, heard]
        both = F.pad(torch.stack(parts), (0, self.length - len(window)))
        return both if window.ndim == 1 else both.T.contiguous()

    def distort(self, cuts: Tensor, view: View, keys: Tensor) -> Tensor:
        """Distort and normalise, (V, B, ...) float16 or float32 -> float32.

        A view with ``distort`` is made louder or softer by up to 2 x ``distort`` nepers, and a
        band and a span of up to a quarter are replaced by the mean (SpecAugment, Park et al.
        2019, arXiv:1904.08779). Samples are normalised to mean 0 and variance 1, which is a gain.
        """
        if self.config.form == "wave":
            return _standard(cuts.float())
        spectrogram = self.config.form == "spectrogram"
        values = cuts.float() if spectrogram else cuts[..., :-1].float()
        values = (values - self.config.mean) / (2 * self.config.std)
        if view.distort > 0:
            salt = zlib.crc32(repr(view).encode()) << 8
            for copy, x in enumerate(values):
                _spoil_(
                    x.view(-1, *x.shape[-2:]),
                    draws.uniform(keys, 5, salt + copy),
                    view,
                    self.config,
                )
        if spectrogram:
            return values
        heard = cuts[..., -1:].float()
        return torch.cat([values * heard, heard], -1)

    def raw(self, x: Tensor) -> Tensor:
        """Return what frames contain, (B, T, M + 1) -> (B, T, M)."""
        return x[..., :-1]

    def plain_features(self, raws: Sequence[NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Return statistics of log-mel values and of cepstra over each clip, (N, D) each."""
        c = self.config
        if c.form == "wave":
            waves = [torch.from_numpy(raw) for raw in raws]
            raws = [logmel.log_mel(wave, c.rate, c.mels, c.scale).numpy() for wave in waves]
        return sound_features.statistics(raws)

    def keep(self, examples: Tensor) -> None:
        """Keep clips of the pool in the run folder, from which methods may learn codes."""
        from safetensors.torch import save_file

        if self.folder is not None and not self._place.exists():
            self._place.parent.mkdir(parents=True, exist_ok=True)
            save_file({"clips": examples.to(torch.float16)}, self._place)

    @property
    def _place(self) -> Path:
        return Path(self.folder or ".") / "data" / "clips.safetensors"

    @property
    def examples(self) -> Tensor:
        """Return clips of the pool as an encoder sees them, (N, ...)."""
        from safetensors.torch import load_file

        if self.folder is None or not self._place.exists():
            raise DataError(f"{self._place} is missing: clips of the run's own recordings.")
        return load_file(self._place)["clips"].float()

    def describe(self) -> dict[str, Any]:
        """Return what is needed to rebuild this modality."""
        return {"kind": self.name, **self.config.model_dump()}


def _spoil_(x: Tensor, noise: Tensor, view: View, config: AudioConfig) -> None:
    """Change loudness and hide a band and a span in place, x (B, T, M), noise (B, 5)."""
    T, M = x.shape[1:]  # noqa: N806
    gain = (2 * noise[:, 0] - 1) * _LOUDER * view.distort / (2 * config.std)
    x += gain[:, None, None]
    for axis, size, share in ((1, T, _SPANS), (2, M, _BANDS)):
        first, width = noise[:, 2 * axis - 1], noise[:, 2 * axis] * share * min(1.0, view.distort)
        place = torch.arange(size, device=x.device) / size
        start = first * (1 - width)
        hidden = (place >= start[:, None]) & (place < (start + width)[:, None])  # (B, size)
        x.masked_fill_(hidden[:, :, None] if axis == 1 else hidden[:, None, :], 0.0)


def _standard(cuts: Tensor) -> Tensor:
    """Give samples mean 0 and variance 1 over what is sound, (..., 2, T)."""
    values, heard = cuts[..., :1, :], cuts[..., 1:, :]
    count = heard.sum(-1, keepdim=True)
    mean = (values * heard).sum(-1, keepdim=True) / count
    centred = (values - mean) * heard
    variance = centred.square().sum(-1, keepdim=True) / count
    return torch.cat([centred / (variance + 1e-7).sqrt(), heard], -2)
