"""Logs: rows of numbers, a column a channel, a row a step; gaps stay gaps.

Values are normalised by each channel's mean and deviation over the pre-training pool. What is
missing is 0 after that, and said to be missing by a flag of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from unlabeled import rng as draws
from unlabeled.config import RunConfig, SeriesConfig
from unlabeled.errors import ConfigError, DataError
from unlabeled.kinds import SERIES
from unlabeled.modalities import series_features
from unlabeled.modalities.base import Modality
from unlabeled.modalities.stretch import Stretch, Values
from unlabeled.types import View

_NOISE, _SCALE, _SPANS, _CHANNELS = 0.1, 0.5, 0.5, 0.5
_FAR = 1e3
"""Deviations from the mean beyond which a number is clipped: one outlier must not be all."""


class Series(Modality):
    """Logs.

    An encoder sees (T, 2 C): C normalised channels, observations before actions, and C flags, 1
    where a channel was measured at a step and 0 where it is missing or the log is over.

    Args:
        config: how logs are read.
    """

    name: ClassVar[str] = "series"
    suffixes: ClassVar[frozenset[str]] = SERIES

    def __init__(self, config: SeriesConfig) -> None:
        self.config = config
        count = len(self.channels)
        sizes = [len(values) for values in (config.mean, config.std, config.change)]
        if not count or sizes != [count] * 3:
            raise ConfigError(
                f"modality has {count} columns, but {sizes[0]} means, {sizes[1]} deviations and "
                f"{sizes[2]} deviations of the change. Leave them out, to be measured."
            )
        self.mean = torch.tensor(config.mean)
        self.std = torch.tensor(config.std)

    @classmethod
    def of_run(cls, config: RunConfig, folder: Path) -> Series:
        """Return the modality of a run."""
        assert isinstance(config.modality, SeriesConfig)
        return cls(config.modality)

    @classmethod
    def of_folder(cls, settings: Mapping[str, Any], folder: Path) -> Series:
        """Return the modality of a saved encoder."""
        return cls(SeriesConfig(**settings))

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the names of the C channels, observations first."""
        return (*self.config.observations, *self.config.actions)

    def steps(self, view: View) -> int:
        """Return how many steps a view has."""
        return max(1, round(self.config.length * view.size))

    def read(self, payload: Stretch | NDArray[Any]) -> Values:
        """Return channels of a stretch of a log, or of an array (T, C), as they were recorded.

        Raises:
            DataError: a column is not there, the stretch is too short, or too much is missing.
        """
        c = self.config
        if isinstance(payload, Stretch):
            values = payload.read(self.channels)
        else:
            values = _array(payload, len(self.channels))
        if len(values) < c.shortest:
            raise DataError(f"it has {len(values)} steps; modality.shortest is {c.shortest}")
        missing = float(np.isnan(values).mean())
        if missing > c.missing:
            raise DataError(
                f"{missing:.0%} of its numbers are missing; modality.missing allows {c.missing:.0%}"
            )
        return values

    def cut(self, raw: Values, view: View, rng: np.random.Generator) -> Tensor:
        """Cut `view.count` windows; a view of the whole sample is its middle, and draws nothing."""
        size = self.steps(view)
        cuts = []
        for _ in range(view.count):
            there = min(len(raw), self.config.length)
            if view.extent == (1.0, 1.0):
                length, start = there, (len(raw) - there) // 2
            else:
                length = max(min(4, there), round(there * rng.uniform(*view.extent)))
                start = int(rng.integers(0, len(raw) - length + 1))
            window = torch.from_numpy(np.ascontiguousarray(raw[start : start + min(length, size)]))
            cuts.append(F.pad(window, (0, 0, 0, size - len(window)), value=float("nan")))
        return torch.stack(cuts)

    def distort(self, cuts: Tensor, view: View, keys: Tensor) -> Tensor:
        """Distort and normalise, (V, B, T, C) -> (V, B, T, 2 C).

        A view with ``distort`` is scaled and made noisy, and up to half of its channels and a span
        of up to half of its steps go missing, each in proportion to ``distort``.
        """
        mean, std = self.mean.to(cuts.device), self.std.to(cuts.device)
        values = ((cuts.float() - mean) / std).clamp(-_FAR, _FAR)
        there = ~values.isnan()
        values = torch.where(there, values, 0.0)
        if view.distort > 0:
            salt = zlib.crc32(repr(view).encode()) << 8
            for copy in range(len(values)):
                values[copy], there[copy] = _spoilt(
                    values[copy], there[copy], keys, salt + copy, min(1.0, view.distort)
                )
        return torch.cat([values * there, there.to(values.dtype)], -1)

    def raw(self, x: Tensor) -> Tensor:
        """Return what steps contain, (B, T, 2 C) -> (B, T, C)."""
        return x.chunk(2, -1)[0]

    def plain_features(self, raws: Sequence[Values]) -> dict[str, NDArray[np.float32]]:
        """Return statistics and random convolutions of each sample, (N, D) each."""
        mean, std = np.asarray(self.config.mean), np.asarray(self.config.std)
        length = self.config.length
        scaled = []
        for raw in raws:
            start = max(0, (len(raw) - length) // 2)
            window = (raw[start : start + length] - mean) / std
            scaled.append(np.clip(window, -_FAR, _FAR).astype(np.float32))
        return {
            "statistics": series_features.statistics(scaled),
            "rocket": series_features.random_convolutions(scaled, length),
        }

    def describe(self) -> dict[str, Any]:
        """Return what is needed to rebuild this modality."""
        return {"kind": self.name, **self.config.model_dump()}


def _array(payload: Any, count: int) -> Values:
    """Check an array that a person hands over."""
    values = np.asarray(payload)
    if values.ndim != 2 or values.shape[1] != count or values.dtype.kind not in "fiub":
        raise DataError(
            f"a log is an array of numbers (steps, {count}); this is {values.dtype} {values.shape}"
        )
    found = values.astype(np.float32)
    found[~np.isfinite(found)] = np.nan
    return found


def _spoilt(
    x: Tensor, there: Tensor, keys: Tensor, salt: int, strength: float
) -> tuple[Tensor, Tensor]:
    """Return a distorted copy of values and flags, (B, T, C) each."""
    B, T, C = x.shape  # noqa: N806
    noise = draws.uniform(keys, 2 * C + 3 + T * C, salt)  # (B, ...)
    gain = (2 * noise[:, :C] - 1) * _SCALE * strength
    x = x * gain.exp()[:, None]
    # The sum of a uniform number and its rotation has a peak in the middle: noise enough.
    grain = noise[:, 2 * C + 3 :].reshape(B, T, C)
    x = x + (grain + grain.roll(1, 1) - 1) * 2.4 * _NOISE * strength
    lost = noise[:, C : 2 * C] < noise[:, 2 * C, None] * _CHANNELS * strength  # (B, C)
    first, width = noise[:, 2 * C + 1], noise[:, 2 * C + 2] * _SPANS * strength
    place = torch.arange(T, device=x.device) / T
    start = first * (1 - width)
    hidden = (place >= start[:, None]) & (place < (start + width)[:, None])  # (B, T)
    return x, there & ~lost[:, None] & ~hidden[:, :, None]
