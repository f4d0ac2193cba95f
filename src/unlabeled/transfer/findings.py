"""What an encoder shows of data: the same thing twice, what is like nothing else, wrong labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from unlabeled import rng
from unlabeled.data.find import Source
from unlabeled.data.label_forms import form_of
from unlabeled.data.labels import Labels
from unlabeled.data.sketchbook import Sketchbook
from unlabeled.data.split import digest
from unlabeled.errors import DataError
from unlabeled.transfer import leaks, wrong_labels
from unlabeled.transfer.features import Reader, said_bad, see
from unlabeled.transfer.nearest_others import nearest_apart, whitened
from unlabeled.transfer.part import Part
from unlabeled.transfer.wrong_labels import FOLDS, WrongLabels

NEIGHBOURS = 10
CLOSE = 0.13
"""Nearer than this share of the usual distance to a nearest neighbour is one and the same; and
`FAR` times the spread of the middle half above that half is an outlier. Both are cleanlab's."""
FAR = 1 / 0.37 - 1
_LEAST = 1e-6
_JUDGED, _FORMS = ("single", "ordinal"), {"multi": "several a sample", "regression": "numbers"}
"""Forms of labels that are looked at as classes, and what others are called."""

WHAT = {
    "wrong_label": "Likely wrong labels",
    "conflict": "One thing under two labels",
    "copy": "Copies, byte for byte",
    "near_copy": "Near-copies by their looks",
    "alike": "The same to the encoder",
    "outlier": "Like nothing else here",
}
"""Kinds of findings, in the order in which they are worth looking at."""


@dataclass(frozen=True)
class Finding:
    """One sample and what is said of it.

    Args:
        row: of the sample among those looked at.
        what: a key of `WHAT`.
        score: larger is surer; its meaning is that of `what`.
        like: row of the other sample, where it is about two.
        likely: the class that it has instead, where it is about a label.
    """

    row: int
    what: str
    score: float
    like: int | None = None
    likely: str = ""


@dataclass(frozen=True)
class Findings:
    """All that was found.

    Args:
        source: the samples.
        indices: (N,) which of them were looked at.
        labels: (N,) names of classes, empty where a sample has none.
        found: findings, by kind and then the surest first.
        wrong: how labels were judged; None where there are none.
        notes: what a person should know.
    """

    source: Source
    indices: NDArray[np.int64]
    labels: list[str]
    found: list[Finding]
    wrong: WrongLabels | None
    notes: list[str]

    def of(self, what: str) -> list[Finding]:
        """Return the findings of a kind."""
        return [one for one in self.found if one.what == what]

    def name(self, row: int) -> str:
        """Return the printable name of a sample."""
        return self.source.name(int(self.indices[row]))


def examine(
    encoder: Reader,
    source: Source,
    labels: Labels | None = None,
    most: int = 20_000,
    seed: int = 0,
    book: Sketchbook | None = None,
) -> Findings:
    """Look at samples through an encoder.

    Args:
        encoder: whose features tell what is alike.
        source: the samples.
        labels: of samples of `source`; one class a sample, or they are not judged.
        most: samples that are looked at, those with labels first, drawn evenly at random.
        seed: of that draw and of the folds.
        book: what samples look like, where some are known.

    Raises:
        DataError: fewer than three samples can be read.
        UsageError: labels cannot be judged.
    """
    notes: list[str] = []
    chosen = _chosen(len(source), labels, most, seed)
    if len(chosen) < len(source):
        notes.append(f"{len(chosen):,} of {len(source):,} samples were looked at (--most).")
    indices, x = _features(encoder, source, chosen, notes)
    names, y = _names(indices, labels)
    looks = leaks.look(Part(source, Labels(indices, np.zeros_like(indices), ["?"])), book)
    near, distances = nearest_apart(whitened(x), NEIGHBOURS)
    twins = list(_twins(source, indices, looks, near, distances))
    found = twins + list(_conflicts(twins, names)) + list(_outliers(distances))
    wrong = None
    if labels is not None and _judged(labels, y, notes):
        wrong, more = _wrong(x, y, looks, labels, indices, notes, seed)
        found += more if wrong.trusted else []
    order = list(WHAT)
    found.sort(key=lambda one: (order.index(one.what), -one.score, one.row))
    return Findings(source, indices, names, found, wrong, notes)


def _chosen(count: int, labels: Labels | None, most: int, seed: int) -> NDArray[np.int64]:
    """Return which samples are looked at, those with labels before others."""
    order = rng.generator(rng.mix(seed, 0xF1D)).permutation(count)
    if labels is not None:
        known = np.isin(order, labels.indices)
        order = np.concatenate([order[known], order[~known]])
    return np.sort(order[:most]).astype(np.int64)


