"""The samples that a run sees: damaged ones are set aside, and another takes their place."""

from __future__ import annotations

import contextlib
import fcntl
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.find import Source
from unlabeled.errors import DataError
from unlabeled.modalities.base import Modality

_MAX_TRIES = 1000


class Pool:
    """Samples by position.

    Whether an item is damaged is decided by its content each time, and its substitute is the
    next good position, so that neither workers nor a resume change what a position yields.

    Args:
        source: where items come from.
        modality: how they are read.
        indices: (N,) items of the source that belong to the pool.
        bad_budget: share of damaged items above which reading fails; one is always forgiven
            unless the budget is 0.
        quarantine: file that damaged items are written to, a JSON line each; shared by workers.
        keep_bytes: decoded arrays are kept up to so many bytes, for items that are the same in
            every epoch; each process keeps its own.
    """

    def __init__(
        self,
        source: Source,
        modality: Modality,
        indices: NDArray[np.int64],
        bad_budget: float,
        quarantine: Path | None = None,
        keep_bytes: int = 0,
    ):
        self.source, self.modality = source, modality
        self.indices: NDArray[np.int64] = np.asarray(indices, np.int64)
        self.bad_budget, self.quarantine = bad_budget, quarantine
        self._room = keep_bytes
        self._kept: dict[int, Any] = {}
        self._bad: dict[int, str] = {}
        self._shared: set[int] = set()
        self._read_to = 0
        self._ascending: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Return the number of positions."""
        return len(self.indices)

    @property
    def allowed_bad(self) -> int:
        """Return how many damaged items the budget forgives."""
        return max(int(self.bad_budget * len(self)), 1 if self.bad_budget > 0 else 0)

    def raw(self, position: int, epoch: int = 0) -> tuple[Any, str]:
        """Return a decoded sample and its name.

        Raises:
            DataError: more items are damaged than the budget forgives, or none is readable.
        """
        for tried in range(min(len(self), _MAX_TRIES)):
            index = int(self.indices[(position + tried) % len(self)])
            try:
                return self._decoded(index, epoch), self.source.name(index)
            except DataError as error:
                self._set_aside(index, str(error))
        raise DataError(
            f"None of {min(len(self), _MAX_TRIES):,} samples in a row can be read"
            f"{self._listing(self._bad)}."
            if len(self)
            else "There is no sample to read."
        )

    def _decoded(self, index: int, epoch: int) -> Any:
        if index in self._kept:
            return self._kept[index]
        raw = self.modality.read(self.source.payload(index, epoch))
        if self._room > 0:
            self._room -= raw.nbytes
            self._kept[index] = raw
        return raw

    def __getstate__(self) -> dict[str, Any]:
        """Leave what is kept behind: a worker keeps its own."""
        return {**self.__dict__, "_kept": {}}

    def _set_aside(self, index: int, reason: str) -> None:
        """Record a damaged item once, and fail when there are too many."""
        if index in self._bad:
            return
        self._bad[index] = reason
        if self.quarantine is not None:
            # A full disk must not end the run: the budget is then counted in this process.
            with contextlib.suppress(OSError):
                self._share(index, reason)
        if len(self._bad) > self.allowed_bad:
            raise DataError(
                f"{len(self._bad):,} of {len(self):,} samples cannot be read; the budget "
                f"data.bad_budget={self.bad_budget:g} forgives {self.allowed_bad:,}"
                f"{self._listing(self._bad)}. Repair or remove them, or raise the budget."
            )

    def _share(self, index: int, reason: str) -> None:
        """Append an item to the quarantine file, and learn what other workers found."""
        assert self.quarantine is not None
        with open(self.quarantine, "a+b") as file:
            # lockf, not flock: it is not inherited, so a killed run leaves no lock behind.
            fcntl.lockf(file, fcntl.LOCK_EX)
            file.seek(self._read_to)
            news = file.read()
            found = _parse(news)
            self._bad.update({i: why for i, why in found.items() if self._holds(i)})
            self._shared.update(found)
            if index not in self._shared:
                line = {"name": self.source.name(index), "index": index, "reason": reason}
                # A line that a crash cut off must not swallow this one.
                cut_off = news and not news.endswith(b"\n")
                file.write(b"\n" * bool(cut_off) + json.dumps(line).encode() + b"\n")
                file.flush()
            self._read_to = file.tell()
            self._shared.add(index)

    def _holds(self, index: int) -> bool:
        """Say whether an item is in this pool (a run has a second one, of held-out samples)."""
        if self._ascending is None:
            self._ascending = np.sort(self.indices)
        place = int(np.searchsorted(self._ascending, index))
        return place < len(self) and int(self._ascending[place]) == index

    def _listing(self, bad: dict[int, str]) -> str:
        first = [f"{self.source.name(i)}: {reason}" for i, reason in sorted(bad.items())[:5]]
        return f" (first: {'; '.join(first)})" if first else ""


def _parse(lines: bytes) -> dict[int, str]:
    """Read lines of the quarantine file; one that a crash cut off is skipped."""
    found: dict[int, str] = {}
    for line in lines.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            values = json.loads(line)
            found[int(values["index"])] = str(values["reason"])
    return found
