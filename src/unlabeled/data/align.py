"""Channels of several rates put on one clock, gaps left as gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unlabeled.errors import DataError

FINEST = 0.01
"""Seconds between rows at the least; what comes faster than 100 times a second is thinned out."""

_OLD, _SLACK = 2.0, 1e-3
_MOST = 1 << 28


@dataclass(frozen=True)
class Stream:
    """What one topic said, in the order of time.

    Args:
        times: (M,) seconds.
        rows: what was said at each time, name -> number; not all names need be there.
    """

    times: NDArray[np.float64]
    rows: Sequence[Mapping[str, float]]


def period(times: NDArray[np.float64]) -> float:
    """Return the usual time between messages, 0 of one alone.

    >>> period(np.array([0.0, 0.1, 0.2, 5.0]))
    0.1
    """
    steps = np.diff(times)
    steps = steps[steps > 0]
    return round(float(np.median(steps)), 9) if len(steps) else 0.0


def align(streams: Sequence[Stream]) -> dict[str, NDArray[np.float64]]:
    """Return all channels at equal steps of the fastest stream, and ``time`` from the first on.

    A row holds what was said last. What is older than twice the usual time between messages of its
    stream, or than twice a step, is missing: a stream that stops leaves a gap and no old value.

    Raises:
        DataError: nothing was said, times run backwards, or there is too much of it.
    """
    spoken = [stream for stream in streams if len(stream.times)]
    if not spoken:
        raise DataError("it holds no message with a number")
    step = max(FINEST, min((period(s.times) for s in spoken if period(s.times)), default=0.0))
    begin = min(float(s.times[0]) for s in spoken)
    end = max(float(s.times[-1]) for s in spoken)
    count = int((end - begin) / step * (1 + 1e-9)) + 1
    names = [sorted({name for row in s.rows for name in row}) for s in spoken]
    if count * sum(map(len, names)) > _MOST:
        raise DataError(
            f"it lasts {end - begin:,.0f} s with messages every {step:.3g} s, which are "
            f"{count * sum(map(len, names)):,} numbers; at most {_MOST:,} are read. Split it"
        )
    clock = np.asarray(begin + step * np.arange(count), np.float64)
    found: dict[str, NDArray[np.float64]] = {"time": np.asarray(clock - begin, np.float64)}
    for stream, channels in zip(spoken, names, strict=True):
        latest = np.searchsorted(stream.times, clock + _SLACK * step, side="right") - 1  # (T,)
        age = clock - stream.times[np.maximum(latest, 0)]
        fresh = (latest >= 0) & (age <= (_OLD + _SLACK) * max(period(stream.times), step))
        for name in channels:
            said = np.array([row.get(name, np.nan) for row in stream.rows])
            found[name] = np.where(fresh, said[latest], np.nan)
    return found
