"""Logs of which a row is unpacked with many others: copied once, and read as if they were not."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest

from unlabeled.data import log_columns, log_shelf, log_tables
from unlabeled.data.log_arrays import NpzLog
from unlabeled.data.log_columns import Columns
from unlabeled.data.log_hdf5 import Hdf5Log
from unlabeled.data.log_tables import CsvLog, ParquetLog
from unlabeled.data.log_zarr import ZarrLog
from unlabeled.errors import DataError

ROWS = 6000
NAMES = ["x", "v.0", "v.1", "n"]


def values() -> dict[str, np.ndarray[Any, Any]]:
    """Return columns of three types, one of them a vector, with what is missing."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=ROWS)
    x[17] = np.nan
    return {"x": x, "v": rng.normal(size=(ROWS, 2)), "n": np.arange(ROWS) ** 2}


def parquet(path: Path) -> Columns:
    columns = values()
    frame = pandas.DataFrame({"x": columns["x"], "n": columns["n"]})
    frame["v"] = list(columns["v"])
    frame["episode"] = np.repeat(["a", "b", "c"], ROWS // 3)
    frame.to_parquet(path / "a.parquet")
    return ParquetLog(bytes(path / "a.parquet"))


def npz(path: Path) -> Columns:
    columns = values()
    columns["v"] = np.asfortranarray(columns["v"])
    np.savez_compressed(path / "a.npz", **columns)
    return NpzLog(bytes(path / "a.npz"))


def hdf5(path: Path) -> Columns:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path / "a.h5", "w") as file:
        for name, column in values().items():
            file.create_dataset(name, data=column, chunks=column.shape, compression="gzip")
    return Hdf5Log(bytes(path / "a.h5"))


def zarr(path: Path) -> Columns:
    library = pytest.importorskip("zarr")
    store = library.open_group(path / "a.zarr", mode="w")
    for name, column in values().items():
        made = store.create_array(name, shape=column.shape, chunks=column.shape, dtype=column.dtype)
        made[:] = column
    return ZarrLog(bytes(path / "a.zarr"))


@pytest.mark.parametrize("write", [parquet, npz, hdf5, zarr])
def test_a_copy_says_what_the_log_says(
    write: Callable[[Path], Columns], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = write(tmp_path)
    assert not plain.large
    for module in (log_columns, log_tables):
        monkeypatch.setattr(module, "LARGE", 10_000)
    monkeypatch.setattr("unlabeled.data.log_arrays.LARGE", 10_000)
    monkeypatch.setattr(Columns, "step", 1000)
    log = write(tmp_path)
    assert log.large
    asked = Counter[str]()
    below: Any = log_shelf.Shelf.block
    monkeypatch.setattr(
        log_shelf.Shelf, "block", lambda s, n, a, b: (asked.update([n]), below(s, n, a, b))[1]
    )
    for start, stop in ((0, 4), (10, 1300), (ROWS - 1, ROWS), (0, ROWS)):
        expected = plain.rows(NAMES, start, stop)
        assert expected.shape == (stop - start, 4)
        np.testing.assert_array_equal(log.rows(NAMES, start, stop), expected)
    assert asked == {"x": 4, "v": 4, "n": 4}
    assert log.episodes() == plain.episodes()
    again = pickle.loads(pickle.dumps(log))
    np.testing.assert_array_equal(again.rows(["x"], 9, 20), plain.rows(["x"], 9, 20))


def test_a_log_is_unpacked_once_and_anew_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_tables, "LARGE", 10_000)
    made = Counter[bytes]()
    begin: Any = log_shelf.Shelf.__init__
    monkeypatch.setattr(
        log_shelf.Shelf, "__init__", lambda s, log: (made.update([log.path]), begin(s, log))[1]
    )
    for factor in (1, 2):
        frame = pandas.DataFrame({"x": factor * np.arange(ROWS * factor)})
        frame.to_parquet(tmp_path / "a.parquet")
        for _ in range(3):
            log = ParquetLog(bytes(tmp_path / "a.parquet"))
            for start in range(0, ROWS, 500):
                assert log.rows(["x"], start, start + 2)[1, 0] == factor * (start + 1)
        assert made == {log.path: factor}


@pytest.mark.parametrize("why", ["no room", "damaged"])
def test_rows_come_from_the_log_where_it_cannot_be_copied(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_tables, "LARGE", 10_000)
    if why == "no room":
        monkeypatch.setattr(log_shelf, "_SPARE", 1 << 60)
    path = tmp_path / "a.parquet"
    pandas.DataFrame({"x": np.random.default_rng(0).normal(size=ROWS)}).to_parquet(
        path, row_group_size=ROWS // 2, compression=None, use_dictionary=False
    )
    if why == "damaged":
        place = pq.read_metadata(path).row_group(1).column(0).data_page_offset
        data = bytearray(path.read_bytes())
        data[place : place + 40] = b"\xff" * 40
        path.write_bytes(data)
    log = ParquetLog(bytes(path))
    assert log.large
    assert log.rows(["x"], 5, 9).shape == (4, 1)
    if why == "damaged":
        with pytest.raises(DataError, match="cannot be read"):
            log.rows(["x"], ROWS - 5, ROWS)


def test_a_window_of_a_csv_file_reads_a_few_hundred_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its lines are counted once, though it is opened again and again."""
    path = tmp_path / "a.csv"
    pandas.DataFrame({"x": np.arange(40_000), "y": 0.5}).to_csv(path, index=False)
    read: list[int] = []
    opened: Any = log_tables.open_regular

    class Counting:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def __enter__(self) -> Counting:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def __iter__(self) -> Any:
            return iter(self.file)

        def read(self, *size: int) -> bytes:
            data: bytes = self.file.read(*size)
            read.append(len(data))
            return data

    monkeypatch.setattr(log_tables, "open_regular", lambda *a, **k: Counting(opened(*a, **k)))
    log = CsvLog(bytes(path))
    assert sum(read) == path.stat().st_size - len(b"x,y\n")
    read.clear()
    log = CsvLog(bytes(path))
    assert not read
    for start in (0, 300, 20_000, 39_488):
        np.testing.assert_array_equal(
            log.rows(["x"], start, start + 512)[:, 0], np.arange(start, start + 512)
        )
    assert sum(read) <= 4 * (512 + 2 * 256) * len("39999,0.5\n")
