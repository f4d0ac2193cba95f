"""Which documents are no running text, and which are in another language; options, off by default.

The rules are Gopher's (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1), made for web pages: use
them where pages are mixed with menus and lists, not on logs, code or short messages.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import Any

from unlabeled.errors import UsageError

HEAD = 1 << 16
"""Characters of a document that are looked at."""

_STOP = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
_BULLETS = ("-", "*", "•", "‣", "●")
_NGRAMS = {2: 0.20, 3: 0.18, 4: 0.16}
"""Largest share of characters in the most frequent n-gram of words (table A1)."""


def fault(text: str) -> str | None:
    """Return why a document is no running text, or None.

    >>> fault("Buy now!")
    'fewer than 50 words'
    """
    words = text.split()
    lines = [line for line in text.splitlines() if line.strip()]
    mean = sum(map(len, words)) / max(len(words), 1)
    checks = (
        ("fewer than 50 words", len(words) < 50),
        ("more than 100,000 words", len(words) > 100_000),
        ("words too short or too long", not 3 <= mean <= 10),
        ("many symbols", _symbols(text) > 0.1 * len(words)),
        ("mostly bullets", _share(lines, lambda x: x.lstrip().startswith(_BULLETS)) > 0.9),
        ("lines that break off", _share(lines, lambda x: x.rstrip().endswith(("...", "…"))) > 0.3),
        ("few letters", _share(words, lambda x: any(map(str.isalpha, x))) < 0.8),
        ("no stop words", len(_STOP & {word.lower().strip(".,;") for word in words}) < 2),
        ("repeated lines", len(set(lines)) < 0.7 * len(lines)),
        ("repeated phrases", _repeats(words)),
    )
    return next((reason for reason, holds in checks if holds), None)


def _symbols(text: str) -> int:
    return text.count("#") + len(re.findall(r"\.\.\.|…", text))


def _share(items: list[str], holds: Any) -> float:
    return float(sum(map(holds, items)) / max(len(items), 1))


def _repeats(words: list[str]) -> bool:
    """Return whether one phrase makes up much of a text."""
    characters = max(sum(map(len, words)), 1)
    for size, most in _NGRAMS.items():
        counts = Counter(zip(*(words[start:] for start in range(size)), strict=False))
        if counts:
            phrase, count = counts.most_common(1)[0]
            if count > 1 and count * sum(map(len, phrase)) > most * characters:
                return True
    return False


@cache
def _languages() -> Any:
    try:
        import py3langid
    except ImportError:
        raise UsageError(
            "data.languages needs the package py3langid: pip install 'unlabeled[text]'."
        ) from None
    return py3langid


def language(text: str) -> str:
    """Return the ISO 639-1 code of the likeliest language of a document's beginning."""
    return str(_languages().classify(text[:4096])[0])
