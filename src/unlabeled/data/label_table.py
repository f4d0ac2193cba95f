"""Read named columns of small tables: csv, tsv, jsonl, parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from unlabeled.errors import UsageError

TABLES = frozenset({".csv", ".tsv", ".jsonl", ".parquet"})


def columns_of(path: Path) -> list[str]:
    """Return the column names of a table.

    Raises:
        UsageError: the file cannot be read as a table.
    """
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            return [str(name) for name in pq.read_schema(path).names]
        first = next(_records(path), None)
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as a table: {error}.") from None
    return [] if first is None else list(first)


def _records(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a csv, tsv or jsonl file."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix.lower() == ".jsonl":
            for line in file:
                if line.strip():
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise ValueError("a line is not an object with named fields")
                    yield record
            return
        head = file.readline()
        file.seek(0)
        delimiter = max("\t,;", key=head.count)
        yield from csv.DictReader(file, delimiter=delimiter)


def read_columns(path: Path, names: Sequence[str]) -> list[list[Any]]:
    """Return the values of some columns of a table."""
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            read = pq.read_table(path, columns=list(names))
            return [read.column(name).to_pylist() for name in names]
        rows = [[record.get(name) for name in names] for record in _records(path)]
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as a table: {error}.") from None
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in names]


def pick(columns: Sequence[str], wanted: Iterable[str]) -> str | None:
    """Return the first wanted column that is there, whatever its case."""
    lower = {name.lower().strip(): name for name in reversed(columns)}
    return next((lower[name] for name in wanted if name in lower), None)
