"""Long recordings as many samples: cut by their headers, decoded piece by piece when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.derived import Derived
from unlabeled.data.folder import Files
from unlabeled.errors import DataError
from unlabeled.modalities import sound
from unlabeled.modalities.sound import Clip

LONG, PIECE = 60.0, 30.0
"""Seconds above which a recording is cut, and the length of its pieces."""

LARGE = 1 << 20
"""Bytes below which a file is not asked how long it is."""


@dataclass(frozen=True, eq=False)
class Pieces(Derived):
    """A source of files of which the long ones are several samples.

    Args:
        files: the files.
        file: (N,) which file a sample is of.
        start: (N,) where it begins in seconds; -1 for a file that is not cut.
        stop: (N,) where it ends.
    """

    file: NDArray[np.int64]
    start: NDArray[np.float64]
    stop: NDArray[np.float64]

    def __len__(self) -> int:
        """Return N."""
        return len(self.file)

    def name(self, index: int) -> str:
        """Return the file's name, for a piece of one with the second at which it begins."""
        name = self.files.name(int(self.file[index]))
        return name if self.start[index] < 0 else f"{name}@{self.start[index]:g}s"

    def whole(self, index: int) -> tuple[int, str, float]:
        """Return number and name of a sample's file, and the second at which it begins there."""
        file = int(self.file[index])
        return file, self.files.name(file), max(0.0, float(self.start[index]))

    def payload(self, index: int, epoch: int = 0) -> Any:
        """Return the bytes of a file, or which piece of a long one is meant.

        Raises:
            DataError: with the reason.
        """
        file, start = int(self.file[index]), float(self.start[index])
        if start < 0:
            return self.files.payload(file)
        return Clip(self.files.path(file), start, float(self.stop[index]) - start)


def cut(files: Files) -> Files | Pieces:
    """Return the same files with the long ones cut; files alone where none is long."""
    rows: list[tuple[int, float, float]] = []
    for index in range(len(files)):
        edges = _edges(_seconds(files, index))
        if len(edges) < 2:
            rows.append((index, -1.0, -1.0))
        rows.extend((index, a, b) for a, b in pairwise(edges))
    if len(rows) == len(files):
        return files
    table = np.asarray(rows, np.float64)
    return Pieces(files, table[:, 0].astype(np.int64), table[:, 1], table[:, 2])


def _edges(seconds: float) -> list[float]:
    """Return where pieces begin and end; equal pieces, so that none is a leftover of a blink."""
    if seconds <= LONG:
        return []
    count = round(seconds / PIECE)
    return [seconds * i / count for i in range(count + 1)]


def _seconds(files: Files, index: int) -> float:
    """Return how long a large file is; 0 for others, and where its header says nothing."""
    try:
        with files.stream(index) as stream:
            if stream.seek(0, 2) < LARGE:
                return 0.0
            stream.seek(0)
            return sound.seconds(stream)
    except (DataError, OSError):
        return 0.0
