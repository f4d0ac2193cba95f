"""Schedules: pure functions of progress in [0, 1]."""

from __future__ import annotations

import math


def cosine(start: float, end: float, progress: float) -> float:
    """Move from `start` to `end` along half a cosine.

    >>> cosine(1.0, 0.0, 0.0), cosine(1.0, 0.0, 1.0), round(cosine(1.0, 0.0, 0.5), 6)
    (1.0, 0.0, 0.5)
    """
    share = 0.5 * (1 - math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return start + (end - start) * share


def linear(start: float, end: float, progress: float) -> float:
    """Move from `start` to `end` along a line, and stay there.

    >>> linear(0.0, 2.0, 0.25), linear(0.0, 2.0, 3.0)
    (0.5, 2.0)
    """
    return start + (end - start) * min(max(progress, 0.0), 1.0)


def ramp(start: float, end: float, progress: float, over: float) -> float:
    """Move from `start` to `end` over the first share of a run, and stay there.

    >>> ramp(0.0, 2.0, 0.1, over=0.2), ramp(0.0, 2.0, 0.0, over=0.0)
    (1.0, 2.0)
    """
    return linear(start, end, progress / over if over else 1.0)


def warm_up(progress: float, warmup: float, shape: str, final: float) -> float:
    """Return the learning rate as a share of its peak.

    Rises on a line to 1 over the first `warmup` of the run, then falls to `final` at 1.

    Args:
        progress: in [0, 1].
        warmup: share of the run, in [0, 1).
        shape: ``cosine``, ``linear`` or ``constant``.
        final: last value, in [0, 1].

    >>> [round(warm_up(p, 0.1, "cosine", 0.0), 3) for p in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if progress < warmup:
        return progress / warmup
    rest = (progress - warmup) / (1 - warmup)
    if shape == "constant":
        return 1.0
    return (cosine if shape == "cosine" else linear)(1.0, final, rest)
