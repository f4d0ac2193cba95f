"""Bytes to text, whatever the bytes are: nothing here raises, everything is counted.

Imports neither torch nor tokenizers, so that looking at a folder is instant.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from unlabeled.errors import DataError

PIECE = 64 * 1024
"""Characters in a piece; longer documents reach the tokenizer in pieces."""

_CHUNK = 1 << 20
"""Bytes that a file is read by."""

MAX_REPLACED = 0.1
"""Share of replaced characters above which a document is no text and is quarantined."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass
class Damage:
    """What decoding had to change so far."""

    characters: int = 0
    replaced: int = 0

    @property
    def share(self) -> float:
        """Return the share of characters that were replaced."""
        return self.replaced / max(self.characters, 1)


def detect(head: bytes) -> tuple[str, int]:
    r"""Return the encoding that the first bytes tell, and the length of the byte order mark.

    UTF-16 without a mark shows as every second byte being zero.

    >>> detect(b"plain"), detect("\ufeffa".encode("utf-16-le"))
    (('utf-8', 0), ('utf-16-le', 2))
    """
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    pairs = max(len(head) // 2, 1)
    if len(head) >= 4 and head[1::2].count(0) > 0.4 * pairs and head[::2].count(0) == 0:
        return "utf-16-le", 0
    if len(head) >= 4 and head[::2].count(0) > 0.4 * pairs and head[1::2].count(0) == 0:
        return "utf-16-be", 0
    return "utf-8", 0


def clean(text: str, damage: Damage) -> str:
    r"""Replace NULs and lone surrogates, which tokenizers refuse, and count them.

    >>> clean("a\0b\ud800", Damage()) == "a\ufffdb\ufffd"
    True
    """
    damage.characters += len(text)
    if "\0" in text:
        damage.replaced += text.count("\0")
        text = text.replace("\0", _REPLACEMENT)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        lone = sum("\ud800" <= letter <= "\udfff" for letter in text)
        damage.replaced += lone
        text = "".join(_REPLACEMENT if "\ud800" <= c <= "\udfff" else c for c in text)
    return text


def decode(data: bytes) -> str:
    r"""Decode one document.

    Raises:
        DataError: more than a tenth of it had to be replaced: it is no text.

    >>> decode(b"caf\xc3\xa9 au lait \xff!") == "café au lait \ufffd!"
    True
    """
    encoding, mark = detect(data[:1024])
    text, damage = data[mark:].decode(encoding, "replace"), Damage()
    damage.replaced += text.count(_REPLACEMENT) - data.count(_REPLACEMENT.encode())
    text = clean(text, damage)
    refuse(damage)
    return text


def refuse(damage: Damage) -> None:
    """Raise for a document that is mostly replacements.

    Raises:
        DataError: with the share that was replaced.
    """
    if damage.share > MAX_REPLACED:
        raise DataError(
            f"{damage.share:.0%} of the characters are not valid text "
            f"(at most {MAX_REPLACED:.0%} may be replaced)."
        )


def stream(file: BinaryIO) -> Iterator[str]:
    r"""Decode a file of any size in pieces, cut as `pieces` cuts the whole text.

    >>> import io
    >>> list(stream(io.BytesIO(b"caf\xc3\xa9 " * 3)))
    ['café café café ']
    """
    head = file.read(1024)
    encoding, mark = detect(head)
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    text, chunk = "", head[mark:]
    while chunk:
        *whole, text = [*pieces(text + decoder.decode(chunk))] or [""]
        yield from whole
        chunk = file.read(_CHUNK)
    yield from pieces(text + decoder.decode(b"", final=True))


def pieces(text: str, size: int = PIECE) -> Iterator[str]:
    """Cut a long text into pieces, before a white space where there is one.

    >>> list(pieces("one two three", 8))
    ['one two', ' three']
    """
    start = 0
    while len(text) - start > size:
        stop = start + size
        space = max(text.rfind(" ", start + size // 2, stop), text.rfind("\n", start + 1, stop))
        cut = space if space > start else stop
        yield text[start:cut]
        start = cut
    if start < len(text):
        yield text[start:]
