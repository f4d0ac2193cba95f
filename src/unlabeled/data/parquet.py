"""Rows of parquet files: one column, memory-mapped, a row group at a time."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.columns import EXAMPLES, Column
from unlabeled.errors import DataError

_KEEP_WHOLE = 1 << 30
_KEEP_GROUPS = 4


def arrow_columns(schema: Any, examples: Mapping[str, Sequence[Any]]) -> list[Column]:
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

    def beside(self, column: str) -> ParquetPart:
        """Return another column of the same rows."""
        return ParquetPart(self.path, column)

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


def parquet_columns(path: bytes) -> list[Column]:
    """Describe the columns of a file by its schema and its first rows."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(os.fsdecode(path), memory_map=True)
    schema = file.schema_arrow
    known = arrow_columns(schema, {})
    plain = [c.name for c in known if c.type == "string"]
    paths = [f"{c.name}.path" for c in known if c.type == "bytes" and _has_path(schema, c.name)]
    if not plain and not paths:
        return known
    batch = next(file.iter_batches(EXAMPLES, columns=[*plain, *paths]), None)
    return arrow_columns(schema, _examples(batch.to_pydict()) if batch is not None else {})


def _has_path(schema: Any, name: str) -> bool:
    kind = schema.field(name).type
    return hasattr(kind, "get_field_index") and kind.get_field_index("path") >= 0


def _examples(rows: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Return the values of columns; of structs their paths."""
    return {
        name: [v.get("path") if isinstance(v, Mapping) else v for v in values]
        for name, values in rows.items()
    }
