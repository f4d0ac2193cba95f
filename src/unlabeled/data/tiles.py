"""Very large images as many samples: cut by their headers, a tile decoded when it is asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.derived import Derived
from unlabeled.data.folder import Files
from unlabeled.errors import DataError
from unlabeled.modalities import stored
from unlabeled.modalities.headers import Box, Tile

LARGE, EDGE = 1 << 24, 512
"""Pixels above which an image is cut, and about the edge of its tiles."""

_SUFFIXES = (b".tif", b".tiff", b".npy")
"""Formats of which a part can be read without the rest."""

_SMALL = 1 << 16
"""Bytes below which a file is not asked how large it is."""


@dataclass(frozen=True, eq=False)
class Tiles(Derived):
    """A source of files of which the very large ones are several samples.

    Args:
        files: the files.
        file: (N,) which file a sample is of.
        box: (N, 4) top, left, bottom, right; -1 for a file that is not cut.
    """

    file: NDArray[np.int64]
    box: NDArray[np.int64]

    def __len__(self) -> int:
        """Return N."""
        return len(self.file)

    def name(self, index: int) -> str:
        """Return the file's name, for a tile of one with its left and top edge."""
        name, (top, left, *_) = self.files.name(int(self.file[index])), self.box[index]
        return name if top < 0 else f"{name}@{left},{top}"

    def payload(self, index: int, epoch: int = 0) -> Any:
        """Return the bytes of a file, or which tile of a large one is meant.

        Raises:
            DataError: with the reason.
        """
        file, box = int(self.file[index]), self.box[index].tolist()
        if box[0] < 0:
            return self.files.payload(file)
        return Tile(self.files.path(file), (box[0], box[1], box[2], box[3]))


def cut(files: Files) -> Files | Tiles:
    """Return the same files with the very large ones cut; files alone where none is."""
    rows: list[tuple[int, ...]] = []
    for index in range(len(files)):
        boxes = _boxes(*_size(files, index))
        rows.extend((index, *box) for box in boxes or [(-1, -1, -1, -1)])
    if len(rows) == len(files):
        return files
    table = np.asarray(rows, np.int64)
    return Tiles(files, table[:, 0], table[:, 1:])


def _boxes(height: int, width: int) -> list[Box]:
    """Return tiles of about equal size that cover an image; none if it is not large."""
    if height * width <= LARGE:
        return []
    rows, columns = _edges(height), _edges(width)
    return [
        (top, left, bottom, right)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]


def _edges(length: int) -> list[int]:
    count = max(1, round(length / EDGE))
    return [length * i // count for i in range(count + 1)]


def _size(files: Files, index: int) -> tuple[int, int]:
    """Return how large an image is; 0 x 0 for others, and where it cannot be read in parts."""
    path = files.path(index)
    try:
        if not path.lower().endswith(_SUFFIXES) or os.stat(path).st_size < _SMALL:
            return 0, 0
        with files.stream(index) as stream:
            found = stored.facts(stream)
    except (DataError, OSError):
        return 0, 0
    return (found.height, found.width) if found.cheap else (0, 0)
