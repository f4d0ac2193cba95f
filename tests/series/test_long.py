"""Long logs: cut the same in parts as in one, and read in memory that does not grow with them."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from unlabeled.data import log_columns
from unlabeled.data.log_tables import CsvLog, ParquetLog

ROOT = Path(__file__).parents[2]
COLUMNS: dict[str, tuple[Any, list[tuple[str, int, int]]]] = {
    "episode_index": ([0] * 7 + [1] * 2 + [4] * 14, [("0", 0, 7), ("1", 7, 9), ("4", 9, 23)]),
    "episode": (["a"] * 8 + ["b"] * 15, [("a", 0, 8), ("b", 8, 23)]),
    "done": (
        [False] * 7 + [True] + [False] * 9 + [True] + [False] * 4 + [True],
        [("0", 0, 8), ("1", 8, 18), ("2", 18, 23)],
    ),
    "terminated": ([0.0] * 23, [("", 0, 23)]),
}


@pytest.mark.parametrize("block", [1, 4, 8, 100])
@pytest.mark.parametrize("name", COLUMNS)
def test_episodes_end_where_they_end_whatever_is_read_at_once(
    name: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_columns, "_BLOCK", block)
    values, expected = COLUMNS[name]
    frame = pandas.DataFrame({"place": np.arange(23.0), name: values})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=5)
    assert CsvLog(str(tmp_path / "a.csv").encode()).episodes() == expected
    assert ParquetLog(str(tmp_path / "a.parquet").encode()).episodes() == expected


def test_row_groups_that_were_kept_are_those_of_the_file(tmp_path: Path) -> None:
    """A file that was written anew at the same place is read anew."""
    path = tmp_path / "a.parquet"
    for factor in (1.0, 3.0):
        frame = pandas.DataFrame({"x": factor * np.arange(40), "y": -factor * np.arange(40)})
        frame.to_parquet(path, row_group_size=16)
        log = ParquetLog(str(path).encode())
        for start, stop in ((0, 4), (4, 9), (10, 20), (33, 40), (0, 40)):
            found = log.rows(["y", "x"], start, stop)
            np.testing.assert_array_equal(found[:, 1], factor * np.arange(start, stop))
            np.testing.assert_array_equal(found[:, 0], -found[:, 1])


READ = """
import re, sys
from pathlib import Path
import numpy as np
import pyarrow.csv, pyarrow.parquet, torch
from unlabeled.config import SeriesConfig
from unlabeled.data.find import find
from unlabeled.data.loader import Loader, Order
from unlabeled.data.read import Pool
from unlabeled.data.split import split
from unlabeled.look import look
from unlabeled.modalities.series import Series
from unlabeled.prepare import KEPT_LOGS
from unlabeled.types import View

def peak():
    # Not getrusage: a child begins with the greatest memory of the process that started it.
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

before = peak()
source = find(sys.argv[1], "series", None)
seen = look(source).details
found = seen.over_pool((*seen.observations, *seen.actions), 0.05, 0)
parts = split(source, 0.05, True, 0)
series = Series(SeriesConfig(observations=seen.observations, actions=seen.actions, length=512,
                **{name: tuple(map(float, values)) for name, values in found.items()}))
pool = Pool(source, series, parts.pool, 0.0, None, KEPT_LOGS)
steps = len(pool) // 64
loader = Loader(pool, series, {"plain": View()}, Order(len(pool), 64, 0), 0)
read = sum(batch["plain"].isfinite().sum().item() for batch in loader.batches(0, steps))
print(len(source), read, (peak() - before) // 1000)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says what was taken")
@pytest.mark.parametrize("files", [1, 20])
@pytest.mark.parametrize(
    "form", ["npz", "parquet", "csv", "tsv", "hdf5", "zarr", "mcap", "lerobot"]
)
def test_ten_million_steps_take_little_memory_beside_the_libraries(
    form: str, files: int, tmp_path: Path
) -> None:
    """S1: finding, measuring, splitting and reading every window once, of one file or of many.

    Libraries take about 0.87 GB of the 1 GB that a run may have (docs/log.md).
    """
    bench = runpy.run_path(str(ROOT / "bench" / "long_logs.py"))
    steps = int(os.environ.get("UNLABELED_LONG", "10000000"))
    path = bench["written"](tmp_path / "logs", form, steps, files)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    windows, read, megabytes = map(int, done.stdout.split())
    assert windows >= steps // 512
    assert read > 0.85 * 8 * steps
    assert megabytes < 130
