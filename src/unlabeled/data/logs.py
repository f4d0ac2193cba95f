"""Logs as samples: files of numbers, their episodes, and long episodes cut into stretches."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data import log_bags, log_lerobot
from unlabeled.data.folder import Names, Scan, printable
from unlabeled.data.log_arrays import NpzLog
from unlabeled.data.log_columns import Columns
from unlabeled.data.log_hdf5 import Hdf5Log
from unlabeled.data.log_tables import CsvLog, ParquetLog
from unlabeled.data.log_zarr import ZarrLog
from unlabeled.errors import DataError, MissingExtraError, UsageError
from unlabeled.modalities.roles import channels, role
from unlabeled.modalities.stretch import Stretch

WINDOW = 512
"""Steps above which an episode is cut into several samples, unless another number is asked for."""

_MOST_WORD = 32
_READERS: Mapping[str, Callable[[bytes], Columns]] = {
    ".csv": CsvLog,
    ".tsv": CsvLog,
    ".parquet": ParquetLog,
    ".npz": NpzLog,
    **dict.fromkeys((".h5", ".hdf5"), Hdf5Log),
    **dict.fromkeys(log_bags.SUFFIXES, log_bags.BagLog),
}


@dataclass(frozen=True, eq=False)
class Logs:
    """A source whose samples are episodes, or parts of long ones.

    Args:
        logs: one for each file, or why it cannot be read.
        names: of the files.
        window: steps above which an episode is cut.
        fingerprint: hash of names and sizes.
        skipped: what was left out and why, for `inspect`.
    """

    logs: Sequence[Columns | str]
    names: Names
    window: int
    fingerprint: str
    skipped: Mapping[str, int] = field(default_factory=dict)
    kind: str = "series"

    def __post_init__(self) -> None:
        rows: list[tuple[int, int, int, int, int]] = []
        labels: list[str] = []
        for file, log in enumerate(self.logs):
            found = [("", 0, 0)] if isinstance(log, str) else log.episodes()
            for label, first, last in found:
                for start, stop in _cuts(first, last, self.window):
                    rows.append((file, len(labels), start, stop, first))
                labels.append(label if len(found) > 1 else "")
        table = np.asarray(rows, np.int64).reshape(-1, 5)
        for name, column in zip(("file", "groups", "start", "stop", "first"), table.T, strict=True):
            object.__setattr__(self, f"_{name}", column)
        object.__setattr__(self, "_labels", labels)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.groups)

    @property
    def groups(self) -> NDArray[np.int64]:
        """Return (N,) the number of the episode that a sample is of; a split tears none apart."""
        found: NDArray[np.int64] = self._groups  # type: ignore[attr-defined]
        return found

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        return np.bincount(self.groups)

    def episode(self, index: int) -> str:
        """Return the printable name of a sample's episode: ``file`` or ``file#episode``."""
        name = printable(self.names[int(self._file[index])])  # type: ignore[attr-defined]
        label = self._labels[int(self.groups[index])]  # type: ignore[attr-defined]
        return f"{name}#{label}" if label else name

    def name(self, index: int) -> str:
        """Return the episode's name, for a part of one with the step at which it begins."""
        _, name, begin = self.whole(index)
        return name if self._sizes[self.groups[index]] == 1 else f"{name}@{begin:.0f}"

    def whole(self, index: int) -> tuple[int, str, float]:
        """Return number and name of a sample's episode, and the step at which it begins there."""
        begin = self._start[index] - self._first[index]  # type: ignore[attr-defined]
        return int(self.groups[index]), self.episode(index), float(begin)

    def payload(self, index: int, epoch: int = 0) -> Stretch:
        """Return a stretch, whose rows are not read yet.

        Raises:
            DataError: the file cannot be read; the sentence names the reason.
        """
        log = self.logs[int(self._file[index])]  # type: ignore[attr-defined]
        if isinstance(log, str):
            raise DataError(log)
        start, stop = self._start[index], self._stop[index]  # type: ignore[attr-defined]
        return Stretch(log, int(start), int(stop))

    def columns(self) -> list[str]:
        """Return the names of all columns of the first log that can be read."""
        log = next((log for log in self.logs if not isinstance(log, str)), None)
        return [] if log is None else [*log.blocks, *log.words]

    def values(self, index: int, column: str) -> NDArray[Any]:
        """Return a column of a sample's rows, (T,).

        Raises:
            DataError: the log cannot be read, or has no such column.
        """
        stretch = self.payload(index)
        log: Any = stretch.log
        if column not in (*log.blocks, *log.words):
            raise DataError(f"it has no column '{column}'")
        found = np.asarray(log.block(column, stretch.start, stretch.stop))
        return found.reshape(len(found), -1)[:, 0]


