"""What samples look like and which are equal, looked at once and kept in a folder.

Near-duplicates are looked for when a run begins and in every study of it. The sketches of a source
change with it alone, so they are kept under its fingerprint, each beside its index.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.find import Source
from unlabeled.data.sketch import Sketches, sketch
from unlabeled.data.split import digest

LOOKS = "looks"
"""Where a run keeps them."""
FORM = 1
"""Raised when the same item gets another sketch; older ones are then made again."""
MOST_BYTES = 64 << 20
"""Of the sketches of one source on disk; what is beyond is made again."""

Indices = NDArray[np.int64]


class Sketchbook:
    """Sketches and hashes by source and index.

    Args:
        folder: where they are kept; None keeps them in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._sketches: dict[str, tuple[Indices, Sketches]] = {}
        self._hashes: dict[str, tuple[Indices, NDArray[np.int64]]] = {}

    def sketches(self, source: Source, indices: Indices) -> Sketches:
        """Return the sketches of items, looking at those that are new."""
        indices = np.asarray(indices, np.int64)
        there, known = self._sketches.get(source.fingerprint) or self._read(source)
        new = np.setdiff1d(indices, there)
        if len(new):
            every = np.concatenate([there, new])
            order = np.argsort(every)
            made = sketch(source, new)
            there, known = every[order], (known.join(made) if len(there) else made).take(order)
            self._write(source, there, known)
        self._sketches[source.fingerprint] = there, known
        return known.take(np.searchsorted(there, indices))

    def hashes(self, source: Source, indices: Indices) -> NDArray[np.int64]:
        """Return the hashes of contents, (N, 2), reading those that are new."""
        indices = np.asarray(indices, np.int64)
        there, known = self._hashes.get(source.fingerprint) or self._read_hashes(source)
        new = np.setdiff1d(indices, there)
        if len(new):
            made = np.array(
                [np.frombuffer(digest(source, int(index)), np.int64) for index in new]
            ).reshape(-1, 2)
            every = np.concatenate([there, new])
            order = np.argsort(every)
            there, known = every[order], np.concatenate([known, made])[order]
            self._save(source, "hashes", indices=there, hashes=known)
        self._hashes[source.fingerprint] = there, known
        return known[np.searchsorted(there, indices)]

    def _path(self, source: Source, what: str) -> Path | None:
        name = f"{what}-{FORM}-{source.fingerprint[:16]}.npz"
        return None if self.folder is None else self.folder / name

    def _load(self, source: Source, what: str) -> dict[str, NDArray[Any]]:
        """Return the arrays of a file; none where it is not there or cannot be read."""
        path = self._path(source, what)
        if path is None or not path.is_file():
            return {}
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return {}
        whole = len({len(array) for array in found.values()}) == 1
        return found if whole else {}

    def _read(self, source: Source) -> tuple[Indices, Sketches]:
        empty = sketch(source, np.zeros(0, np.int64))
        found = self._load(source, "looks")
        if not {"indices", "keys", "looks", "known"} <= set(found):
            return np.zeros(0, np.int64), empty
        return found["indices"].astype(np.int64), replace(
            empty, keys=found["keys"], looks=found["looks"], known=found["known"].astype(bool)
        )  # fmt: skip

    def _read_hashes(self, source: Source) -> tuple[Indices, NDArray[np.int64]]:
        found = self._load(source, "hashes")
        if not {"indices", "hashes"} <= set(found):
            return np.zeros(0, np.int64), np.zeros((0, 2), np.int64)
        return found["indices"].astype(np.int64), found["hashes"].astype(np.int64)

    def _write(self, source: Source, there: Indices, known: Sketches) -> None:
        each = (known.keys.nbytes + known.looks.nbytes) // max(1, len(known)) + 9
        rows = np.arange(min(len(there), MOST_BYTES // each))
        part = known.take(rows)
        self._save(
            source, "looks", indices=there[rows], keys=part.keys, looks=part.looks, known=part.known
        )

    def _save(self, source: Source, what: str, **arrays: NDArray[Any]) -> None:
        """Write arrays, whole or not at all; a folder that cannot be written costs only time."""
        path = self._path(source, what)
        if path is None:
            return
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        save: Any = np.savez
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                save(file, **arrays)
            draft.replace(path)


def among(these: NDArray[np.int64], those: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which hashes (N, 2) are among others (M, 2).

    >>> among(np.array([[1, 2], [1, 3]]), np.array([[1, 3], [4, 4]])).tolist()
    [False, True]
    """
    if not len(these) or not len(those):
        return np.zeros(len(these), bool)
    _, number = np.unique(np.concatenate([these, those]), axis=0, return_inverse=True)
    number = number.ravel()
    return np.asarray(np.isin(number[: len(these)], number[len(these) :]))
