"""Grades: whether a column's name speaks of them, and in which order its values go.

The order is that of numbers, of numbers in words (``stage 2``, ``5 stars``), of Roman numerals,
or of words of a known scale (``low``, ``medium``, ``high``). Which end is the better one does not
matter: the score is the same from both sides.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

FEWEST, MOST = 3, 20
"""Grades that there must be, and may be, for their order to be used."""

NAMES = frozenset({
    "difficulty", "grade", "intensity", "level", "likert", "priority", "quality", "rank", "rating",
    "satisfaction", "score", "severity", "stage", "star", "tier",
})  # fmt: skip
"""Words in names of columns that speak of grades, in the singular."""

SCALES = (
    ("none", "very low", "low", "moderate", "high", "very high"),
    ("none", "very low", "low", "medium", "high", "very high", "extreme"),
    ("lowest", "low", "mid", "high", "highest"),
    ("none", "minimal", "mild", "moderate", "severe", "very severe", "critical"),
    ("normal", "mild", "moderate", "severe", "proliferative"),
    ("low", "minor", "moderate", "major", "critical"),
    ("low", "medium", "high", "urgent", "critical"),
    ("terrible", "very bad", "bad", "poor", "fair", "okay", "good", "very good", "great",
     "excellent", "outstanding"),
    ("bad", "average", "good", "excellent"),
    ("bad", "ok", "good"),
    ("very negative", "negative", "somewhat negative", "neutral", "somewhat positive", "positive",
     "very positive"),
    ("never", "rarely", "seldom", "occasionally", "sometimes", "often", "usually", "always"),
    ("strongly disagree", "disagree", "neutral", "agree", "strongly agree"),
    ("very dissatisfied", "dissatisfied", "neutral", "satisfied", "very satisfied"),
    ("tiny", "very small", "small", "medium", "large", "very large", "huge"),
    ("xs", "s", "m", "l", "xl", "xxl"),
    ("trivial", "very easy", "easy", "medium", "hard", "very hard"),
    ("easy", "medium", "difficult"),
    ("beginner", "elementary", "intermediate", "advanced", "expert"),
    ("weak", "medium", "strong"),
    ("bronze", "silver", "gold", "platinum"),
    ("a1", "a2", "b1", "b2", "c1", "c2"),
    ("a+", "a", "a-", "b+", "b", "b-", "c+", "c", "c-", "d+", "d", "d-", "e", "f"),
    ("i", "ia", "ib", "ii", "iia", "iib", "iii", "iiia", "iiib", "iiic", "iv", "iva", "ivb", "v",
     "vi", "vii", "viii", "ix", "x"),
)  # fmt: skip
"""Scales, each from one end to the other; any part of one is in its order."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_PREFIX = re.compile(r"(?:stage|grade|level|class|tier)\s+")


def spoken_of(column: str) -> bool:
    """Say whether the name of a column speaks of grades.

    >>> [spoken_of(name) for name in ("starRating", "tumor_stage", "stars", "label", "start")]
    [True, True, True, False, False]
    """
    words = {word.lower() for word in _WORD.findall(column)}
    return bool(NAMES & (words | {word.removesuffix("s") for word in words}))


def few(words: Collection[str]) -> bool:
    """Say whether there are as many values as there may be grades."""
    return FEWEST <= len(words) <= MOST


def in_order(words: Sequence[str]) -> list[str] | None:
    """Return values from one end of their scale to the other; None where no order is known.

    >>> in_order(["high", "Low", "medium"]), in_order(["stage 10", "stage 9", "stage 1"])
    (['Low', 'medium', 'high'], ['stage 1', 'stage 9', 'stage 10'])
    >>> in_order(["cat", "dog"]), in_order(["2 good", "0 bad", "1 fair"])
    (None, ['0 bad', '1 fair', '2 good'])
    """
    places = _by_scale(words) or _by_number(words)
    if places is None or len(set(places)) < len(places):
        return None
    return [word for _, word in sorted(zip(places, words, strict=True))]


def _by_number(words: Sequence[str]) -> list[float] | None:
    """Return the one number in each word; None where a word has none or several."""
    found = [_NUMBER.findall(re.sub(r"(?<=\w)-", " ", word)) for word in words]
    return None if any(len(part) != 1 for part in found) else [float(part[0]) for part in found]


def _by_scale(words: Sequence[str]) -> list[float] | None:
    plain = [_PREFIX.sub("", re.sub(r"[\s_-]+", " ", w.lower()).strip()) for w in words]
    marks = [word.lower().strip() for word in words]  # a minus says something of A-
    for scale in SCALES:
        for form in (marks, plain):
            if all(word in scale for word in form):
                return [float(scale.index(word)) for word in form]
    return None
