"""A stretch of a log: what a modality reads of an episode without holding the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]


class Log(Protocol):
    """Rows of numbers in a file, read a stretch at a time."""

    @property
    def names(self) -> Sequence[str]:
        """Return the names of its columns of numbers."""

    @property
    def words(self) -> Sequence[str]:
        """Return the names of its columns that hold no numbers."""

    def __len__(self) -> int:
        """Return how many rows it has."""

    def rows(self, names: Sequence[str], start: int, stop: int) -> Values:
        """Return columns of some rows, (stop - start, len(names)); what is missing is NaN.

        Raises:
            DataError: they cannot be read, or a column is not there.
        """


@dataclass(frozen=True)
class Stretch:
    """Rows `start` to `stop` of a log.

    Args:
        log: where they lie.
        start: the first row.
        stop: the row after the last.
    """

    log: Log
    start: int
    stop: int

    def __len__(self) -> int:
        """Return how many bytes its numbers take."""
        return 4 * (self.stop - self.start) * len(self.log.names)

    def __bytes__(self) -> bytes:
        """Return all its numbers, by which copies are known."""
        return self.read(self.log.names).tobytes()

    def read(self, names: Sequence[str]) -> Values:
        """Return columns of its rows, (T, C); what is missing is NaN.

        Raises:
            DataError: they cannot be read, or a column is not there.
        """
        return self.log.rows(names, self.start, self.stop)
