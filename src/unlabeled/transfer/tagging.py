"""Tagging: which sentences, recordings or episodes are learned from, checked with and scored on.

What is counted is these, in all and not by class: a person who labels words or frames goes through
whole sentences or recordings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data import tags
from unlabeled.errors import UsageError
from unlabeled.transfer import label_curve, tag_split
from unlabeled.transfer.material import Material
from unlabeled.transfer.metrics import headline
from unlabeled.transfer.tag_form import TASK, Form
from unlabeled.transfer.tag_rows import TagRows


@dataclass
class TagMaterial(Material):
    """All that a study of tagging works on.

    `y` is 0 for every sentence or recording, so that draws are of these; `y_test` and `group` are
    those of words or frames. `train` and `test` are `TagRows`.

    Args:
        keep: whether features of all that may be drawn are kept, since it is read many times.
    """

    train: TagRows  # type: ignore[assignment]
    test: TagRows  # type: ignore[assignment]
    keep: bool = False

    @property
    def expected(self) -> NDArray[np.int64]:
        """Return the tags of the items of the validation part."""
        return self.tags_of(self.validation)

    def tags_of(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tags of the items of some labelled sentences, recordings or episodes."""
        return self.train.labels[self.train.items_of(chosen)]

    @property
    def metric(self) -> str:
        """Return the score: of words accuracy, as is usual; of frames what fits their classes."""
        return "accuracy" if self.task == TASK else headline(self.y_test, len(self.classes))


def grid(material: TagMaterial, form: Form, counts: Any, quick: bool) -> list[int]:
    """Return how many labelled sentences, recordings or episodes are drawn."""
    assert material.whole is not None
    wanted = counts or (form.quick_grid if quick else form.grid)
    return label_curve.grid(len(material.whole.y), wanted, quick)


def prepare(
    form: Form,
    labels: str | Path | None,
    test: str | Path | None,
    label_column: str | None,
    *,
    most: int,
    draws: int,
    most_test: int,
    seed: int,
) -> TagMaterial:
    """Read what is labelled and split it by whole documents or groups where they are known.

    Args:
        form: of the run that is judged.
        labels: a file or folder of labels; None: the run's data.
        test: the same for the test part; None sets a part aside.
        label_column: name or number of the column of tags, where it cannot be guessed.
        most: largest number of labelled sentences, recordings or episodes that is drawn.
        draws: draws of each number.
        most_test: largest number of those that are tested.
        seed: of the split.

    Raises:
        UsageError: with the sentence to print.
    """
    found = form.read(labels, label_column)
    rest, tested, how = tag_split.parts(form, found, test, label_column, seed)
    rest, tested = tags.same_classes(rest, tested)
    rest, left_out = form.apart(rest, tested)
    tag_split.enough(form, rest)
    mask = tag_split.checked(rest, seed)
    labelled = rest.take(np.flatnonzero(~mask))
    none = np.zeros(len(labelled), dtype=np.int64)
    pool = label_curve.drawn(none, most, draws, seed)
    checked = tag_split.some(np.flatnonzero(mask), form.most_validation, seed, form.sizes(rest))
    tested = tested.take(
        tag_split.some(np.arange(len(tested)), most_test, seed, form.sizes(tested))
    )
    train = rest.take(np.concatenate([np.flatnonzero(~mask)[pool], checked]))
    rows, rows_test = form.rows(train), form.rows(tested)
    seen, told = form.seen(tested, seed)
    notes = [*form.said(found), *left_out, *([told] if seen else [])]
    notes += tag_split.doubts(form, (labelled, tested), (rows, rows_test), len(checked))
    record = {
        "how": how, "seen_in_pretraining": seen, "train": len(labelled),
        "validation": len(checked), "test": len(tested),
        "transductive": bool(seen) and form.task != TASK,
    }  # fmt: skip
    row = np.full(len(labelled), -1)
    row[pool] = np.arange(len(pool))
    return TagMaterial(
        rows, np.zeros(len(train), dtype=np.int64), np.arange(len(pool)),
        np.arange(len(pool), len(train)), rows_test, rows_test.labels,
        tag_split.owners(tested, rows_test), train.classes, record, notes, task=form.task,
        whole=label_curve.Whole(none, row, labelled.about), keep=form.keep,
    )  # fmt: skip


def for_training(
    form: Form, labels: str | Path | None, label_column: str | None, seed: int
) -> TagMaterial:
    """Return all that is labelled; some of it is for validation, none for a test.

    Raises:
        UsageError: with the sentence to print.
    """
    found = form.read(labels, label_column)
    mask = tag_split.checked(found, seed)
    if not mask.any():
        raise UsageError(
            f"{len(found)} {tag_split.many(form)} are too few: some must check the others."
        )
    checked = tag_split.some(np.flatnonzero(mask), form.most_validation, seed, form.sizes(found))
    pool = np.setdiff1d(np.arange(len(found)), np.flatnonzero(mask))
    # A test part there must be; of moments it is the validation part, by which they are scored.
    train, none = (
        found.take(np.concatenate([pool, checked])),
        found.take(checked if form.keep else pool[:1]),
    )
    rows, rows_test = form.rows(train), form.rows(none)
    return TagMaterial(
        rows, np.zeros(len(train), dtype=np.int64), np.arange(len(pool)),
        np.arange(len(pool), len(train)), rows_test, rows_test.labels, None, train.classes,
        notes=[*form.left_out(found), *tag_split.unread(rows)], task=form.task, keep=form.keep,
    )  # fmt: skip
