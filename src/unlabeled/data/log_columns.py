"""Columns of a log, whatever its format: names, widths, and where its episodes end."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.log_shelf import LARGE, Stamp, shelf
from unlabeled.errors import DataError, nearest
from unlabeled.modalities.roles import role
from unlabeled.modalities.stretch import Values

_BLOCK = 1 << 16
_TRUE = ("1", "1.0", "True", "true", "TRUE")


class Array(NamedTuple):
    """An array in a file, before it is read; and the packed chunks, if it lies in those."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: tuple[int, ...] = ()

    @property
    def unpacked(self) -> int:
        """Return the bytes that are unpacked to read a row."""
        return int(np.prod(self.chunk)) * self.dtype.itemsize if self.chunk else 0


class Columns:
    """A log whose columns hold a number or a vector a row; formats say how a column is read.

    Args:
        blocks: name of each column of numbers -> numbers a row; 0 for a column that is no vector.
        num_rows: how many rows there are.
        words: names of the columns that hold no numbers.

    Attributes:
        vectors: names of what is in a vector, where a format says them; else it is numbered.
        large: whether much is unpacked to read a row; the numbers are then copied once.
        stamp: path, size and time of change of a log that is large.
    """

    large = False
    path: bytes
    stamp: Stamp
    step = 1 << 16

    def __init__(self, blocks: Mapping[str, int], num_rows: int, words: Sequence[str] = ()) -> None:
        self.blocks, self.num_rows, self.words = dict(blocks), num_rows, tuple(words)
        self.vectors: Mapping[str, Sequence[str]] = {}

    def __len__(self) -> int:
        """Return how many rows there are."""
        return self.num_rows

    def block(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return a column of some rows, (T,) or (T, W); numbers, or words of a column of those."""
        raise NotImplementedError

    def pieces(self, name: str) -> Iterator[Values]:
        """Yield a column of numbers from its first row to its last, (T, W) at a time.

        Raises:
            DataError: it cannot be read.
        """
        for start in range(0, self.num_rows, self.step):
            stop = min(start + self.step, self.num_rows)
            yield self._narrowed(self.block(name, start, stop))

    def packed(self, arrays: Sequence[Array]) -> None:
        """Say of which arrays the columns of numbers are, so that large chunks are copied once."""
        about = os.stat(self.path)
        self.stamp = self.path, about.st_size, about.st_mtime_ns
        self.large = max((array.unpacked for array in arrays), default=0) > LARGE
        self.step = max([self.step, *(array.chunk[0] for array in arrays if array.chunk)])

    @cached_property
    def _places(self) -> dict[str, tuple[str, int]]:
        """Return name of a channel -> (column, place in its vector)."""
        return {
            (f"{name}.{self._part(name, i)}" if width else name): (name, i)
            for name, width in self.blocks.items()
            for i in range(max(1, width))
        }

    def _part(self, name: str, number: int) -> str:
        """Return what a number of a vector is called."""
        names = self.vectors.get(name, ())
        return names[number] if len(names) == self.blocks[name] else str(number)

    @property
    def names(self) -> Sequence[str]:
        """Return the names of all channels; those of a vector are numbered."""
        return tuple(self._places)

    def rows(self, names: Sequence[str], start: int, stop: int) -> Values:
        """Return channels of some rows, (stop - start, len(names)); what is missing is NaN.

        Raises:
            DataError: they cannot be read, or a channel is not there.
        """
        self.check(names)
        found = np.full((stop - start, len(names)), np.nan, np.float32)
        kept: dict[str, NDArray[Any]] = {}
        for place, name in enumerate(names):
            column, number = self._places[name]
            if column not in kept:
                kept[column] = self._checked(column, start, stop)
            found[:, place] = kept[column][:, number]
        return found

    def check(self, names: Sequence[str]) -> None:
        """Refuse names that no channel has.

        Raises:
            DataError: with the nearest one.
        """
        for name in names:
            if name not in self._places:
                raise DataError(f"it has no column '{name}'{nearest(name, self._places)}")

    def _checked(self, column: str, start: int, stop: int) -> NDArray[Any]:
        """Return a column of numbers as (T, W), with NaN for what is not finite or too large."""
        copy = shelf(self) if self.large else None
        if copy is not None:
            return copy.block(column, start, stop)
        values = self._narrowed(self.block(column, start, stop))
        if len(values) != stop - start:
            raise DataError(f"column '{column}' ends after {start + len(values):,} rows")
        return values

    @staticmethod
    def _narrowed(values: NDArray[Any]) -> Values:
        """Return numbers as (T, W) in single precision."""
        values = np.asarray(values, np.float64)
        return narrow(values.reshape(len(values), -1))

    def episodes(self) -> list[tuple[str, int, int]]:
        """Return (label, first row, row after the last) of each episode.

        A column of episode numbers decides; without one, flags that an episode is over; without
        those the log is one episode, which has no label.
        """
        if not self.num_rows:
            return []
        numbers = next(
            (name for name in (*self.blocks, *self.words) if role(name) == "episode"), None
        )
        return self._by_flags() if numbers is None else self._by_numbers(numbers)

    def _by_numbers(self, name: str) -> list[tuple[str, int, int]]:
        """Cut where the number, or the name, of the episode changes."""
        starts: list[int] = []
        labels: list[str] = []
        last: Any = None
        for first, column in self._blocks(name):
            changed = np.flatnonzero(column[1:] != column[:-1]) + 1
            here = [0, *changed.tolist()] if last is None or column[0] != last else changed.tolist()
            starts += [first + place for place in here]
            labels += [_label(column[place]) for place in here]
            last = column[-1]
        return list(zip(labels, starts, [*starts[1:], self.num_rows], strict=True))

    def _by_flags(self) -> list[tuple[str, int, int]]:
        """Cut after rows where a flag says that an episode is over."""
        ends: set[int] = set()
        for name in (*self.blocks, *self.words):
            if role(name) == "done" and self.blocks.get(name, 0) <= 1:
                for first, column in self._blocks(name):
                    # Numbers are compared as such: as words they would take a hundred bytes each.
                    over = column == 1 if column.dtype.kind in "fiub" else _true(column)
                    ends.update((first + 1 + np.flatnonzero(over)).tolist())
        edges = [0, *sorted(ends - {self.num_rows}), self.num_rows]
        if len(edges) == 2:
            return [("", 0, self.num_rows)]
        return [(str(i), a, b) for i, (a, b) in enumerate(pairwise(edges))]

    def _blocks(self, name: str) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the first row and the values of parts of a column."""
        for start in range(0, self.num_rows, _BLOCK):
            part = np.asarray(self.block(name, start, min(start + _BLOCK, self.num_rows)))
            if len(part):
                yield start, part.reshape(len(part), -1)[:, 0]


def _true(words: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(np.isin(words.astype(np.str_), _TRUE))


def narrow(values: NDArray[np.float64]) -> Values:
    """Return numbers in single precision, NaN for what is not finite or too large for it."""
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    found[~np.isfinite(found)] = np.nan
    return found


def _label(value: Any) -> str:
    """Return an episode's number or name as it is written in the file.

    >>> _label(np.float64(3.0)), _label("a")
    ('3', 'a')
    """
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return str(value)
