"""Logs in csv and parquet files: rows by their offsets, or by row groups."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.folder import open_regular
from unlabeled.data.log_columns import Columns
from unlabeled.data.log_shelf import LARGE, shelf
from unlabeled.errors import DataError
from unlabeled.modalities.stretch import Values

_EVERY = 256
"""Rows between two offsets of a csv file that are kept."""

_EXAMPLES = 100
_CHUNK = 1 << 20
_KEPT = 1 << 26
"""Bytes of unpacked row groups above which they are not kept for the next stretch."""

_last: dict[Any, Any] = {}
"""The row groups that were read last: one after the other, many stretches lie there."""
_MISSING = frozenset(
    {"", "nan", "NaN", "NAN", "na", "NA", "n/a", "N/A", "null", "NULL", "None", "none", "-", "?"}
)


class CsvLog(Columns):
    """A csv file; every 256th row is found by its offset, the rest by reading on.

    Raises:
        DataError: it is no table.
    """

    def __init__(self, path: bytes) -> None:
        self.path = path
        with open_regular(path, follow=True) as file:
            lines = list(islice(file, _EXAMPLES + 1))
            if not lines:
                raise DataError("it is empty")
            about = os.fstat(file.fileno())
            self.first = len(lines[0])
        self.offsets, count = _indexed(path, self.first, about.st_size, about.st_mtime_ns)
        head = lines[0].decode("utf-8-sig", "replace").strip("\r\n")
        self.delimiter = max(",\t;", key=head.count)
        self.header = [cell.strip() for cell in next(csv.reader([head], delimiter=self.delimiter))]
        if len(set(self.header)) < len(self.header):
            raise DataError("two of its columns have one name")
        blocks, words = self._types(lines[1:])
        super().__init__(blocks, count, words)

    def _types(self, lines: Sequence[bytes]) -> tuple[dict[str, int], list[str]]:
        """Tell columns of numbers from others by the first rows."""
        text = [line.decode("utf-8", "replace") for line in lines if line.strip()]
        rows = list(csv.reader(text, delimiter=self.delimiter))
        numbers = {
            name: all(_is_number(row[i]) for row in rows if i < len(row))
            for i, name in enumerate(self.header)
        }
        return {n: 0 for n, ok in numbers.items() if ok}, [n for n, ok in numbers.items() if not ok]

    def block(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return a column of some rows."""
        return _numpy(self._table([name], start, stop).column(name), self.blocks.get(name), name)

    def rows(self, names: Sequence[str], start: int, stop: int) -> NDArray[np.float32]:
        """Return channels of some rows, read at once."""
        there = [name for name in dict.fromkeys(names) if name in self.blocks]
        found = _Table(self, self._table(there, start, stop))
        return found.rows(names, 0, stop - start)

    def _table(self, names: list[str], start: int, stop: int) -> Any:
        """Parse the rows around those that are asked for, strictly."""
        import pyarrow as pa
        from pyarrow import csv as arrow

        first, last = start // _EVERY, -(-stop // _EVERY)
        with open_regular(self.path, follow=True) as file:
            begin = int(self.offsets[first])
            file.seek(begin)
            rest = last >= len(self.offsets)
            data = file.read() if rest else file.read(int(self.offsets[last]) - begin)
        types = {n: pa.float64() if n in self.blocks else pa.string() for n in names}
        try:
            table = arrow.read_csv(
                pa.BufferReader(data),
                arrow.ReadOptions(
                    use_threads=False, block_size=len(data) + 1, column_names=self.header
                ),
                arrow.ParseOptions(delimiter=self.delimiter),
                arrow.ConvertOptions(
                    column_types=types, null_values=sorted(_MISSING), include_columns=names
                ),
                pa.system_memory_pool(),  # arrow's own keeps for itself what it no longer needs
            )
        except (OSError, ValueError) as error:
            raise DataError(
                f"rows {start:,} to {stop:,} are no numbers ({_first(error)})"
            ) from None
        table = table.slice(start - first * _EVERY, stop - start)
        if table.num_rows != stop - start:
            raise DataError(f"it ends after {start + table.num_rows:,} rows")
        return table


@lru_cache(maxsize=4096)
def _indexed(path: bytes, first: int, size: int, changed: int) -> tuple[NDArray[np.int64], int]:
    """Return where rows of a file begin; it is gone through once, though it is opened often."""
    with open_regular(path, follow=True) as file:
        file.seek(first)
        return _offsets(file, first)


def _offsets(file: Any, first: int) -> tuple[NDArray[np.int64], int]:
    """Return the offset of every 256th row, and how many rows there are; blank lines are none."""
    kept: list[NDArray[np.int64]] = [np.array([first])]
    count, offset, last = 0, first, first - 1
    while chunk := file.read(_CHUNK):
        ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == 10) + offset
        lengths = np.diff(ends, prepend=last) - 1
        before = np.frombuffer(b"\n" + chunk, np.uint8)[ends - offset]
        full = (lengths > 1) | ((lengths == 1) & (before != 13))
        numbers = count + np.cumsum(full)
        kept.append(ends[full & (numbers % _EVERY == 0)] + 1)
        count, offset = count + int(full.sum()), offset + len(chunk)
        last = int(ends[-1]) if len(ends) else last
    return np.concatenate(kept), count + (offset - 1 > last)


def _is_number(cell: str) -> bool:
    word = cell.strip()
    if word in _MISSING:
        return True
    try:
        float(word)
    except ValueError:
        return False
    return True


