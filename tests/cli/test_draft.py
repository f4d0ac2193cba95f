"""Files of predictions and features are whole, as they were before, or not there."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unlabeled.cli import write
from unlabeled.cli.draft import draft_of, rows_of
from unlabeled.errors import DataError


def rows(out: Path, stopped: bool = False, bad: bool = False) -> None:
    with rows_of(out) as table:
        table.writerow(["path", "label"])
        if stopped:
            raise KeyboardInterrupt
        if bad:
            write._some(write.Count(0, [("a", "it is empty")]))


def features(out: Path) -> None:
    with draft_of(out) as draft, pq.ParquetWriter(draft, pa.schema([("name", pa.string())])):
        raise ValueError("broken")


def test_what_is_cut_off_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        rows(out, stopped=True)
    assert list(tmp_path.iterdir()) == []
    rows(out)
    assert out.read_text() == "path,label\n"
    with pytest.raises(ValueError, match="broken"):
        features(out)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert out.read_text() == "path,label\n"


def test_without_a_sample_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"None of 1 samples can be read. First: a: it is empty"):
        rows(tmp_path / "out.csv", bad=True)
    assert list(tmp_path.iterdir()) == []
