"""Documents divided into what is trained on and what is held out, and what must stay outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.apart import Apart, Outside, apart, unlike
from unlabeled.data.sketchbook import Sketchbook
from unlabeled.data.split import held_groups
from unlabeled.data.survey import Documents, Survey, read
from unlabeled.errors import DataError


@dataclass(frozen=True)
class Part:
    """Documents of one part; of the first and the last, perhaps only some characters."""

    source: Documents
    documents: NDArray[np.int64]
    first: int = 0
    last: int | None = None

    def texts(self, position: int) -> Iterator[str]:
        """Yield one document in pieces."""
        start = self.first if position == 0 else 0
        stop = self.last if position == len(self.documents) - 1 else None
        for piece in read(self.source, int(self.documents[position])):
            cut = piece[max(start, 0) : stop]
            start, stop = start - len(piece), stop and max(stop - len(piece), 0)
            if cut:
                yield cut
            if stop == 0:
                return

    def __iter__(self) -> Iterator[Iterator[str]]:
        """Yield documents."""
        return (self.texts(position) for position in range(len(self.documents)))


def divide(
    source: Documents,
    found: Survey,
    how: str,
    held_out: float,
    groups: NDArray[np.str_] | None = None,
) -> tuple[dict[str, Part], str]:
    """Return the training part, the held-out part, and how they were split.

    A document is held out when the hash of its text says so: adding documents moves none. Where
    that leaves one part empty (few documents), the tail of the text is held out instead. With
    groups, (N,) names of all documents, whole groups are held out, by the hashes of their names.
    """
    good = found.good
    if held_out == 0:
        return {"train": Part(source, good), "held_out": Part(source, good[:0])}, "none"
    if groups is not None:
        hashes = np.repeat(found.digest[good].view(np.int64)[:, None], 2, axis=1)
        hashes[:, 1] = 0
        chosen = held_groups(groups[good], hashes, held_out, 0)
        return {
            "train": Part(source, good[~chosen]),
            "held_out": Part(source, good[chosen]),
        }, "group"
    if how == "document":
        chosen = found.digest[good] < np.uint64(held_out * float(2**64 - 2**11))
        if chosen.any() and not chosen.all():
            parts = {"train": Part(source, good[~chosen]), "held_out": Part(source, good[chosen])}
            return parts, "document"
    ends = np.cumsum(found.characters[good])
    border = int(ends[-1] * (1 - held_out))  # the first 90 % and the last 10 % of nanoGPT
    inside = int(np.searchsorted(ends, border, side="right"))
    offset = border - (int(ends[inside - 1]) if inside else 0)
    train = Part(source, good[: inside + (offset > 0)], last=offset or None)
    return {"train": train, "held_out": Part(source, good[inside:], first=offset)}, "tail"


def stay_outside(
    parts: dict[str, Part], outside: Outside, book: Sketchbook
) -> tuple[dict[str, Part], Apart]:
    """Leave out of every training part what is near to a held-out or an excluded document.

    Args:
        parts: ``train`` and ``held_out``, and the same of texts beside, as ``mix0-train``.
        outside: what must stay outside.
        book: what documents look like.

    Returns:
        The parts, and what was left out of them in all.

    Raises:
        DataError: nothing is left to train on.
    """
    found, held = dict(parts), parts["held_out"]
    border = np.isin(parts["train"].documents, held.documents)  # its tail is held out, no more
    source: Any = parts["train"].source
    pool = parts["train"].documents[~border]
    left = total = apart(source, pool, held.documents, outside, book)
    found["train"] = _only(parts["train"], left, border)
    for name in [name for name in parts if name.endswith("-train") and outside.near]:
        other: Any = parts[name].source
        kept_out = outside.sketches(source, held.documents, book)
        left = unlike(other, parts[name].documents, kept_out, book)
        found[name] = replace(parts[name], documents=left.pool)
        total = total._replace(near=total.near + left.near, looked=total.looked + left.looked)
    if not len(found["train"].documents):
        raise DataError(
            f"Nothing is left to train on: all {len(pool):,} documents are like a held-out or "
            "excluded one, or of their groups. Give other data, or leave data.exclude out."
        )
    return found, total


def _only(part: Part, left: Apart, border: NDArray[np.bool_]) -> Part:
    """Return a part of the documents that stay; that at the border does."""
    return replace(part, documents=np.concatenate([left.pool, part.documents[border]]))
