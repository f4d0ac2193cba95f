"""Pictures, sounds and texts of RUN/samples, made safe to put into a page."""

from __future__ import annotations

import base64
import binascii
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

_MAX_FILE = 20_000_000
_MAX_PIXELS = 16_000_000
_MAX_EDGE = 1400
_MAX_SOUND = 100_000
_LOSSLESS = 40_000


@dataclass(frozen=True, slots=True)
class Picture:
    """An image inside the page: a data address, and its size on the page in pixels."""

    address: str
    width: int
    height: int


def picture(path: Path, scale: int = 1) -> Picture | None:
    """Decode an image and write it again, small; what does not decode gives None.

    Encoding anew means that only pixels reach the page, whatever the file held.
    """
    try:
        if not path.is_file() or path.stat().st_size > _MAX_FILE:
            return None
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > _MAX_PIXELS:
                return None
            small = image.convert("RGBA" if "A" in image.getbands() else "RGB")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    if max(small.size) > _MAX_EDGE:
        small.thumbnail((_MAX_EDGE, _MAX_EDGE))
    data, kind = _encode(small)
    text = base64.b64encode(data).decode("ascii")
    return Picture(f"data:image/{kind};base64,{text}", small.width * scale, small.height * scale)


def audible(text: Any) -> str:
    """Return a small WAV file in base64 as a data address, written again; else nothing."""
    try:
        data = base64.b64decode(str(text or ""), validate=True)
    except (ValueError, binascii.Error):
        return ""
    if not data.startswith(b"RIFF") or data[8:12] != b"WAVE" or len(data) > _MAX_SOUND:
        return ""
    return f"data:audio/wav;base64,{base64.b64encode(data).decode('ascii')}"


def _encode(image: Image.Image) -> tuple[bytes, str]:
    """Return PNG where that is small, else lossy WebP."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    if buffer.tell() <= _LOSSLESS:
        return buffer.getvalue(), "png"
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=85, method=4)
    return buffer.getvalue(), "webp"


def record(path: Path) -> dict[str, Any]:
    """Read a small JSON table of RUN/samples; absent or damaged gives an empty one."""
    try:
        if path.stat().st_size > _MAX_FILE:
            return {}
        tree = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


def short(text: Any, limit: int = 400) -> str:
    """Cut a long text at a word.

    >>> short("one two three", 9)
    'one two …'
    """
    words = str(text)
    if len(words) <= limit:
        return words
    return words[:limit].rsplit(" ", 1)[0] + " …"
