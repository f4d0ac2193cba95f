"""Which form a clip is stored in, by its first bytes, and whether all of it is there."""

from __future__ import annotations

from typing import BinaryIO

from unlabeled.errors import DataError

DEMUXERS = {"mp4": "mov", "matroska": "matroska", "avi": "avi"}
"""FFmpeg's names of the containers that it reads."""

PICTURES, ARRAYS = ("gif", "webp", "png"), ("npy", "npz")

_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"moof"})
_UNKNOWN = (0, 0xFFFFFFFF)
_MOST_BOXES = 1 << 20


def form(head: bytes) -> str:
    """Return the form of a file that begins so.

    Raises:
        DataError: it is none that is read.

    >>> form(b"GIF89a"), form(bytes(4) + b"ftypisom")
    ('gif', 'mp4')
    """
    if not head:
        raise DataError("it is empty")
    if head[4:8] in _BOXES:
        return "mp4"
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"WEBP"):
        return "avi" if head[8:12] == b"AVI " else "webp"
    for start, name in _STARTS.items():
        if head.startswith(start):
            return name
    known = ", ".join([*DEMUXERS, *PICTURES, *ARRAYS])
    raise DataError(f"it is not a clip of a known format ({known})")


_STARTS = {
    b"\x1aE\xdf\xa3": "matroska", b"GIF8": "gif", b"\x89PNG\r\n": "png",
    b"\x93NUMPY": "npy", b"PK\x03\x04": "npz",
}  # fmt: skip


def check_whole(name: str, file: BinaryIO, size: int) -> None:
    """Refuse a file that ends before what its container says, which FFmpeg often plays.

    Args:
        name: its form.
        file: the file, anywhere.
        size: its bytes.

    Raises:
        DataError: it is cut off.
    """
    end = {"mp4": _end_of_boxes, "matroska": _end_of_segment}.get(name, _end_of_riff)(file, size)
    if end > size:
        raise DataError(f"it is cut off: {size:,} of {end:,} bytes are there")


def _end_of_riff(file: BinaryIO, size: int) -> int:
    """Return where a RIFF file ends by its header."""
    file.seek(0)
    head = file.read(12)
    if head[:4] != b"RIFF" or len(head) < 12:
        return size
    stated = int.from_bytes(head[4:8], "little")
    return size if stated in _UNKNOWN else stated + 8


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """Return where the last box of an MP4 or QuickTime file ends."""
    position = 0
    for _ in range(_MOST_BOXES):
        if position + 8 > size:
            return position if position >= size else size + 8
        file.seek(position)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:16], "big")
        if length == 0:  # to the end of the file
            return size
        if length < 8:
            raise DataError(f"it is damaged (a box of {length} bytes)")
        position += length
        if position > size:
            return position
    raise DataError("it is damaged (too many boxes)")


def _end_of_segment(file: BinaryIO, size: int) -> int:
    """Return where the segment of a Matroska or WebM file ends; it may not be known."""
    position = 0
    for expected in (b"\x1aE\xdf\xa3", b"\x18S\x80g"):
        file.seek(position)
        head = file.read(12)
        if head[:4] != expected or len(head) < 5:
            raise DataError("it is damaged (no segment)" if position else "it is damaged")
        width = 9 - head[4].bit_length()
        value = int.from_bytes(head[4 : 4 + width], "big") & ((1 << 7 * width) - 1)
        if width > 8 or len(head) < 4 + width:
            raise DataError("it is damaged (a size that is none)")
        if value == (1 << 7 * width) - 1:  # a recording whose end was not known
            return size
        position += 4 + width + value
        if position > size:
            return position
    return position
