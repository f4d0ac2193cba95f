"""Items that are rows of parquet, csv or jsonl files, or of a data set of the hub.

Only the column that holds the samples is read. Rows of csv and jsonl files are found by their
offsets; a parquet column is kept compressed in the file until its row group is needed.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.columns import EXAMPLES, Column, choose, item
from unlabeled.data.compressed import suffix_of
from unlabeled.data.folder import open_regular, printable
from unlabeled.data.lines import LinesPart, csv_index, jsonl_index
from unlabeled.data.parquet import ParquetPart, arrow_columns, parquet_columns
from unlabeled.errors import DataError, UsageError

_HEAD = 1 << 20


class Part(Protocol):
    """One file of a table."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def cell(self, row: int) -> Any:
        """Return the cell of a row."""

    def beside(self, column: str) -> Part:
        """Return another column of the same rows."""


@dataclass(frozen=True, eq=False)
class Table:
    """A source whose items are rows.

    Args:
        kind: one of `kinds.KINDS`.
        column: which column holds them.
        parts: the files, in order.
        labels: how each part is called, each once.
        folders: what paths in the cells of each part are relative to.
        fingerprint: hash of sizes and of the heads and tails of the files.
        skipped: what was left out and why, for `inspect`.
    """

    kind: str
    column: str
    parts: Sequence[Part]
    labels: Sequence[str]
    folders: Sequence[bytes]
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
        """Return the encoded bytes of a sample, or the text of a document.

        Raises:
            DataError: with the reason.
        """
        part, row = self._locate(index)
        return item(self.parts[part].cell(row), self.kind, self.folders[part])

    def values(self, column: str) -> list[Any]:
        """Return the cells of another column, a row each.

        Raises:
            UsageError: there is no such column.
        """
        try:
            parts = [part.beside(column) for part in self.parts]
            return [part.cell(row) for part in parts for row in range(len(part))]
        except (KeyError, ValueError, IndexError):
            raise UsageError(
                f"{self.labels[0]} has no column '{column}'. unlabeled inspect shows what it has."
            ) from None


def _ends_digest(path: bytes) -> bytes:
    """Hash the size, the first and the last megabyte of a file."""
    with open_regular(path, follow=True) as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(str(size).encode() + file.read(_HEAD))
        file.seek(max(0, size - _HEAD))
        digest.update(file.read(_HEAD))
    return digest.digest()


def _index(path: bytes) -> tuple[Any, list[Column]]:
    """Return what is needed to make a `Part`, and the columns of a file.

    Raises:
        UsageError: the file cannot be read.
    """
    where = printable(path)
    try:
        if path.lower().endswith(b".parquet"):
            return None, parquet_columns(path)
        is_json = suffix_of(path) in (".jsonl", ".ndjson")
        starts, delimiter, columns = jsonl_index(path) if is_json else csv_index(path)
    except (OSError, ValueError, csv.Error, DataError) as error:
        raise UsageError(f"{where} cannot be read as a table ({error}).") from None
    return (starts, delimiter), columns


def read_tables(
    paths: Sequence[bytes],
    kind: str | None,
    column: str | None,
    skipped: Mapping[str, int] | None = None,
    root: bytes | None = None,
) -> Table:
    """Open files with the same columns as one source; the first file decides on the column.

    Args:
        paths: the files.
        kind: of the samples; None finds it.
        column: that holds them; None finds it.
        skipped: what was left out of the search for files, and why.
        root: folder that the files are named relative to; None is that of the first.

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
        [printable(os.path.relpath(path, root or os.path.dirname(paths[0]))) for path in paths],
        [os.path.dirname(path) for path in paths],
        digest.hexdigest(),
        Counter(skipped or {}),
    )


class HubPart:
    """A column of a data set that the `datasets` library opened."""

    def __init__(self, dataset: Any, column: str):
        self._dataset = dataset
        self._column = dataset.select_columns([column]).with_format("arrow")

    def beside(self, column: str) -> HubPart:
        """Return another column of the same rows."""
        return HubPart(self._dataset, column)

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
    plain = [c.name for c in arrow_columns(schema, {}) if c.type == "string"]
    head = data.select(range(min(EXAMPLES, len(data)))).select_columns(plain).to_dict()
    column, kind = choose(arrow_columns(schema, head), kind, column, address)
    fingerprint = hashlib.sha256(f"{address} {column} {len(data)} {schema}".encode()).hexdigest()
    label = f"{name}/{split}"
    return Table(kind, column, [HubPart(data, column)], [label], [b"."], fingerprint)
