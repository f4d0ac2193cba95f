"""What is a clip: a file, a part of a long one, or the numbered pictures of a folder."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from unlabeled.data.derived import Derived
from unlabeled.data.folder import MAX_BYTES, Files, printable
from unlabeled.errors import DataError
from unlabeled.modalities import film
from unlabeled.modalities.film import Cutting
from unlabeled.modalities.flipbook import Stills
from unlabeled.modalities.headers import FORMATS

LONG, PIECE = 60.0, 10.0
"""Seconds above which a video is cut, and the length of its pieces."""

LARGE = 1 << 20
"""Bytes below which a file is not asked how long it is."""

_STILL = (b".png", b".jpg", b".jpeg", b".webp", b".apng")
_NUMBERED = re.compile(rb"^(.*?)(\d+)\.\w+$", re.DOTALL)


@dataclass(frozen=True, eq=False)
class Pieces(Derived):
    """A source of videos of which the long ones are several samples.

    Args:
        files: the files.
        groups: (N,) which file a sample is of; a split keeps them together.
        start: (N,) where it begins in seconds; -1 for a file that is not cut.
        stop: (N,) where it ends.
    """

    groups: NDArray[np.int64]
    start: NDArray[np.float64]
    stop: NDArray[np.float64]

    def __len__(self) -> int:
        """Return N."""
        return len(self.groups)

    def episode(self, index: int) -> str:
        """Return the name of the file that a sample is of."""
        return self.files.name(int(self.groups[index]))

    def name(self, index: int) -> str:
        """Return the file's name, for a piece of one with the second at which it begins."""
        name = self.episode(index)
        return name if self.start[index] < 0 else f"{name}@{self.start[index]:g}s"

    def payload(self, index: int, epoch: int = 0) -> Any:
        """Return the bytes of a file, or which piece of a long one is meant.

        Raises:
            DataError: with the reason.
        """
        file, start = int(self.groups[index]), float(self.start[index])
        if start < 0:
            return self.files.payload(file)
        return Cutting(self.files.path(file), start, float(self.stop[index]) - start)


@dataclass(frozen=True, eq=False)
class Rolls(Derived):
    """A source of which some samples are the numbered pictures of a folder.

    Args:
        files: all files.
        order: the files, those of a clip beside each other in the order of time.
        ends: (N + 1,) where each clip begins in `order`, and where the last ends.
        names: (N,) what each is called: the folder, with what names begin with if they do.
    """

    order: NDArray[np.int64]
    ends: NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Return N."""
        return len(self.names)

    def name(self, index: int) -> str:
        """Return the name of a clip."""
        return self.names[index]

    def payload(self, index: int, epoch: int = 0) -> Any:
        """Return the bytes of a file, or which pictures are meant.

        Raises:
            DataError: with the reason.
        """
        places = self.order[self.ends[index] : self.ends[index + 1]].tolist()
        if len(places) == 1:
            return self.files.payload(places[0])
        return Stills(tuple(self.files.path(place) for place in places))


def cut(files: Files) -> Files | Pieces | Rolls:
    """Return the clips of files: numbered pictures joined, long videos cut."""
    if any(files.names[i].lower().endswith(_STILL) for i in range(len(files))):
        return _joined(files)
    rows: list[tuple[int, float, float]] = []
    for index in range(len(files)):
        edges = _edges(*_length(files, index))
        if len(edges) < 2:
            rows.append((index, -1.0, -1.0))
        rows.extend((index, a, b) for a, b in pairwise(edges))
    if len(rows) == len(files) and all(start < 0 for _, start, _ in rows):
        return files
    table = np.asarray(rows, np.float64)
    return Pieces(files, table[:, 0].astype(np.int64), table[:, 1], table[:, 2])


def _edges(seconds: float, size: int) -> list[float]:
    """Return where pieces begin and end; equal pieces, so that none is a leftover of a blink."""
    if seconds <= LONG and (size <= MAX_BYTES or not seconds):
        return []
    count = max(1, round(seconds / PIECE))
    return [seconds * i / count for i in range(count + 1)]


def _length(files: Files, index: int) -> tuple[float, int]:
    """Return seconds and bytes of a large video; zeros for others."""
    path = files.path(index)
    try:
        size = os.stat(path).st_size
    except OSError:
        return 0.0, 0
    return (film.seconds(path), size) if size >= LARGE else (0.0, 0)


def _joined(files: Files) -> Rolls:
    """Join the pictures of a folder whose names differ in their last number alone."""
    clips: dict[tuple[bytes, bytes], list[tuple[int, int]]] = {}
    moving: dict[bytes, bool] = {}
    for index in range(len(files)):
        path = files.names[index]
        folder, name = os.path.split(path)
        found = _NUMBERED.match(name)
        still = found is not None and name.lower().endswith(_STILL)
        if still and folder not in moving:
            moving[folder] = _moves(files.path(index))
        if found is None or not still or moving[folder]:
            clips[path, b""] = [(0, index)]
        else:
            clips.setdefault((folder, found[1]), []).append((int(found[2]), index))
    order = [place for members in clips.values() for _, place in sorted(members)]
    ends = np.cumsum([0, *(len(members) for members in clips.values())])
    several = {f for f, count in Counter(folder for folder, _ in clips).items() if count > 1}
    names = tuple(
        printable(os.path.join(folder, prefix) if folder in several and prefix else folder or b".")
        for folder, prefix in clips
    )
    return Rolls(files, np.asarray(order, np.int64), ends, names)


def _moves(path: bytes) -> bool:
    """Say whether a picture has several frames, so that it is a clip by itself."""
    try:
        with PIL.Image.open(os.fsdecode(path), formats=FORMATS) as image:
            return getattr(image, "n_frames", 1) > 1
    except (OSError, ValueError, SyntaxError, DataError, PIL.Image.DecompressionBombError):
        return False