def _cuts(first: int, last: int, window: int) -> list[tuple[int, int]]:
    """Return equal parts of at most `window` steps, so that none is a leftover.

    >>> _cuts(0, 10, 10), _cuts(5, 16, 10)
    ([(0, 10)], [(5, 10), (10, 16)])
    """
    count = max(1, -(-(last - first) // window))
    edges = [first + (last - first) * i // count for i in range(count + 1)]
    return list(pairwise(edges))


def open_logs(
    root: bytes,
    names: Sequence[bytes],
    window: int | None,
    skipped: Mapping[str, int] | None = None,
    vectors: Mapping[str, Sequence[str]] | None = None,
) -> Logs:
    """Open files as one source; a damaged one becomes a sample that cannot be read.

    Args:
        root: folder that names are relative to.
        names: of the files.
        window: steps above which an episode is cut; None is `WINDOW`.
        skipped: what was left out of the search.
        vectors: names of what is in the vectors of columns, where a format says them.

    Raises:
        UsageError: none of them holds a column of numbers.
    """
    left_out = Counter(skipped or {})
    logs: list[Columns | str] = []
    kept: list[bytes] = []
    digest = hashlib.sha256()
    for name in names:
        path = os.path.join(root, name)
        log = _open(path)
        if not isinstance(log, str):
            log.vectors = vectors or {}
        if not isinstance(log, str) and not any(channels(log.names)):
            left_out["tables without a column of numbers"] += 1
            continue
        kept.append(name)
        logs.append(log)
        digest.update(b"%s %d\n" % (name, _size(path)))
    if not any(not isinstance(log, str) for log in logs):
        first = next((log for log in logs if isinstance(log, str)), "none has a column of numbers")
        raise UsageError(
            f"{printable(root)}: none of {len(names):,} files can be read as a log ({first}). "
            "Logs are csv, parquet, npz or HDF5 files of numbers, a row a step, MCAP files or bags."
        )
    return Logs(logs, Names(kept), window or WINDOW, digest.hexdigest(), left_out)


def _open(path: bytes) -> Columns | str:
    suffix = os.path.splitext(path)[1].lower().decode("utf-8", "replace")
    reader = ZarrLog if os.path.isdir(path) else _READERS.get(suffix)
    if reader is None:
        return f"logs are not read from {suffix} files; {' '.join(_READERS)} are"
    try:
        log = reader(path)
    except MissingExtraError:
        raise
    except DataError as error:
        return str(error)
    return log if len(log) else "it has no rows"


def _size(path: bytes) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def in_folder(where: bytes, found: Scan, window: int | None) -> Logs:
    """Open the logs of a folder.

    Raises:
        UsageError: there are none.
    """
    of_robots = log_lerobot.is_dataset(where)
    names = [
        name
        for name in sorted((*found.names["series"], *found.names["table"]))
        if os.path.splitext(name)[1].lower().decode("utf-8", "replace") in _READERS
        and (name.startswith(b"data/") or not of_robots)
    ]
    names = log_bags.one_a_bag(names, where)
    others = sum(found.suffixes.values()) - len(names)
    skipped = Counter(found.skipped) + Counter({"other files": others} if others else {})
    vectors = log_lerobot.vectors(where) if of_robots else {}
    return open_logs(where, names, window, skipped, vectors)


def is_log(path: bytes) -> bool:
    """Say whether a table holds mainly numbers: channels, and at most short words beside them.

    A table of pictures, sounds or documents has a column of paths, bytes or long strings; a table
    of labels has hardly a number.
    """
    try:
        log = _open(path)
    except MissingExtraError:
        return True
    if isinstance(log, str) or not len(log):
        return False
    words = [name for name in log.words if role(name) not in ("label", "time", "episode", "done")]
    if len(words) >= sum(map(len, channels(log.names))):
        return False
    try:
        return all(_short(log.block(name, 0, min(20, len(log)))) for name in words)
    except DataError:
        return False


def _short(values: NDArray[Any]) -> bool:
    return all(
        isinstance(v, str | float) and len(str(v)) <= _MOST_WORD for v in values if v is not None
    )
