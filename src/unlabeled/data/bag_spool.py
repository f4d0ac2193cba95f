"""Numbers of a bag's messages in a temporary file, so that a long bag takes no memory.

Messages are decoded once, in the order of the file. What a topic says becomes rows of single
precision on the disk, in blocks, to which a number that is new adds a column. At the end they are
put in the order of time, topic after topic. The file has no name: it goes when the process does.
"""

from __future__ import annotations

import tempfile
import weakref
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.align import Clock, Stream, clock, period, said

_BLOCK = 1 << 14
_SINGLE = np.finfo(np.float32).max


class Spoken(NamedTuple):
    """A message: its topic, when it was recorded in nanoseconds, and its numbers by name."""

    topic: str
    time: int
    numbers: Mapping[str, float]


class _Topic:
    """A topic while messages come in."""

    def __init__(self) -> None:
        self.times = array("q")
        self.names: dict[str, int] = {}
        self.waiting: list[Mapping[str, float]] = []
        self.blocks: list[tuple[int, int, int]] = []  # where, rows, columns

    def flush(self, file: IO[bytes]) -> None:
        """Write what waits."""
        if not self.waiting:
            return
        for row in self.waiting:
            for name in row:
                self.names.setdefault(name, len(self.names))
        found = np.full((len(self.waiting), len(self.names)), np.nan)
        for i, row in enumerate(self.waiting):
            found[i, [self.names[name] for name in row]] = list(row.values())
        self.waiting.clear()
        place = file.seek(0, 2)
        file.write(_narrow(found).tobytes())
        self.blocks.append((place, *found.shape))


def _narrow(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return numbers in single precision, NaN for what is too large."""
    return np.where(np.abs(values) <= _SINGLE, values, np.nan).astype(np.float32)


class _Kept(NamedTuple):
    """A topic in the file: where its times and its values are."""

    names: tuple[str, ...]
    messages: int
    times: int
    values: int
    usual: float


class Spool:
    """The messages of a bag on one clock.

    Args:
        messages: in any order.

    Raises:
        DataError: nothing was said, or too much.
    """

    def __init__(self, messages: Iterable[Spoken]) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(prefix="unlabeled-bag-")  # noqa: SIM115
        weakref.finalize(self, self.file.close)
        with tempfile.TemporaryFile(prefix="unlabeled-bag-") as raw:
            topics = _decoded(messages, raw)
            first = min((min(t.times) for t in topics.values()), default=0)
            self.topics = [_sorted(t, raw, self.file, first) for t in topics.values()]
        self.file.flush()
        self.clock: Clock = clock([self._stream(kept) for kept in self.topics])
        self.places = {
            name: (number, place)
            for number, kept in enumerate(self.topics)
            for place, name in enumerate(kept.names)
        }

    def _stream(self, kept: _Kept) -> Stream:
        """Return a topic, mapped: of what lies on the disk only what is asked for is read."""
        if not kept.messages:
            return Stream(np.zeros(0), np.zeros((0, len(kept.names))), kept.names, kept.usual)
        shape = (kept.messages, len(kept.names))
        times = np.memmap(self.file, np.float64, "r", kept.times, (kept.messages,))
        values = np.memmap(self.file, np.float32, "r", kept.values, shape)
        return Stream(times, values, kept.names, kept.usual)

    def rows(self, names: Sequence[str], start: int, stop: int) -> NDArray[np.float64]:
        """Return channels of some rows, (stop - start, len(names)); ``time`` from the first on."""
        found = np.empty((stop - start, len(names)))
        kept: dict[int, NDArray[np.float64]] = {}
        for place, name in enumerate(names):
            if name == "time":
                found[:, place] = self.clock.at(start, stop) - self.clock.begin
                continue
            number, column = self.places[name]
            if number not in kept:
                kept[number] = said(self._stream(self.topics[number]), self.clock, start, stop)
            found[:, place] = kept[number][:, column]
        return found


def _decoded(messages: Iterable[Spoken], raw: IO[bytes]) -> dict[str, _Topic]:
    topics: dict[str, _Topic] = {}
    for topic, time, numbers in messages:
        if not numbers:
            continue
        it = topics.setdefault(topic, _Topic())
        it.times.append(time)
        it.waiting.append(numbers)
        if len(it.waiting) >= _BLOCK:
            it.flush(raw)
    for it in topics.values():
        it.flush(raw)
    return topics


def _sorted(topic: _Topic, raw: IO[bytes], file: IO[bytes], first: int) -> _Kept:
    """Write a topic in the order of time: its seconds, then its values with all columns."""
    stamps = np.frombuffer(topic.times, np.int64)
    names = sorted(topic.names)
    columns = [topic.names[name] for name in names]
    ordered = bool((np.diff(stamps) >= 0).all())
    order = None if ordered else np.argsort(stamps, kind="stable")
    seconds = ((stamps if order is None else stamps[order]) - first) / 1e9
    usual = period(seconds)
    times = file.seek(0, 2)
    file.write(seconds.tobytes())
    values = file.tell()
    for block in _blocks(topic, raw, order):
        file.write(np.ascontiguousarray(block[:, columns]).tobytes())
    return _Kept(tuple(names), len(stamps), times, values, usual)


def _blocks(
    topic: _Topic, raw: IO[bytes], order: NDArray[np.int64] | None
) -> Iterable[NDArray[np.float32]]:
    """Yield rows of all columns, in the order that they came in or in that of time."""
    raw.flush()
    width = len(topic.names)

    def read(number: int) -> NDArray[np.float32]:
        place, count, columns = topic.blocks[number]
        raw.seek(place)
        block = np.frombuffer(raw.read(4 * count * columns), np.float32).reshape(count, columns)
        return np.pad(block, ((0, 0), (0, width - columns)), constant_values=np.nan)

    if order is None:
        yield from (read(number) for number in range(len(topic.blocks)))
        return
    for start in range(0, len(order), _BLOCK):
        rows = order[start : start + _BLOCK]
        found = np.empty((len(rows), width), np.float32)
        for number in np.unique(rows // _BLOCK):
            here = rows // _BLOCK == number
            found[here] = read(int(number))[rows[here] % _BLOCK]
        yield found
