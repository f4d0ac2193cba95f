"""Numbers as a person reads them."""

from __future__ import annotations

import math
from typing import Any

from unlabeled.duration import words

MISSING = "–"


def real(value: Any) -> float | None:
    """Return `value` as a finite float, or None when it is not one.

    >>> real("3"), real(float("nan")), real(True), real(2)
    (None, None, None, 2.0)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def number(value: Any, digits: int = 3) -> str:
    """Write a number with `digits` significant digits; thousands get separators.

    >>> number(0.012345), number(1234567), number(2.0), number(None), number(3e-9)
    ('0.0123', '1,234,567', '2', '–', '3e-09')
    """
    found = real(value)
    if found is None:
        return MISSING
    if found == int(found) and abs(found) < 1e15:
        return f"{int(found):,}"
    if abs(found) >= 10 ** (digits - 1):
        return f"{found:,.0f}"
    text = f"{found:.{digits}g}"
    return text if "e" in text or abs(found) < 1e-3 else f"{float(text):.10g}"


def percent(value: Any, digits: int = 1) -> str:
    """Write a share as a percentage.

    >>> percent(0.0431), percent(None)
    ('4.3 %', '–')
    """
    found = real(value)
    return MISSING if found is None else f"{100 * found:.{digits}f} %"


def duration(seconds: Any) -> str:
    """Write a span of time.

    >>> duration(42.4), duration(8100), duration(None)
    ('42 s', '2 h 15 min', '–')
    """
    found = real(seconds)
    return MISSING if found is None or found < 0 else words(found)


def size(num_bytes: Any) -> str:
    """Write an amount of memory.

    >>> size(512), size(3_500_000_000)
    ('512 B', '3.5 GB')
    """
    found = real(num_bytes)
    if found is None:
        return MISSING
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(found) < 1000 or unit == "TB":
            return f"{number(found)} {unit}" if unit == "B" else f"{found:.1f} {unit}"
        found /= 1000
    raise AssertionError("unreachable")


def plain(value: Any) -> str:
    """Write any configuration value on one line.

    >>> plain([1, 2]), plain(None), plain("x"), plain(True), plain({"a": 0.1})
    ('1, 2', '–', 'x', 'yes', 'a 0.1')
    """
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value, 4)
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(part) for part in value)
    return str(value)
