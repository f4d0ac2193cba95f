"""Channels of several rates put on one clock, gaps left as gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.errors import DataError

FINEST = 0.01
"""Seconds between rows at the least; what comes faster than 100 times a second is thinned out."""

_OLD, _SLACK = 2.0, 1e-3
_MOST = 1 << 30


@dataclass(frozen=True)
class Stream:
    """What one topic said, in the order of time.

    Args:
        times: (M,) seconds.
        values: (M, K) what was said at each time, NaN where a number was not among it; may lie on
            the disk, of which parts are read.
        names: (K,) what the numbers are called.
        usual: seconds between messages, from `period`.
    """

    times: NDArray[np.float64]
    values: NDArray[Any]
    names: Sequence[str]
    usual: float


@dataclass(frozen=True)
class Clock:
    """Rows at equal steps.

    Args:
        begin: seconds at which the first one is.
        step: seconds from a row to the next.
        count: how many rows there are.
    """

    begin: float
    step: float
    count: int

    def at(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the times of some rows, (stop - start,)."""
        return np.asarray(self.begin + self.step * np.arange(start, stop), np.float64)


def period(times: NDArray[np.float64]) -> float:
    """Return the usual time between messages, 0 of one alone.

    >>> period(np.array([0.0, 0.1, 0.2, 5.0]))
    0.1
    """
    steps = np.diff(times)
    steps = steps[steps > 0]
    return round(float(np.median(steps)), 9) if len(steps) else 0.0


def clock(streams: Sequence[Stream]) -> Clock:
    """Return equal steps of the fastest stream, from the first message to the last.

    Raises:
        DataError: nothing was said, times run backwards, or there is too much of it.
    """
    spoken = [stream for stream in streams if len(stream.times)]
    if not spoken:
        raise DataError("it holds no message with a number")
    step = max(FINEST, min((s.usual for s in spoken if s.usual), default=0.0))
    begin = min(float(s.times[0]) for s in spoken)
    end = max(float(s.times[-1]) for s in spoken)
    count = int((end - begin) / step * (1 + 1e-9)) + 1
    numbers = count * sum(len(s.names) for s in spoken)
    if numbers > _MOST:
        raise DataError(
            f"it lasts {end - begin:,.0f} s with messages every {step:.3g} s, which are "
            f"{numbers:,} numbers; at most {_MOST:,} are read. Split it"
        )
    return Clock(begin, step, count)


def said(stream: Stream, by: Clock, start: int, stop: int) -> NDArray[np.float64]:
    """Return what was said last at some rows, (stop - start, K).

    What is older than twice the usual time between messages, or than twice a step, is missing: a
    stream that stops leaves a gap and no old value.
    """
    found = np.full((stop - start, len(stream.names)), np.nan)
    if not len(stream.times):
        return found
    now = by.at(start, stop)
    latest = np.searchsorted(stream.times, now + _SLACK * by.step, side="right") - 1  # (T,)
    first, last = int(max(latest[0], 0)), int(max(latest[-1], 0)) + 1
    place = np.maximum(latest, 0) - first
    age = now - np.asarray(stream.times[first:last])[place]
    fresh = (latest >= 0) & (age <= (_OLD + _SLACK) * max(stream.usual, by.step))
    found[fresh] = np.asarray(stream.values[first:last])[place[fresh]]
    return found
