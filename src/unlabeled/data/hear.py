"""Figures of recordings for `inspect`: how long, at which rates, how loud, how often clipped."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from unlabeled.data.inspect import Looks
from unlabeled.modalities import sound

_CLIPPED, _SOFT = 1e-3, 1e-3


class Recordings(Looks):
    """Figures of recordings."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.rates: Counter[int] = Counter()
        self.channels: Counter[int] = Counter()
        self.loudness: list[float] = []
        self.clipped = 0
        self.soft = 0.0

    def measure(self, data: bytes) -> None:
        """Measure one item."""
        heard = sound.read(data)
        self.seconds.append(len(heard.samples) / heard.rate)
        kept = sound.trimmed(heard.samples, heard.rate, sound.SOFT_ENDS)
        self.soft += (len(heard.samples) - len(kept)) / heard.rate
        self.rates[heard.own_rate] += 1
        self.channels[heard.channels] += 1
        self.loudness.append(float(np.sqrt(np.square(heard.samples, dtype=np.float64).mean())))
        self.clipped += heard.clipped > _CLIPPED

    def figures(self) -> dict[str, Any]:
        """Return what was measured, as lines and doubts."""
        if not self.seconds:
            return {"lines": ()}
        low, middle, high = (float(np.quantile(self.seconds, q)) for q in (0, 0.5, 1))
        rates = ", ".join(f"{rate:,} Hz {n:,}" for rate, n in self.rates.most_common(4))
        channels = ", ".join(f"{count} in {n:,}" for count, n in self.channels.items())
        level = 20 * np.log10(max(1e-9, float(np.median(self.loudness))))
        lines = (
            f"Length: {low:.2f} to {high:.2f} s, median {middle:.2f}; "
            f"{sum(self.seconds) / 60:,.1f} minutes in all",
            f"Rates: {rates}; channels: {channels}",
            f"Level: median {level:.0f} dB of full scale; {self.clipped:,} clipped",
            f"Soft ends: {100 * self.soft / sum(self.seconds):.0f} % of the time is before or "
            f"after what is within {sound.SOFT_ENDS:g} dB of the loudest",
        )
        return {"lines": lines, "doubts": tuple(self._doubts())}

    def _doubts(self) -> list[str]:
        said = []
        soft = sum(value < _SOFT for value in self.loudness)
        if self.clipped > 0.1 * len(self.seconds):
            said.append("More than a tenth are clipped: they were recorded too loud.")
        if soft > 0.1 * len(self.seconds):
            said.append("More than a tenth are nearly silent (below -60 dB of full scale).")
        if len(self.rates) > 1:
            said.append("Rates differ: what was recorded at low ones lacks the upper bands.")
        return said
