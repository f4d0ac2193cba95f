"""Times as people write them: ``90s``, ``10m``, ``1h30m``."""

from __future__ import annotations

import re

from unlabeled.errors import UsageError

_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")


def parse(text: str | float) -> float:
    """Return the seconds of a time; a bare number of a caller is seconds already.

    Raises:
        UsageError: not a time, or not more than zero.

    >>> parse("90s"), parse("10m"), parse("1h30m"), parse("0.5h"), parse(45)
    (90.0, 600.0, 5400.0, 1800.0, 45.0)
    """
    word = f"{text:g}s" if isinstance(text, int | float) else text.strip().lower().replace(" ", "")
    parts = _PART.findall(word)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    units = [unit for _, unit in parts]
    if "".join(n + u for n, u in parts) != word or units != sorted(set(units), key="dhms".index):
        raise UsageError(f"'{text}' is not a time. Write for example 90s, 10m or 1h30m.")
    if not 0 < seconds < float("inf"):
        raise UsageError(f"'{text}' is no time at all. Write for example 90s, 10m or 1h30m.")
    return seconds


def words(seconds: float) -> str:
    """Write seconds shortly.

    >>> words(5), words(90), words(5400), words(0.25)
    ('5 s', '1 min 30 s', '1 h 30 min', '0.2 s')
    """
    if seconds < 1:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} min {left} s" if left else f"{minutes} min"
    return f"{left} s"