class ParquetLog(Columns):
    """A parquet file, memory-mapped; the row groups that a stretch touches are read.

    Of a file whose row groups are large the numbers are copied once (`log_shelf`).

    Raises:
        DataError: it is no parquet file.
    """

    def __init__(self, path: bytes) -> None:
        self.path = path
        try:
            about = os.stat(path)
            self.stamp = path, about.st_size, about.st_mtime_ns
            file = self._open()
            metadata, schema = file.metadata, file.schema_arrow
            sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
            blocks, words = _arrow_blocks(schema, file)
        except (OSError, ValueError) as error:
            raise DataError(f"it is no parquet file ({_first(error)})") from None
        self.large = 8 * max(sizes, default=0) * sum(max(1, n) for n in blocks.values()) > LARGE
        self._ends: NDArray[np.int64] = np.cumsum(sizes, dtype=np.int64)
        super().__init__(blocks, sum(sizes), words)

    def _open(self) -> Any:
        import pyarrow.parquet as pq

        return pq.ParquetFile(os.fsdecode(self.path), metadata=_about(*self.stamp), memory_map=True)

    def pieces(self, name: str) -> Iterator[Values]:
        """Yield a column of numbers, of which no row group is held."""
        return (self._narrowed(part) for part in self._stream(name))

    def _blocks(self, name: str) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the first row and the values of parts of a column."""
        if not self.large:
            yield from super()._blocks(name)
            return
        first = 0
        for part in self._stream(name):
            yield first, part.reshape(len(part), -1)[:, 0]
            first += len(part)

    def _stream(self, name: str) -> Iterator[NDArray[Any]]:
        """Yield a column from its first row to its last.

        Raises:
            DataError: it cannot be read.
        """
        import pyarrow.parquet as pq

        try:
            file = pq.ParquetFile(
                os.fsdecode(self.path), metadata=_about(*self.stamp), buffer_size=1 << 20,
                pre_buffer=False,
            )  # fmt: skip
            for batch in file.iter_batches(self.step, columns=[name], use_threads=False):
                yield _numpy(batch.column(0), self.blocks.get(name), name)
        except (OSError, ValueError) as error:
            raise DataError(f"its rows cannot be read ({_first(error)})") from None

    def block(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return a column of some rows."""
        return _numpy(self._table([name], start, stop).column(name), self.blocks.get(name), name)

    def rows(self, names: Sequence[str], start: int, stop: int) -> NDArray[np.float32]:
        """Return channels of some rows, their row groups read once."""
        if self.large and shelf(self) is not None:
            return super().rows(names, start, stop)
        columns = {self._places[name][0] for name in names if name in self._places}
        found = _Table(self, self._table(sorted(columns), start, stop))
        return found.rows(names, 0, stop - start)

    def _table(self, names: list[str], start: int, stop: int) -> Any:
        first = int(np.searchsorted(self._ends, start, side="right"))
        last = int(np.searchsorted(self._ends, stop - 1, side="right"))
        before = int(self._ends[first - 1]) if first else 0
        asked = self.stamp, first, last, tuple(names)
        if asked in _last:
            return _last[asked].slice(start - before, stop - start)
        _last.clear()
        try:
            table = self._open().read_row_groups(range(first, last + 1), columns=names)
        except (OSError, ValueError) as error:
            raise DataError(f"its rows cannot be read ({_first(error)})") from None
        if table.nbytes <= _KEPT:
            _last[asked] = table
        return table.slice(start - before, stop - start)


@lru_cache(maxsize=8)
def _about(path: bytes, size: int, changed: int) -> Any:
    """Return the facts of a parquet file, which of ten thousand row groups are megabytes."""
    import pyarrow.parquet as pq

    return pq.read_metadata(os.fsdecode(path))


class _Table(Columns):
    """Rows of a parquet file in memory."""

    def __init__(self, log: Columns, table: Any) -> None:
        super().__init__(log.blocks, table.num_rows)
        self.table, self.vectors = table, log.vectors

    def block(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return a column of some rows."""
        return _numpy(self.table.column(name).slice(start, stop - start), self.blocks[name], name)


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _arrow_blocks(schema: Any, file: Any) -> tuple[dict[str, int], list[str]]:
    """Return the columns of numbers with their widths, and the names of the others."""
    import pyarrow.types as kinds

    def number(kind: Any) -> bool:
        return bool(
            kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind)
            or kinds.is_decimal(kind)
        )  # fmt: skip

    blocks, words, lists = {}, [], []
    for column in schema:
        kind = column.type
        if number(kind):
            blocks[column.name] = 0
        elif kinds.is_fixed_size_list(kind) and number(kind.value_type):
            blocks[column.name] = int(kind.list_size)
        elif (kinds.is_list(kind) or kinds.is_large_list(kind)) and number(kind.value_type):
            blocks[column.name] = 0
            lists.append(column.name)
        else:
            words.append(column.name)
    head = next(file.iter_batches(1, columns=lists), None) if lists else None
    for name in lists:
        first = head.column(name)[0].as_py() if head is not None and len(head) else None
        blocks[name] = len(first or ()) or 1
    return blocks, words


def _numpy(column: Any, width: int | None, name: str) -> NDArray[Any]:
    """Return an arrow column as numbers, (T,) or (T, W), NaN for null; other values as they are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if width is None:
        return np.asarray(column.to_pylist(), object)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if width == 0:
        if pa.types.is_decimal(column.type) or pa.types.is_boolean(column.type):
            column = column.cast(pa.float64())
        return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    if (lengths != width).any():  # nulls compare unequal too
        raise DataError(f"vectors of column '{name}' have not all {width} numbers")
    flat = pc.list_flatten(column).to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float64).reshape(-1, width)
