"""Items that are rows of parquet, csv or jsonl files, or of a data set of the hub.

Only the column that holds the samples is read. Rows of csv and jsonl files are found by their
offsets; a parquet column is kept compressed in the file until its row group is needed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import os
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.columns import Column, choose, item
from unlabeled.data.folder import MAX_BYTES, open_regular, printable
from unlabeled.errors import DataError, UsageError

_EXAMPLES = 100
_HEAD = 1 << 20
_KEEP_WHOLE = 1 << 30
_KEEP_GROUPS = 4


class Part(Protocol):
    """One file of a table."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def cell(self, row: int) -> Any:
        """Return the cell of a row."""


def _arrow_columns(schema: Any, examples: Mapping[str, Sequence[Any]]) -> list[Column]:
    """Describe the columns of an arrow schema."""
    import pyarrow.types as kinds

    def describe(kind: Any) -> str:
        if kinds.is_struct(kind):
            inner = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
            return describe(inner["bytes"]) if "bytes" in inner else "other"
        if kinds.is_binary(kind) or kinds.is_large_binary(kind):
            return "bytes"
        return "string" if kinds.is_string(kind) or kinds.is_large_string(kind) else "other"

    return [
        Column(
            f.name, describe(f.type), [str(v) for v in examples.get(f.name, []) if v is not None]
        )
        for f in schema
    ]


class ParquetPart:
    """One column of a parquet file, memory-mapped.

    A column below 1 GiB is decompressed once; of a larger one the last row groups are kept, so
    that files with small row groups are read fastest.
    """

    def __init__(self, path: bytes, column: str):
        self.path, self.column = path, column
        metadata = self._open().metadata
        sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        self._ends: NDArray[np.int64] = np.cumsum(sizes, dtype=np.int64)
        self._num_groups = _KEEP_GROUPS
        if _column_bytes(metadata, column) <= _KEEP_WHOLE:
            self._num_groups = max(1, len(sizes))
        self._groups: OrderedDict[int, Any] = OrderedDict()
        self._file: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave what is open and cached behind."""
        return {**self.__dict__, "_groups": OrderedDict(), "_file": None}

    def _open(self) -> Any:
        import pyarrow.parquet as pq

        return pq.ParquetFile(os.fsdecode(self.path), memory_map=True)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def _group(self, number: int) -> Any:
        if number in self._groups:
            self._groups.move_to_end(number)
            return self._groups[number]
        if self._file is None:
            self._file = self._open()
        column = self._file.read_row_group(number, columns=[self.column]).column(0)
        self._groups[number] = column
        if len(self._groups) > self._num_groups:
            self._groups.popitem(last=False)
        return column

    def cell(self, row: int) -> Any:
        """Return the cell of a row."""
        number = int(np.searchsorted(self._ends, row, side="right"))
        start = int(self._ends[number - 1]) if number else 0
        try:
            return self._group(number)[row - start].as_py()
        except (OSError, ValueError) as error:
            raise DataError(f"its row group cannot be read ({error})") from None


def _column_bytes(metadata: Any, column: str) -> int:
    """Return the decompressed size of a column."""
    total = 0
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        chunks = (group.column(j) for j in range(group.num_columns))
        total += sum(
            c.total_uncompressed_size
            for c in chunks
            if c.path_in_schema == column or c.path_in_schema.startswith(column + ".")
        )
    return total


class LinesPart:
    """Rows of a csv or jsonl file, found by their offsets."""

    def __init__(self, path: bytes, column: str, starts: NDArray[np.int64], delimiter: str | None):
        self.path, self.column, self.delimiter = path, column, delimiter
        self._starts = starts
        self._position = 0
        if delimiter is not None:
            with open_regular(path, follow=True) as file:
                header = next(_csv_rows(file, delimiter))[1]
            self._position = header.index(column)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._starts) - 1

    def cell(self, row: int) -> Any:
        """Return the cell of a row."""
        start, stop = int(self._starts[row]), int(self._starts[row + 1])
        if stop - start > MAX_BYTES:
            raise DataError(f"its row has {stop - start:,} bytes; the limit is {MAX_BYTES:,}")
        with open_regular(self.path, follow=True) as file:
            file.seek(start)
            line = file.read(stop - start)
        if self.delimiter is None:
            return _json_cell(line, self.column)
        for _, cells in _csv_rows(io.BytesIO(line), self.delimiter):
            if len(cells) <= self._position:
                raise DataError(f"its row has {len(cells)} cells")
            return cells[self._position]
        raise DataError("its row is empty")


def _json_cell(line: bytes, column: str) -> Any:
    try:
        row = json.loads(line.decode("utf-8-sig", "replace"))
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
        yield (
            position,
            [cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for cell in cells],
        )


def _csv_index(path: bytes) -> tuple[NDArray[np.int64], str, list[Column]]:
    """Return the offsets of the rows, the delimiter and the columns."""
    with open_regular(path, follow=True) as file:
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
                if len(examples) < _EXAMPLES:
                    examples.append(cells)
            else:
                starts[-1] = stop
    columns = [
        Column(name, "string", [row[i] for row in examples if i < len(row)])
        for i, name in enumerate(header)
    ]
    return np.asarray(starts, np.int64), delimiter, columns


def _jsonl_index(path: bytes) -> tuple[NDArray[np.int64], None, list[Column]]:
    """Return the offsets of the lines and the columns; blank lines belong to the one before."""
    starts: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
    offset = 0
    with open_regular(path, follow=True) as file:
        examples = [line for line in itertools.islice(file, _EXAMPLES) if line.strip()]
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
            row = json.loads(line.decode("utf-8-sig", "replace"))
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


@dataclass(frozen=True, eq=False)
class Table:
    """A source whose items are rows.

    Args:
        kind: ``image`` or ``text``.
        column: which column holds them.
        parts: the files, in order.
        labels: how each part is called.
        folder: what paths in cells are relative to.
        fingerprint: hash of sizes and of the heads and tails of the files.
        skipped: what was left out and why, for `inspect`.
    """

    kind: str
    column: str
    parts: Sequence[Part]
    labels: Sequence[str]
    folder: bytes
    fingerprint: str
    skipped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ends = np.cumsum([len(part) for part in self.parts], dtype=np.int64)
        object.__setattr__(self, "_ends", ends)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._ends[-1])  # type: ignore[attr-defined]

    def _locate(self, index: int) -> tuple[int, int]:
        ends: NDArray[np.int64] = self._ends  # type: ignore[attr-defined]
        part = int(np.searchsorted(ends, index, side="right"))
        return part, index - (int(ends[part - 1]) if part else 0)

    def name(self, index: int) -> str:
        """Return ``file#row``."""
        part, row = self._locate(index)
        return f"{self.labels[part]}#{row}"

    def payload(self, index: int, epoch: int = 0) -> bytes | str:
        """Return the bytes of an image or the text of a document.

        Raises:
            DataError: with the reason.
        """
        part, row = self._locate(index)
        return item(self.parts[part].cell(row), self.kind, self.folder)


