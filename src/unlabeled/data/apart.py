"""What must not be pre-trained on: held-out samples, their near-duplicates, their groups.

A figure on held-out samples is worth nothing if the same photograph in another size, the next
frame of the video, or another recording of the patient was trained on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.find import Source
from unlabeled.data.sketch import Sketches, across
from unlabeled.data.sketchbook import Sketchbook
from unlabeled.errors import UsageError

LOOKED = 100_000
"""Most samples of the pool that are looked at for near-duplicates, spread evenly over it."""


class Apart(NamedTuple):
    """What is left to pre-train on.

    Args:
        pool: indices, ascending.
        near: how many near-duplicates of held-out or excluded samples were left out.
        looked: how many samples of the pool were looked at.
        torn: how many samples of groups with excluded samples were left out.
    """

    pool: NDArray[np.int64]
    near: int
    looked: int
    torn: int = 0

    def record(self, outside: Outside, held_out: NDArray[np.int64]) -> dict[str, int]:
        """Return what is said of it in data.json."""
        found = {"near_held_out": self.near, "looked_at": self.looked} if outside.near else {}
        if outside.groups is not None:
            found["held_out_groups"] = len(np.unique(outside.groups[held_out]))
        if len(outside.excluded_groups):
            found["of_excluded_groups"] = self.torn
        return found


@dataclass(frozen=True)
class Outside:
    """What must stay outside of the pool, beside the held-out samples.

    Args:
        near: whether near-duplicates of held-out and of excluded samples do.
        exclude: data whose samples must not be pre-trained on, such as a test set.
        groups: (N,) names of the groups of all samples; empty where a sample has none.
        group: the column that says so, if it was a column: excluded samples have it too.
    """

    near: bool = True
    exclude: Source | None = None
    groups: NDArray[np.str_] | None = None
    group: str | None = None

    @cached_property
    def excluded_groups(self) -> NDArray[np.str_]:
        """Return the names of the groups of excluded samples, where their table has the column."""
        values = getattr(self.exclude, "values", None)
        if self.groups is None or self.group is None or values is None:
            return np.zeros(0, np.str_)
        try:
            found = {str(value).strip() for value in values(self.group) if value is not None}
        except UsageError:
            return np.zeros(0, np.str_)
        return np.array(sorted(found - {""}), np.str_)

    def sketches(self, source: Source, held_out: NDArray[np.int64], book: Sketchbook) -> Sketches:
        """Return what held-out and excluded samples look like."""
        kept_out = book.sketches(source, held_out)
        if self.exclude is not None:
            kept_out = kept_out.join(book.sketches(self.exclude, np.arange(len(self.exclude))))
        return kept_out

    @property
    def depends(self) -> dict[str, str]:
        """Return what a pool depends on by this, as words; nothing by the defaults."""
        found = {} if self.exclude is None else {"exclude": self.exclude.fingerprint}
        if self.groups is not None:
            found["groups"] = hashlib.sha256("\n".join(self.groups).encode()).hexdigest()
        return found


def apart(
    source: Source,
    pool: NDArray[np.int64],
    held_out: NDArray[np.int64],
    outside: Outside,
    book: Sketchbook,
) -> Apart:
    """Leave out of the pool what is near to a held-out sample or to one of other data.

    Args:
        source: the samples.
        pool: indices that would be pre-trained on.
        held_out: indices kept out.
        outside: what else must stay outside.
        book: what samples look like.
    """
    before = len(pool)
    if len(outside.excluded_groups):
        assert outside.groups is not None
        pool = pool[~np.isin(outside.groups[pool], outside.excluded_groups)]
    torn = before - len(pool)
    if not outside.near:
        return Apart(pool, 0, 0, torn)
    kept_out = outside.sketches(source, held_out, book)
    return unlike(source, pool, kept_out, book)._replace(torn=torn)


def unlike(source: Source, pool: NDArray[np.int64], kept_out: Sketches, book: Sketchbook) -> Apart:
    """Leave out of a pool what is near to sketches of other samples."""
    places = spread(len(pool), LOOKED)
    near = across(book.sketches(source, pool[places]), kept_out)
    return Apart(np.delete(pool, places[near]), int(near.sum()), len(places))


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Return up to `most` places among `count`, spread evenly.

    >>> spread(5, 3).tolist(), spread(2, 3).tolist()
    ([0, 2, 4], [0, 1])
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def looked(
    book: Sketchbook, source: Source, indices: NDArray[np.int64], limit: int = LOOKED
) -> Sketches:
    """Return the sketches of samples; of many, only some are known, spread evenly."""
    places = spread(len(indices), limit)
    found = book.sketches(source, indices[places])
    if len(places) == len(indices):
        return found
    keys = np.zeros((len(indices), found.keys.shape[1]), found.keys.dtype)
    looks = np.zeros((len(indices), found.looks.shape[1]), found.looks.dtype)
    known = np.zeros(len(indices), bool)
    keys[places], looks[places], known[places] = found.keys, found.looks, found.known
    return replace(found, keys=keys, looks=looks, known=known)
