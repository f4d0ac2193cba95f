"""Labelled samples of one source, with what they look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from unlabeled.data.find import Source
from unlabeled.data.labels import Labels
from unlabeled.data.sketch import Sketches
from unlabeled.transfer.label_curve import hold_out


@dataclass(frozen=True)
class Part:
    """Labelled samples of one source.

    Args:
        source: where they come from.
        labels: their labels.
        looks: what they look like, where near-duplicates are looked for.
    """

    source: Source
    labels: Labels
    looks: Sketches | None = None

    def take(self, rows: NDArray[Any]) -> Part:
        """Return the part at `rows` (positions or a mask)."""
        looks = None if self.looks is None else self.looks.take(rows)
        return Part(self.source, self.labels.take(rows), looks)

    def fewer(self, most: int, seed: int) -> Part:
        """Return at most so many samples, of all classes alike."""
        if len(self) <= most:
            return self
        return self.take(hold_out(self.labels.y, 1.0, most, seed))

    def __len__(self) -> int:
        """Return how many samples there are."""
        return len(self.labels)
