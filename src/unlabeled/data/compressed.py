"""Text in gz and zst files, read as a stream: nothing is unpacked to a disk or kept in memory.

A file that unpacks to far more than text can is refused, after little of it was read.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from typing import Any, BinaryIO, cast

from unlabeled.errors import DataError, UsageError

PACKED = frozenset({".gz", ".zst"})
MOST_RATIO = 200
"""How many times its size a file may unpack to; text and logs come to 3 to 100."""
FREE = 1 << 26
"""Bytes that come out before the ratio is looked at."""
WINDOW = 1 << 27
"""Most memory that a zst file may ask for."""
_STEP = 1 << 16


def suffix_of(name: bytes | str) -> str:
    """Return the ending of a file name in small letters; of a packed one that of what is in it.

    >>> suffix_of("a/Notes.TXT.gz"), suffix_of(b"b.csv"), suffix_of("c.tar.zst")
    ('.txt', '.csv', '.tar')
    """
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    root, ending = os.path.splitext(text)
    return os.path.splitext(root if ending.lower() in PACKED else text)[1].lower()


def is_packed(name: bytes | str) -> bool:
    """Return whether a name says that a file is packed."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    return os.path.splitext(text)[1].lower() in PACKED


def unpacked(raw: BinaryIO, name: bytes | str) -> BinaryIO:
    """Return a stream of what is in a packed file; others are returned as they are.

    Raises:
        UsageError: zst needs a package that is not installed.
    """
    if not is_packed(name):
        return raw
    ending = os.path.splitext(os.fsdecode(name))[1].lower()
    return cast("BinaryIO", io.BufferedReader(_Plain(raw, ending), _STEP))


class _Plain(io.RawIOBase):
    """What is in a packed file; going back begins again at its start."""

    def __init__(self, raw: BinaryIO, ending: str) -> None:
        self.raw, self.ending, self.at = raw, ending, 0
        self.size = os.fstat(raw.fileno()).st_size
        self.inner = self._open()

    def _open(self) -> Any:
        self.raw.seek(0)
        if self.ending == ".gz":
            return gzip.GzipFile(fileobj=self.raw, mode="rb")
        try:
            import zstandard
        except ImportError:
            raise UsageError(
                "zst files need the package zstandard: pip install 'unlabeled[text]'."
            ) from None
        return zstandard.ZstdDecompressor(max_window_size=WINDOW).stream_reader(
            self.raw, read_across_frames=True, closefd=False
        )

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True; going on reads what lies between."""
        return True

    def fileno(self) -> int:
        """Return that of the packed file."""
        return self.raw.fileno()

    def tell(self) -> int:
        """Return how many bytes came out."""
        return self.at

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes.

        Raises:
            DataError: the file is damaged, or unpacks to more than text can.
        """
        try:
            data = self.inner.read(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"it cannot be unpacked ({error})") from None
        except Exception as error:  # of zstandard, which need not be there
            if type(error).__name__ != "ZstdError":
                raise
            raise DataError(f"it cannot be unpacked ({error})") from None
        buffer[: len(data)] = data
        self.at += len(data)
        if self.at > max(FREE, MOST_RATIO * self.size):
            raise DataError(
                f"its {self.size:,} bytes unpack to more than {MOST_RATIO} times as many, which "
                "text does not"
            )
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place from the start."""
        if whence == os.SEEK_CUR:
            offset += self.at
        elif whence != os.SEEK_SET:
            raise io.UnsupportedOperation("the end of a packed file is not known")
        if offset < self.at:
            self.inner, self.at = self._open(), 0
        buffer = bytearray(_STEP)
        while self.at < offset:
            if not self.readinto(memoryview(buffer)[: min(_STEP, offset - self.at)]):
                break
        return self.at

    def close(self) -> None:
        """Close the packed file too."""
        if not self.closed:
            self.raw.close()
        super().close()
