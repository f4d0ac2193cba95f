"""Logs in HDF5 files as Minari, D4RL and robomimic lay them out, read with h5py.

An episode is a group of arrays of equal length (``episode_0/...``, ``data/demo_0/...``); a file
whose arrays lie at its top is one log, cut by its flags. Links out of a file are not followed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.log_arrays import columns_of
from unlabeled.data.log_columns import Array, Columns
from unlabeled.errors import DataError, MissingExtraError
from unlabeled.modalities.stretch import Values

_DEPTH = 6


class Hdf5Log(Columns):
    """An HDF5 file; a stretch of an array is read when it is asked for.

    Where its packed chunks are large, numbers are copied once (`log_shelf`).

    Raises:
        MissingExtraError: h5py is not installed.
        DataError: it is no HDF5 file, or holds no array of numbers.
    """

    def __init__(self, path: bytes) -> None:
        self.path = path
        self._file: Any = None
        with self._open() as file:
            groups = dict(_groups(file))
            if not groups:
                raise DataError("it holds no array of numbers")
            self.groups = sorted(groups, key=_by_number)
            lengths = []
            for name in self.groups:
                blocks, words, count = columns_of(groups[name], one_more=True)
                lengths.append(count)
                if name == self.groups[0]:
                    first = blocks, words
        if len(groups) == 1:
            self.packed([groups[self.groups[0]][name] for name in first[0]])
        self.starts = np.concatenate([[0], np.cumsum(lengths)])
        super().__init__(first[0], int(self.starts[-1]), first[1])

    def _open(self) -> Any:
        try:
            import h5py
        except ImportError:
            raise MissingExtraError(
                'HDF5 files are read with h5py, which is missing: pip install "unlabeled[robots]"'
            ) from None
        try:
            return h5py.File(os.fsdecode(self.path), "r")
        except (OSError, ValueError) as error:
            raise DataError(f"it is no HDF5 file ({error})") from None

    def episodes(self) -> list[tuple[str, int, int]]:
        """Return one episode a group; a file without groups is cut by its flags."""
        if self.groups == [""]:
            return super().episodes()
        edges = self.starts.tolist()
        return [
            (name.rpartition("/")[2], a, b)
            for name, a, b in zip(self.groups, edges[:-1], edges[1:], strict=True)
        ]

    def block(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return a column of some rows, which are of one episode."""
        group = int(np.searchsorted(self.starts, start, side="right")) - 1
        first = int(self.starts[group])
        place = _place(self.groups[group], name)
        with contextlib.nullcontext(self._file) if self._file else self._open() as file:
            try:
                found = file[place][start - first : stop - first]
            except (KeyError, OSError, ValueError, TypeError) as error:
                raise DataError(f"its array '{place}' cannot be read ({error})") from None
        return np.asarray(found)

    def rows(self, names: Sequence[str], start: int, stop: int) -> Values:
        """Return channels of some rows; the file is opened once for all."""
        if self.large:
            return super().rows(names, start, stop)
        with self._open() as self._file:
            try:
                return super().rows(names, start, stop)
            finally:
                self._file = None


def _place(group: str, column: str) -> str:
    """Return where an array lies in a file."""
    return "/".join(part for part in (group, column.replace(".", "/")) if part)


def _by_number(name: str) -> tuple[str, int]:
    """Sort ``demo_10`` after ``demo_9``."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or -1)


def _groups(file: Any) -> Iterator[tuple[str, dict[str, Array]]]:
    """Yield episodes: the uppermost groups with arrays, each with all arrays below it."""
    pending = [("", file)]
    while pending:
        name, group = pending.pop()
        arrays = dict(_arrays(group, 0))
        if any("." not in key for key in arrays):
            yield name, arrays
            continue
        inner = [(f"{name}/{key}".lstrip("/"), item) for key, item in _children(group)]
        pending.extend((place, item) for place, item in inner if hasattr(item, "keys"))


def _children(group: Any) -> Iterator[tuple[str, Any]]:
    """Yield what lies in a group itself; links to elsewhere are left alone."""
    import h5py

    for key in group:
        if isinstance(group.get(key, getlink=True), h5py.HardLink):
            yield key, group[key]


def _arrays(group: Any, depth: int) -> Iterator[tuple[str, Array]]:
    for key, item in _children(group):
        if hasattr(item, "keys"):
            if depth < _DEPTH:
                for name, array in _arrays(item, depth + 1):
                    yield f"{key}.{name}", array
        elif not item.external and item.dtype.kind in "fiub":
            packed = item.compression or item.shuffle or item.scaleoffset
            yield key, Array(tuple(item.shape), item.dtype, item.chunks if packed else ())
