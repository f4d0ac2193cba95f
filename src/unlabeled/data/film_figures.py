"""Figures of clips for `inspect`: how long, how large, how fast, how coded, how much moves."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from unlabeled.data.inspect import Looks
from unlabeled.modalities.film import Limits
from unlabeled.modalities.video import Payload, decode

_STILL = 0.5
_LIMITS = Limits(edge=64, keep=16, max_frames=1_000_000)


class FilmFigures(Looks):
    """Figures of clips."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []
        self.rates: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()
        self.codecs: Counter[str] = Counter()
        self.seconds = 0.0
        self.still = 0

    def measure(self, data: Payload) -> None:
        """Measure one item."""
        found = decode(data, _LIMITS)
        self.counts.append(found.count)
        self.codecs[found.codec] += 1
        self.sizes[f"{found.width} x {found.height}"] += 1
        if found.rate:
            self.rates[f"{found.rate:.4g}"] += 1
            self.seconds += found.count / found.rate
        apart = np.abs(np.diff(found.frames.astype(np.float32), axis=0))
        self.still += not len(apart) or float(apart.mean()) < _STILL

    def figures(self) -> dict[str, Any]:
        """Return what was measured, as lines and doubts."""
        if not self.counts:
            return {"lines": ()}
        low, middle, high = (int(np.quantile(self.counts, q)) for q in (0, 0.5, 1))
        minutes = f"; {self.seconds / 60:,.1f} minutes in all" if self.seconds else ""
        lines = (
            f"Length: {low:,} to {high:,} frames, median {middle:,}{minutes}",
            f"Frames a second: {_listing(self.rates) or 'not said'}; frames: "
            f"{_listing(self.sizes)} px; coded as {_listing(self.codecs)}",
            f"Nothing moves in {self.still:,}",
        )
        return {"lines": lines, "doubts": tuple(self._doubts())}

    def _doubts(self) -> list[str]:
        said = []
        if self.still > 0.1 * len(self.counts):
            said.append("In more than a tenth nothing moves: images would say as much.")
        if len(self.rates) > 1:
            said.append(
                "Frames a second differ: the same stride shows more of one clip than of another; "
                "modality.stride=0 spreads frames over each."
            )
        return said


def _listing(found: Counter[str]) -> str:
    listed = ", ".join(f"{name} {count:,}" for name, count in found.most_common(4))
    return listed + (", ..." if len(found) > 4 else "")
