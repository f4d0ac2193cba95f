"""Logs whose rows can only be had by unpacking much: their numbers are copied once, and mapped.

A row of a parquet file lies in a row group, one of a compressed array in a chunk or in the whole of
it. Where that is much, some hundred rows here and there would unpack the same thousands of times.
So the numbers of such a file are copied into a temporary file, a piece at a time and in single
precision, which is what is read of logs. It has no name, and goes when the process does.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import IO, Protocol

import numpy as np

from unlabeled.errors import DataError
from unlabeled.modalities.stretch import Values

LARGE = 1 << 23
"""Bytes that reading a row may unpack, above which a log is copied."""

_SPARE = 1 << 30
"""Bytes that stay free on the disk of temporary files."""

_MOST = 256
"""Copies that are kept open; of more logs, those not read for longest are copied again."""

Stamp = tuple[bytes, int, int]


class Packed(Protocol):
    """A log that says how it is copied.

    Attributes:
        blocks: columns of numbers -> numbers a row; 0 for a column that is no vector.
        stamp: path, size and time of change.
    """

    blocks: dict[str, int]
    stamp: Stamp

    def __len__(self) -> int:
        """Return how many rows there are."""

    def pieces(self, name: str) -> Iterable[Values]:
        """Yield a column from its first row to its last, (T, W) at a time."""


class Shelf:
    """The numbers of a log in a temporary file, column after column.

    Raises:
        DataError: a column is damaged, or has not as many rows as the log.
        OSError: the disk is full.
    """

    def __init__(self, log: Packed) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(prefix="unlabeled-log-")  # noqa: SIM115
        weakref.finalize(self, self.file.close)
        self.places: dict[str, int] = {}
        self.shapes = {name: (len(log), max(1, width)) for name, width in log.blocks.items()}
        for name, shape in self.shapes.items():
            self.places[name] = self.file.tell()
            for piece in log.pieces(name):
                self.file.write(np.ascontiguousarray(piece, np.float32).tobytes())
            if self.file.tell() != self.places[name] + 4 * shape[0] * shape[1]:
                raise DataError(f"column '{name}' has not {shape[0]:,} rows")
        self.file.flush()

    def block(self, name: str, start: int, stop: int) -> Values:
        """Return a column of some rows, (T, W); only they are read from the disk."""
        whole: Values = np.memmap(self.file, np.float32, "r", self.places[name], self.shapes[name])
        return np.array(whole[start:stop])


_made: OrderedDict[Stamp, Shelf | None] = OrderedDict()


def shelf(log: Packed) -> Shelf | None:
    """Return the copy of a log; None where there is no room, or it cannot be read as a whole."""
    if log.stamp in _made:
        _made.move_to_end(log.stamp)
        return _made[log.stamp]
    made = None
    if _num_bytes(log.blocks, len(log)) + _SPARE < shutil.disk_usage(tempfile.gettempdir()).free:
        with contextlib.suppress(DataError, OSError):  # rows that are good are read from the log
            made = Shelf(log)
    _made[log.stamp] = made
    if len(_made) > _MOST:
        _made.popitem(last=False)
    return made


def _num_bytes(blocks: Mapping[str, int], count: int) -> int:
    return 4 * count * sum(max(1, width) for width in blocks.values())
