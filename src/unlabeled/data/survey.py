"""Looking at every document: which are empty, unreadable, unwanted or seen before, and how long.

Documents are read in pieces, so that neither one huge line nor a million empty ones need memory.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unlabeled.data import quality
from unlabeled.data.near import Signatures, near_copies
from unlabeled.errors import DataError
from unlabeled.modalities.decode import Damage, clean, decode, pieces, refuse

GOOD, EMPTY, BAD, COPY, NEAR, FILTERED = range(6)


@dataclass(frozen=True)
class Wanted:
    """Which documents are used.

    Args:
        deduplicate: later copies of a text are left out.
        near: share of common phrases from which a later text is a near copy; None keeps them.
        languages: ISO 639-1 codes of what is kept; empty keeps all.
        quality: whether what is no running text is left out.
    """

    deduplicate: bool = True
    near: float | None = None
    languages: tuple[str, ...] = ()
    quality: bool = False


class Documents(Protocol):
    """What is asked of a source of documents.

    A source of large files may also offer ``pieces(index) -> Iterator[str]``, which is then read
    piece by piece.
    """

    @property
    def fingerprint(self) -> str:
        """Return a hash that changes with the documents."""

    def __len__(self) -> int:
        """Return the number of documents."""

    def name(self, index: int) -> str:
        """Return what a document is called in messages."""

    def payload(self, index: int, epoch: int = 0) -> Any:
        """Return a document as str or bytes."""


def read(source: Documents, index: int, damage: Damage | None = None) -> Iterator[str]:
    """Yield a document in clean pieces.

    Raises:
        DataError: it cannot be read.
    """
    damage = damage if damage is not None else Damage()
    opener = getattr(source, "pieces", None)
    texts: Iterator[str] = opener(index) if opener is not None else iter([_whole(source, index)])
    for text in texts:
        damage.replaced += text.count("\N{REPLACEMENT CHARACTER}")
        for piece in pieces(text):
            yield clean(piece, damage)


def _whole(source: Documents, index: int) -> str:
    payload = source.payload(index)
    return decode(payload) if isinstance(payload, bytes) else str(payload)


@dataclass
class Survey:
    """What is known of each document: its state, a hash of its text, its length."""

    state: NDArray[np.int8]
    digest: NDArray[np.uint64]
    characters: NDArray[np.int64]
    num_bytes: NDArray[np.int64]
    replaced: int = 0
    bad: list[dict[str, Any]] = field(default_factory=list)
    filtered: Counter[str] = field(default_factory=Counter)

    @property
    def good(self) -> NDArray[np.int64]:
        """Return the documents that are used, in order."""
        return np.flatnonzero(self.state == GOOD)

    def count(self, state: int) -> int:
        """Return how many documents are in a state."""
        return int((self.state == state).sum())


def survey(source: Documents, wanted: Wanted | None = None) -> Survey:
    """Read every document once, and mark which are not used and why."""
    wanted = wanted or Wanted()
    count = len(source)
    found = Survey(
        np.zeros(count, np.int8),
        np.zeros(count, np.uint64),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
    )
    for index in range(count):
        _look(source, index, found)
        if found.state[index] == GOOD and (wanted.languages or wanted.quality):
            _filter(source, index, found, wanted)
    if wanted.deduplicate:
        good = found.good
        first = np.zeros(len(good), bool)
        first[np.unique(found.digest[good], return_index=True)[1]] = True
        found.state[good[~first]] = COPY
    if wanted.near is not None:
        _mark_near(source, found, wanted.near)
    return found


def _filter(source: Documents, index: int, found: Survey, wanted: Wanted) -> None:
    """Leave out a document that is no running text, or in another language."""
    head = ""
    for piece in read(source, index):
        head += piece
        if len(head) >= quality.HEAD:
            break
    reason = quality.fault(head[: quality.HEAD]) if wanted.quality else None
    if reason is None and wanted.languages:
        spoken = quality.language(head)
        reason = None if spoken in wanted.languages else f"language {spoken}"
    if reason is not None:
        found.state[index] = FILTERED
        found.filtered[reason] += 1


def _mark_near(source: Documents, found: Survey, threshold: float) -> None:
    """Mark documents that are nearly an earlier one."""
    signatures, good = Signatures(), found.good
    for index in good.tolist():
        signatures.add(read(source, index))
    if len(good):
        near = near_copies(np.stack(signatures.rows), threshold)
        found.state[good[near]] = NEAR


def _look(source: Documents, index: int, found: Survey) -> None:
    """Fill in one document."""
    damage, blank = Damage(), True
    digest = hashlib.blake2b(digest_size=8)
    try:
        for piece in read(source, index, damage):
            data = piece.encode("utf-8")
            digest.update(data)
            blank = blank and not piece.strip()
            found.characters[index] += len(piece)
            found.num_bytes[index] += len(data)
        refuse(damage)
    except DataError as error:
        found.state[index] = BAD
        found.bad.append({"name": source.name(index), "index": index, "reason": str(error)})
        return
    found.replaced += damage.replaced
    found.state[index] = EMPTY if blank else GOOD
    found.digest[index] = int.from_bytes(digest.digest(), "little")


def quarantine(found: Survey, folder: Path, budget: float) -> None:
    """Write down the unreadable documents.

    Raises:
        DataError: they are more than the budget allows.
    """
    if not found.bad:
        return
    path = folder / "quarantine.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in found.bad)
    share = len(found.bad) / len(found.state)
    if share > budget:
        worst = found.bad[0]
        raise DataError(
            f"{len(found.bad)} of {len(found.state)} documents cannot be used ({share:.1%}; "
            f"data.bad_budget allows {budget:.1%}). The first is {worst['name']}: "
            f"{worst['reason']} All are listed in {path}."
        )
