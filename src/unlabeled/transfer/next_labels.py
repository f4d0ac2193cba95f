"""What a person is asked to label: samples chosen from data, and some at random to score on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unlabeled import rng
from unlabeled.data.find import Source
from unlabeled.data.label_forms import form_of
from unlabeled.data.labels import Labels
from unlabeled.errors import DataError, UsageError
from unlabeled.kinds import strings
from unlabeled.transfer import suggest
from unlabeled.transfer.features import BEGINS, Reader, Seen, said_bad, see

_NONE = np.zeros(0, np.int64)

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Asked:
    """Samples to label, most useful first, then those to score on.

    Args:
        source: where they come from.
        indices: (n,) which of them.
        names: (n,) printable names.
        texts: (n,) the beginning of each document; empty strings for other kinds.
        is_test: (n,) whether a sample was drawn at random to score on.
        by: how the others were chosen.
        pool: samples without a label that were looked at.
        notes: what a person should know.
    """

    source: Source
    indices: NDArray[np.int64]
    names: list[str]
    texts: list[str]
    is_test: list[bool]
    by: str
    pool: int
    notes: list[str]

    @property
    def tests(self) -> int:
        """Return how many are to score on."""
        return sum(self.is_test)

    @property
    def chosen(self) -> int:
        """Return how many are to learn from."""
        return len(self.names) - self.tests


def ask(
    encoder: Reader,
    source: Source,
    count: int,
    *,
    by: str | None = None,
    given: tuple[Source, Labels] | None = None,
    held_out: Indices | None = None,
    test: int = 0,
    most: int = 20_000,
    seed: int = 0,
) -> Asked:
    """Choose samples to label.

    Args:
        encoder: whose features decide.
        source: the samples.
        count: how many to choose.
        by: a name of `suggest.WAYS`; None chooses by the number of labels.
        given: labels that there are, and the samples that they are of; these may be other data.
        held_out: samples of `source` that are kept to score on, if any.
        test: how many to draw at random to score on.
        most: most samples without a label that are looked at.
        seed: of clusters and draws.

    Raises:
        UsageError: nothing is left to label, or the way asked for needs labels.
        DataError: no sample can be read.
    """
    notes: list[str] = []
    other, labelled = given or (source, Labels(_NONE, _NONE, []))
    taken = labelled.indices if other.fingerprint == source.fingerprint else _NONE
    if labelled.split is not None:  # what is scored on must not steer what is learned from
        labelled = labelled.take(np.char.lower(labelled.split) != "test")
    free = np.setdiff1d(np.arange(len(source)), taken)
    pool, tests = _parts(free, _NONE if held_out is None else held_out, test, seed, notes)
    if len(pool) > most:
        notes.append(f"{most:,} of {len(pool):,} samples were looked at (--most).")
        pool = _draw(pool, most, seed + 2)
    seen = see(encoder, source, pool)
    notes += said_bad(seen.bad)
    if not len(seen.indices):
        raise DataError(f"None of the samples without a label can be read. {' '.join(notes)}")
    known = _known(encoder, seen, other, labelled, notes)
    by = by or suggest.fitting(known)
    if by == "doubtful" and known.classes < 2:
        raise UsageError(
            "--by doubtful asks a probe of the labels so far: give --labels FILE with one class a "
            "sample and at least two classes, or --by typical."
        )
    rows = suggest.choose(known, count, by, seed)
    if len(rows) < count:
        notes.append(f"No more than {len(rows):,} are left.")
    begins = seen.begins or [""] * len(seen.indices)
    words = [begins[row] for row in rows] + _texts(encoder, source, tests)
    indices = np.concatenate([seen.indices[rows], tests])
    return Asked(
        source, indices, [source.name(int(i)) for i in indices], words,
        [False] * len(rows) + [True] * len(tests), by, len(seen.indices), notes,
    )  # fmt: skip


def _parts(
    free: Indices, kept: Indices, test: int, seed: int, notes: list[str]
) -> tuple[Indices, Indices]:
    """Return which samples without a label may be suggested, and which are to score on.

    Raises:
        UsageError: nothing is left to suggest.
    """
    tests = _draw(np.intersect1d(free, kept) if len(kept) else free, test, seed + 1)
    pool = np.setdiff1d(free, np.union1d(kept, tests))
    if len(kept):
        notes.append(
            f"{len(kept):,} samples held out of pre-training are not suggested: "
            "keep them to score on (--test N draws some)."
        )
    if len(tests) < test:
        notes.append(f"Only {len(tests):,} could be drawn to score on.")
    if not len(pool):
        raise UsageError("Every sample has a label or is kept to score on; nothing is left.")
    return pool, tests


def _draw(indices: Indices, count: int, seed: int) -> Indices:
    order = rng.generator(rng.mix(seed, len(indices))).permutation(indices)[:count]
    return np.sort(order).astype(np.int64)


def _texts(reader: Reader, source: Source, chosen: Indices) -> list[str]:
    """Return the beginnings of documents, empty for other kinds."""
    found = []
    for index in chosen.tolist():
        payload = source.payload(index) if strings(reader.modality.name) else ""
        found.append(str(payload)[:BEGINS])
    return found


def _known(
    reader: Reader, seen: Seen, other: Source, labelled: Labels, notes: list[str]
) -> suggest.Known:
    """Return features of samples without a label and then of those with one."""
    theirs = see(reader, other, labelled.indices)
    notes += said_bad(theirs.bad, "labelled samples")
    if not len(theirs.indices):
        return suggest.Known(seen.features, np.zeros(len(seen.indices), bool))
    place = {int(index): row for row, index in enumerate(labelled.indices)}
    y = labelled.y[[place[int(index)] for index in theirs.indices]]
    mask = np.arange(len(seen.indices) + len(y)) >= len(seen.indices)
    padded = np.concatenate([np.zeros(len(seen.indices), np.int64), y])
    features = np.concatenate([seen.features, theirs.features])
    classes = form_of(labelled) in ("single", "ordinal")
    return suggest.Known(features, mask, padded if classes else None)
