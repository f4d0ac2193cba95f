"""Rows of csv and jsonl files, found by their offsets, so that only those are in memory."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.columns import EXAMPLES, Column
from unlabeled.data.compressed import is_packed, unpacked
from unlabeled.data.folder import MAX_BYTES, open_regular
from unlabeled.errors import DataError


class LinesPart:
    """Rows of a csv or jsonl file, found by their offsets."""

    def __init__(self, path: bytes, column: str, starts: NDArray[np.int64], delimiter: str | None):
        self.path, self.column, self.delimiter = path, column, delimiter
        self._starts = starts
        self._position = 0
        self._packed: BinaryIO | None = None
        if delimiter is not None:
            with opened(path) as file:
                header = next(_csv_rows(file, delimiter))[1]
            self._position = header.index(column)

    def beside(self, column: str) -> LinesPart:
        """Return another column of the same rows."""
        return LinesPart(self.path, column, self._starts, self.delimiter)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._starts) - 1

    def cell(self, row: int) -> Any:
        """Return the cell of a row."""
        start, stop = int(self._starts[row]), int(self._starts[row + 1])
        if stop - start > MAX_BYTES:
            raise DataError(f"its row has {stop - start:,} bytes; the limit is {MAX_BYTES:,}")
        line = self._bytes(start, stop - start)
        if self.delimiter is None:
            return _json_cell(line, self.column)
        for _, cells in _csv_rows(io.BytesIO(line), self.delimiter):
            if len(cells) <= self._position:
                raise DataError(f"its row has {len(cells)} cells")
            return cells[self._position]
        raise DataError("its row is empty")

    def _bytes(self, start: int, size: int) -> bytes:
        """Read a part of the file; a packed one stays open, for rows are mostly asked in order."""
        if not is_packed(self.path):
            with opened(self.path) as file:
                file.seek(start)
                return file.read(size)
        self._packed = self._packed or opened(self.path)
        self._packed.seek(start)
        return self._packed.read(size)

    def __getstate__(self) -> dict[str, Any]:
        """Leave an open file behind: another process opens its own."""
        return {**self.__dict__, "_packed": None}


def opened(path: bytes) -> BinaryIO:
    """Open a table of lines, packed or not.

    Raises:
        DataError: with the reason.
    """
    return unpacked(open_regular(path, follow=True), path)


def _json_cell(line: bytes, column: str) -> Any:
    try:
        row = json.loads(line.decode("utf-8-sig", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"its line is not JSON ({error})") from None
    if not isinstance(row, dict):
        raise DataError("its line is not a JSON object")
    return row.get(column)


def _csv_rows(file: Any, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (offset after the row, cells) of each row that is not empty."""
    csv.field_size_limit(MAX_BYTES)
    position = 0

    def lines() -> Iterator[str]:
        nonlocal position
        for line in file:
            encoding = "utf-8" if position else "utf-8-sig"
            position += len(line)
            yield line.decode(encoding, "surrogateescape")

    for cells in csv.reader(lines(), delimiter=delimiter):
        yield position, cells


def csv_index(path: bytes) -> tuple[NDArray[np.int64], str, list[Column]]:
    """Return the offsets of the rows, the delimiter and the columns."""
    with opened(path) as file:
        head = file.readline(1 << 20).decode("utf-8", "replace")
        delimiter = max(",\t;", key=head.count)
        file.seek(0)
        rows = _csv_rows(file, delimiter)
        start, header = next(rows, (0, []))
        starts: list[int] = [start]
        examples: list[list[str]] = []
        for stop, cells in rows:
            if cells:
                starts.append(stop)
                if len(examples) < EXAMPLES:
                    examples.append(cells)
            else:
                starts[-1] = stop
    columns = [
        Column(name, "string", [row[i] for row in examples if i < len(row)])
        for i, name in enumerate(header)
    ]
    return np.asarray(starts, np.int64), delimiter, columns


def jsonl_index(path: bytes) -> tuple[NDArray[np.int64], None, list[Column]]:
    """Return the offsets of the lines and the columns; blank lines belong to the one before."""
    starts: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
    offset = 0
    with opened(path) as file:
        examples = [line for line in itertools.islice(file, EXAMPLES) if line.strip()]
        file.seek(0)
        while chunk := file.read(1 << 24):
            ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == 10)
            starts.append(ends + offset + 1)
            offset += len(chunk)
    ends = np.concatenate(starts)
    if ends[-1] != offset:
        ends = np.append(ends, offset)
    blank = np.diff(ends) <= 1
    keep = np.concatenate([[True], ~blank])
    return ends[keep], None, _json_columns(examples)


def _json_columns(lines: Sequence[bytes]) -> list[Column]:
    """Describe the keys of the first lines."""
    values: dict[str, list[Any]] = {}
    for line in lines:
        try:
            row = json.loads(line.decode("utf-8-sig", "surrogateescape"))
        except (ValueError, RecursionError):
            continue
        for key, value in row.items() if isinstance(row, dict) else ():
            values.setdefault(key, []).append(value)
    return [
        Column(
            key,
            "string" if all(isinstance(v, str | None) for v in found) else "other",
            [v for v in found if v],
        )
        for key, found in values.items()
    ]