def _features(
    encoder: Reader, source: Source, chosen: NDArray[np.int64], notes: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the samples that can be read and their features, (N,) and (N, D)."""
    seen = see(encoder, source, chosen)
    notes += said_bad(seen.bad)
    if len(seen.indices) < 3:
        raise DataError(" ".join(["At least three samples that can be read are needed.", *notes]))
    return seen.indices, seen.features


def _names(
    indices: NDArray[np.int64], labels: Labels | None
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the label of each sample as a name and as a number, -1 where there is none."""
    if labels is None or form_of(labels) not in _JUDGED:
        return [""] * len(indices), np.full(len(indices), -1)
    number: Mapping[int, int] = dict(zip(labels.indices.tolist(), labels.y.tolist(), strict=True))
    y = np.array([number.get(int(index), -1) for index in indices], np.int64)
    return [labels.classes[k] if k >= 0 else "" for k in y], y


def _twins(
    source: Source,
    indices: NDArray[np.int64],
    looks: Part,
    near: NDArray[np.int64],
    distances: NDArray[np.float32],
) -> Iterator[Finding]:
    """Yield each sample that is there a second time, with the earlier one."""
    told: set[int] = set()
    first: dict[bytes, int] = {}
    for row, index in enumerate(indices.tolist()):
        other = first.setdefault(digest(source, index), row)
        if other != row:
            told.add(row)
            yield Finding(row, "copy", 1.0, other)
    assert looks.looks is not None
    roots = looks.looks.groups()
    for row in np.flatnonzero(roots != np.arange(len(roots))).tolist():
        if row not in told:
            told.add(row)
            yield Finding(row, "near_copy", 1.0, int(roots[row]))
    distance = distances[:, 0]
    usual = float(np.median(distance))
    for row in np.flatnonzero(distance < CLOSE * usual).tolist() if usual > _LEAST else ():
        other = int(near[row, 0])
        if row not in told and other not in told:
            told.add(max(row, other))
            yield Finding(
                max(row, other), "alike", 1 - float(distance[row]) / usual, min(row, other)
            )


def _conflicts(twins: list[Finding], names: list[str]) -> Iterator[Finding]:
    """Yield samples that are there twice under different labels."""
    for one in twins:
        assert one.like is not None
        mine, theirs = names[one.row], names[one.like]
        if one.what != "alike" and mine and theirs and mine != theirs:
            yield replace(one, what="conflict", likely=theirs)


def _outliers(distances: NDArray[np.float32]) -> Iterator[Finding]:
    """Yield samples that lie far from their nearest, against how far that usually is."""
    distance = distances.astype(np.float64).mean(axis=1)
    low, middle, high = np.percentile(distance, [25, 50, 75])
    for row in np.flatnonzero(distance > high + FAR * (high - low)).tolist():
        yield Finding(row, "outlier", float(distance[row] / max(middle, _LEAST)))


def _judged(labels: Labels, y: NDArray[np.int64], notes: list[str]) -> bool:
    """Say whether labels can be judged."""
    form = form_of(labels)
    if form not in _JUDGED:
        notes.append(
            f"Labels were read as {_FORMS[form]}; they are judged where a sample has one class."
        )
        return False
    sizes = np.bincount(y[y >= 0], minlength=len(labels.classes))
    few = [labels.classes[k] for k in np.flatnonzero((sizes > 0) & (sizes < FOLDS))]
    if few:
        listed = ", ".join(few[:5]) + (", ..." if len(few) > 5 else "")
        notes.append(f"Classes with fewer than {FOLDS} labels were not judged: {listed}.")
    if (sizes >= FOLDS).sum() < 2:
        notes.append(f"Wrong labels were not looked for: two classes of {FOLDS} labels are needed.")
        return False
    return True


def _wrong(
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    looks: Part,
    labels: Labels,
    indices: NDArray[np.int64],
    notes: list[str],
    seed: int,
) -> tuple[WrongLabels, list[Finding]]:
    """Judge labels, with near-duplicates and groups on one side of every fold."""
    sizes = np.bincount(y[y >= 0], minlength=len(labels.classes))
    rows = np.flatnonzero((y >= 0) & (sizes[y] >= FOLDS))
    kept, small = np.unique(y[rows], return_inverse=True)
    part = looks.take(rows)
    if labels.group is not None:
        place = np.searchsorted(labels.indices, indices[rows])
        part = replace(part, labels=replace(part.labels, group=labels.group[place]))
        notes.append("Labels were judged by probes that saw no sample of the same group.")
    joined, _ = leaks.together(part)
    alone = np.arange(len(rows)).astype(np.str_)
    own = alone if joined.labels.group is None else joined.labels.group
    own = np.where(own == "", np.char.add("alone ", alone), own)
    _, groups = np.unique(own, return_inverse=True)
    wrong = wrong_labels.find(x[rows], small.astype(np.int64), len(kept), groups, seed)
    classes = [labels.classes[k] for k in kept]
    found = [
        Finding(int(rows[row]), "wrong_label", 1 - float(given), None, classes[likely])
        for row, likely, given in zip(wrong.rows, wrong.likely, wrong.given, strict=True)
    ]
    return wrong, found
