"""Letters: which are part of a word, and which belong to scripts without spaces between words."""

from __future__ import annotations

_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic marks and zero
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)
_LEADING = frozenset(chr(byte) for byte in range(0xE3, 0xEA))
"""First bytes of Kana and Han in UTF-8, as byte-level tokenizers spell them (latin-1)."""


def inside(letter: str) -> bool:
    """Return whether a letter is part of a word.

    The replacement character is: it stands for a part of a letter.
    """
    return letter.isalnum() or letter == "\N{REPLACEMENT CHARACTER}"


def unspaced(letter: str) -> bool:
    """Return whether a letter is of a script that puts no spaces between words.

    >>> [unspaced(letter) for letter in ("a", "é", "漢", "カ", "ก", "한")]
    [False, False, True, True, True, False]
    """
    return bool(letter) and any(low <= ord(letter) <= high for low, high in _RANGES)


def unspaced_byte(letter: str) -> bool:
    """Return whether a byte-level token begins with the first byte of such a letter."""
    return letter in _LEADING