def _ends_digest(path: bytes) -> bytes:
    """Hash the size, the first and the last megabyte of a file."""
    with open_regular(path, follow=True) as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(str(size).encode() + file.read(_HEAD))
        file.seek(max(0, size - _HEAD))
        digest.update(file.read(_HEAD))
    return digest.digest()


def _parquet_columns(path: bytes) -> list[Column]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(os.fsdecode(path), memory_map=True)
    schema = file.schema_arrow
    plain = [c.name for c in _arrow_columns(schema, {}) if c.type == "string"]
    batch = next(file.iter_batches(_EXAMPLES, columns=plain), None) if plain else None
    return _arrow_columns(schema, batch.to_pydict() if batch is not None else {})


def _index(path: bytes) -> tuple[Any, list[Column]]:
    """Return what is needed to make a `Part`, and the columns of a file.

    Raises:
        UsageError: the file cannot be read.
    """
    where = printable(path)
    try:
        if path.lower().endswith(b".parquet"):
            return None, _parquet_columns(path)
        is_json = path.lower().endswith((b".jsonl", b".ndjson"))
        starts, delimiter, columns = _jsonl_index(path) if is_json else _csv_index(path)
    except (OSError, ValueError, csv.Error, DataError) as error:
        raise UsageError(f"{where} cannot be read as a table ({error}).") from None
    return (starts, delimiter), columns


def read_tables(
    paths: Sequence[bytes],
    kind: str | None,
    column: str | None,
    skipped: Mapping[str, int] | None = None,
) -> Table:
    """Open files with the same columns as one source; the first file decides on the column.

    Raises:
        UsageError: a file is damaged, or no column fits.
    """
    parts: list[Part] = []
    digest = hashlib.sha256()
    for path in paths:
        where = printable(path)
        index, columns = _index(path)
        column, kind = choose(columns, kind, column, where)
        parts.append(
            ParquetPart(path, column) if index is None else LinesPart(path, column, *index)
        )
        digest.update(_ends_digest(path))
    if not sum(map(len, parts)):
        raise UsageError(f"{printable(paths[0])} has no rows.")
    assert kind is not None
    assert column is not None
    digest.update(f"{kind} {column}".encode())
    return Table(
        kind,
        column,
        parts,
        [printable(os.path.basename(path)) for path in paths],
        os.path.dirname(paths[0]),
        digest.hexdigest(),
        Counter(skipped or {}),
    )


class HubPart:
    """A column of a data set that the `datasets` library opened."""

    def __init__(self, dataset: Any, column: str):
        self._column = dataset.select_columns([column]).with_format("arrow")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._column)

    def cell(self, row: int) -> Any:
        """Return the cell of a row."""
        return self._column[row].column(0)[0].as_py()


def read_hub(address: str, kind: str | None, column: str | None) -> Table:
    """Open ``hf://owner/name[?split=train&config=...]`` through the `datasets` library.

    Raises:
        UsageError: it is not there, or the hub cannot be reached.
    """
    from urllib.parse import parse_qsl

    name, _, query = address.removeprefix("hf://").partition("?")
    options = dict(parse_qsl(query))
    split = options.get("split", "train")
    try:
        import datasets

        data = datasets.load_dataset(name, options.get("config"), split=split)
    except ImportError:
        raise UsageError(f"{address} needs the library datasets: pip install datasets.") from None
    except Exception as error:  # the hub's client raises its own, requests' and OS errors
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"{address} cannot be loaded ({first}). HF_HUB_OFFLINE is "
            f"{os.environ.get('HF_HUB_OFFLINE', 'not set')}. Without a network, download the data "
            "set elsewhere and give the folder of its parquet files."
        ) from None
    schema = data.features.arrow_schema
    plain = [c.name for c in _arrow_columns(schema, {}) if c.type == "string"]
    head = data.select(range(min(_EXAMPLES, len(data)))).select_columns(plain).to_dict()
    column, kind = choose(_arrow_columns(schema, head), kind, column, address)
    fingerprint = hashlib.sha256(f"{address} {column} {len(data)} {schema}".encode()).hexdigest()
    label = f"{name}/{split}"
    return Table(kind, column, [HubPart(data, column)], [label], b".", fingerprint)
