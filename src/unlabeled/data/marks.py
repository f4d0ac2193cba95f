"""Recordings and episodes of logs in which stretches of time have a label.

Only `unlabeled.transfer` may import this module.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unlabeled import kinds
from unlabeled.data.tags import inside
from unlabeled.errors import DataError
from unlabeled.modalities import sound

Scale = Literal["s", "steps"]
NONE = -1
"""Stands where nothing is said of a time."""


@dataclass(frozen=True)
class Whole:
    """A recording, or an episode of a log: one sample, or several where it is long.

    Args:
        name: what it is called.
        parts: the samples that it is made of, and where in it each begins.
    """

    name: str
    parts: tuple[tuple[int, float], ...]


class Wholes:
    """The recordings or episodes of a source; named as samples are, for `label_names.Names`.

    Args:
        source: the samples.
    """

    def __init__(self, source: Any) -> None:
        self.source, self.kind = source, source.kind
        found: dict[Any, list[tuple[int, float]]] = {}
        names: dict[Any, str] = {}
        whole = getattr(source, "whole", None)
        for index in range(len(source)):
            key, name, begin = (index, source.name(index), 0.0) if whole is None else whole(index)
            found.setdefault(key, []).append((index, begin))
            names[key] = name
        self.all = [Whole(names[key], tuple(parts)) for key, parts in found.items()]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.all)

    def name(self, index: int) -> str:
        """Return the name of one."""
        return self.all[index].name

    @property
    def scale(self) -> Scale:
        """Return in what time is told."""
        return "steps" if kinds.rows(self.kind) else "s"

    def length(self, number: int) -> float:
        """Return how long one is, in seconds or steps; 0 where its header does not say.

        Raises:
            DataError: it cannot be opened.
        """
        index, begin = self.all[number].parts[-1]
        payload = self.source.payload(index)
        if self.scale == "steps":
            return begin + float(payload.stop - payload.start)
        if isinstance(payload, bytes):
            return sound.seconds(io.BytesIO(payload))
        return begin + float(payload.seconds)


@dataclass(frozen=True)
class Marked:
    """Recordings or episodes with labelled stretches; they do not overlap, but may leave gaps.

    Args:
        source: the samples.
        wholes: N recordings or episodes.
        lengths: (N,) in seconds or steps.
        starts: (N + 1,) where the stretches of each begin among all.
        begin: (S,) where each stretch begins, ascending in each of the N.
        end: (S,) where it ends; this moment is not of it.
        tags: (S,) positions in `classes`.
        classes: names.
        scale: whether time is in seconds or in steps.
        group: (N,) what must not be torn apart, where it is known.
        split: (N,) names of splits, where they are known.
        skipped: why some that have labels were left out, in words.
        said: what is to be told of how they were read.
    """

    source: Any
    wholes: Sequence[Whole]
    lengths: NDArray[np.float64]
    starts: NDArray[np.int64]
    begin: NDArray[np.float64]
    end: NDArray[np.float64]
    tags: NDArray[np.int64]
    classes: list[str]
    scale: Scale
    group: NDArray[np.str_] | None = None
    split: NDArray[np.str_] | None = None
    skipped: tuple[str, ...] = ()
    said: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return N."""
        return len(self.wholes)

    @property
    def about(self) -> tuple[Any, ...]:
        """Return what tells them from others, for a hash."""
        names = [whole.name for whole in self.wholes]
        return names, self.starts, self.begin, self.end, self.tags

    @property
    def fingerprint(self) -> str:
        """Return a hash of samples and labels."""
        digest = hashlib.sha256(repr((self.source.fingerprint, self.classes)).encode())
        for part in self.about:
            digest.update(repr(part).encode() if isinstance(part, list) else part.tobytes())
        return digest.hexdigest()

    def name(self, number: int) -> str:
        """Return the name of one."""
        return self.wholes[number].name

    def take(self, rows: NDArray[Any]) -> Marked:
        """Return those at `rows` (positions or a mask)."""
        chosen = np.arange(len(self))[rows]
        places = inside(self.starts, chosen)
        return replace(
            self,
            wholes=[self.wholes[int(row)] for row in chosen],
            lengths=self.lengths[chosen],
            starts=np.cumsum([0, *np.diff(self.starts)[chosen]]).astype(np.int64),
            begin=self.begin[places],
            end=self.end[places],
            tags=self.tags[places],
            group=None if self.group is None else self.group[chosen],
            split=None if self.split is None else self.split[chosen],
        )

    def at(self, number: int, times: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the classes of moments of one of them, of any shape; `NONE` where none is said."""
        first, last = self.starts[number], self.starts[number + 1]
        if first == last:
            return np.full(times.shape, NONE, dtype=np.int64)
        place = np.searchsorted(self.begin[first:last], times, side="right") - 1
        near = first + np.maximum(place, 0)
        there = (place >= 0) & (times < self.end[near])
        return np.where(there, self.tags[near], NONE).astype(np.int64)


def unlabelled(source: Any, classes: list[str]) -> tuple[Marked, list[tuple[str, str]]]:
    """Return all recordings or episodes of a source without a label, and those not to be opened."""
    found = Wholes(source)
    kept: list[tuple[Whole, float]] = []
    bad: list[tuple[str, str]] = []
    for number, whole in enumerate(found.all):
        try:
            kept.append((whole, found.length(number)))
        except DataError as error:
            bad.append((whole.name, str(error)))
    none = np.zeros(0)
    marked = Marked(
        source, [whole for whole, _ in kept], np.array([length for _, length in kept]),
        np.zeros(len(kept) + 1, dtype=np.int64), none, none, none.astype(np.int64), classes,
        found.scale,
    )  # fmt: skip
    return marked, bad
