"""Which labelled samples are trained on, validated on and tested on, and what is doubtful there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled import rng
from unlabeled.data.label_columns import read_for_task
from unlabeled.data.labels import Labels
from unlabeled.data.sketchbook import LOOKS, Sketchbook
from unlabeled.errors import DataError, UsageError
from unlabeled.modalities.base import Modality
from unlabeled.transfer import leaks
from unlabeled.transfer.features import Inputs, said_bad
from unlabeled.transfer.label_curve import Whole, drawn, hold_out
from unlabeled.transfer.material import Material
from unlabeled.transfer.part import Part
from unlabeled.transfer.trained_on import (
    document_length,
    held_out_indices,
    known_pool,
    pool_indices,
)

if TYPE_CHECKING:
    from unlabeled.runs import Run

_READ = {
    "multi": "Labels were read as several a sample (--task classification reads each as one class)",
    "ordinal": "Labels were read as grades, {grades} (--task classification reads them as classes)",
    "regression": "Labels were read as numbers (--task classification reads them as classes)",
}
_SCORED = {
    "multi": "labels per class count samples drawn for their rarest label",
    "ordinal": "the score is the quadratic-weighted kappa: 1 where all are right, 0 where chance "
    "would do as well or better. Beside it stands the mean absolute error in grades",
    "regression": "labels per class count samples of each fifth of the range, and the score is the "
    "share of variance that is explained, 0 where the mean would do as well",
}
TEST_SHARE = 0.25
VALIDATION_SHARE = 0.2
MOST_VALIDATION = 1000
LEAST_BASE, BASE = 1000, {"audio": 2000}
"""Samples that are read whatever is drawn: features are scaled by them, and recordings are read
beside them, so that further draws or label counts change no row that is there."""

QUARTER = "a random quarter of each class"
HELD_OUT = "samples held out of pre-training"
_VALIDATION = frozenset({"val", "valid", "validation", "dev"})


def prepare(
    run: Run,
    labels: str | Path | None,
    test: str | Path | None,
    label_column: str | None,
    *,
    most: int,
    draws: int,
    most_test: int,
    seed: int,
    task: str | None = None,
    transductive: bool = False,
    book: Sketchbook | None = None,
    runs: Sequence[Run] = (),
) -> Material:
    """Read the labels and split them.

    Args:
        run: the run that is judged.
        labels: as for `data.labels.read_labelled`.
        test: the same for the test part; None splits `labels`.
        label_column: name of the label column, where it cannot be guessed.
        most: largest number of labels per class that is drawn.
        draws: draws of each number.
        most_test: largest number of test samples.
        seed: of the split.
        task: one of `label_forms.FORMS`; None finds it from the labels.
        transductive: whether test samples may be among those pre-trained on.
        book: what samples look like; None opens what the run keeps of it.
        runs: all runs that are judged together, this one among them; they get one split, by the
            first, and what any of them saw is left out of the test part. Empty: `run` alone.

    Raises:
        UsageError: with the sentence to print.
    """
    notes: list[str] = []
    book, runs = book or Sketchbook(run.folder / LOOKS), runs or (run,)
    rest, tested, how = _parts(runs, labels, test, label_column, seed, notes, task, book)
    masks = [leaks.seen(r, tested, book) for r in runs]
    forced = _forced(runs[0], tested, how)
    tested, record = leaks.unseen(tested, np.stack(masks), transductive, notes, forced)
    rest, dropped = leaks.apart(leaks.groups_of(rest, tested, notes), tested, notes)
    rest, copies = leaks.together(rest)
    record |= {"near_duplicates": copies, "near_test": dropped}
    rest, tested = _same_classes(rest, tested, notes)
    mask = validation(rest, seed)
    labelled, checked = rest.take(~mask), rest.take(mask)
    tested = tested.fewer(most_test, seed + 2)
    base = _base(len(labelled), BASE.get(run.config.data.kind, LEAST_BASE), seed)
    read = np.union1d(drawn(labelled.labels.y, most, draws, seed), base)
    return _read(run, (labelled, checked), tested, (read, base), {"how": how} | record, notes)


def _forced(run: Run, tested: Part, how: str) -> bool:
    """Say whether no stricter test part can be cut (older text: what was seen is unknown)."""
    same = tested.source.fingerprint == run.source().fingerprint
    return how.startswith(QUARTER) or (same and not known_pool(run))


def _parts(
    runs: Sequence[Run],
    labels: str | Path | None,
    test: str | Path | None,
    label_column: str | None,
    seed: int,
    notes: list[str],
    task: str | None,
    book: Sketchbook,
) -> tuple[Part, Part, str]:
    """Return what is trained and validated on, what is tested on, and how it was decided."""
    run, data = runs[0], runs[0].config.data
    asked: dict[str, Any] = {"table": data.path, "column": data.column}
    asked |= {"label_column": label_column, "task": task}
    found = leaks.look(Part(*read_for_task(labels, run.source(), **asked)), book)
    notes.extend(said_of(found.labels))
    if test is not None:
        tested = Part(*read_for_task(test, run.source(), **asked, like=found.labels))
        if tested.labels.missing:
            notes.append(f"Test part: {tested.labels.missing}")
        tested = leaks.look(tested, book)
        if tested.source.fingerprint == found.source.fingerprint:
            found = found.take(~np.isin(found.labels.indices, tested.labels.indices))
        return found, tested, f"test samples given ({test})"
    if found.labels.split is not None:
        mask = np.char.lower(found.labels.split) == "test"
        if mask.any() and not mask.all():
            return found.take(~mask), found.take(mask), "column split of the labels"
    return _cut(runs, found, seed)


def said_of(labels: Labels, scored: bool = True) -> list[str]:
    """Say how labels were read, where not as classes, and what of them is not known.

    Args:
        labels: in the form of their task.
        scored: whether to say how a study counts and scores them.
    """
    words = _READ.get(labels.task, "").format(grades=" < ".join(labels.classes))
    if words:
        words += f"; {_SCORED[labels.task]}." if scored else "."
    cells = 0 if labels.targets is None else int(np.isnan(labels.targets).sum())
    unknown = f"Cells that are not known: {cells:,}; nothing learned from them or counted them."
    return [said for said in (words, labels.missing, unknown if cells else "") if said]


def _cut(runs: Sequence[Run], found: Part, seed: int) -> tuple[Part, Part, str]:
    """Set a test part aside: what pre-training never saw where that is enough, else a quarter."""
    run, y = runs[0], found.labels.y
    enough = max(200, 10 * len(found.labels.classes))
    if found.source.fingerprint == run.source().fingerprint:
        mask = _held(run, found.labels.indices)
        group = found.labels.group
        whole = group is None or not np.isin(group[mask], group[~mask]).any()
        whole = whole and len(np.unique(y[~mask])) == len(np.unique(y))
        if mask.sum() >= enough and whole:
            for other in runs[1:]:
                mask = mask & _held(other, found.labels.indices)
            if mask.sum() < enough:
                raise UsageError(
                    f"Only {int(mask.sum())} labelled samples were held out by all "
                    f"{len(runs)} runs, since their seeds divide the data too; a test part takes "
                    f"{enough}. Give one with --test FILE."
                )
            by = "" if len(runs) == 1 else f" by all {len(runs)} runs"
            return found.take(~mask), found.take(mask), f"{HELD_OUT}{by}"
    by = "" if found.labels.group is None else " by group"
    found, _ = leaks.together(found)
    mask = hold_out(y, TEST_SHARE, len(y), seed + 1, found.labels.group)
    if not mask.any():
        raise UsageError(
            f"{len(y)} labels are too few to set a test part aside: at least 2 of a class are "
            "needed, and 10 or more make sense. Label more samples, or give --test FILE."
        )
    return found.take(~mask), found.take(mask), QUARTER + by


def _held(run: Run, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which samples were held out; copies of pool samples are in neither part."""
    held = np.isin(indices, held_out_indices(run))
    return held if held.any() else ~np.isin(indices, pool_indices(run))


def _same_classes(rest: Part, tested: Part, notes: list[str]) -> tuple[Part, Part]:
    """Drop test samples of classes without training samples, and name missing classes."""
    classes = rest.labels.classes
    known, asked = np.unique(rest.labels.y), np.unique(tested.labels.y)
    lost = [classes[i] for i in asked if i not in known]
    if lost:
        notes.append(f"Classes without training labels were left out: {', '.join(lost[:10])}.")
        tested = tested.take(np.isin(tested.labels.y, known))
    absent = [classes[i] for i in known if i not in asked]
    if absent:
        notes.append(f"Classes missing in the test part: {', '.join(absent[:10])}.")
    if len(known) < 2 or not len(tested):
        raise UsageError(
            f"After the split {len(known)} classes have training labels and {len(tested)} test "
            "samples are left; two classes and a test sample are needed. Label more samples."
        )
    return rest, tested


def validation(rest: Part, seed: int) -> NDArray[np.bool_]:
    """Return which samples validate: those that the table names so, else a fifth of each class."""
    if rest.labels.split is not None:
        named = np.isin(np.char.lower(rest.labels.split), sorted(_VALIDATION))
        if named.any() and len(np.unique(rest.labels.y[~named])) > 1:
            return named
    y = rest.labels.y
    return hold_out(y, VALIDATION_SHARE, MOST_VALIDATION, seed + 3, rest.labels.group)


def _base(count: int, most: int, seed: int) -> NDArray[np.int64]:
    """Return which labelled samples are read whatever is drawn, without a look at labels."""
    if count <= most:
        return np.arange(count)
    return np.sort(rng.generator(rng.mix(seed, 7, count)).permutation(count)[:most])


def _read(
    run: Run,
    known: tuple[Part, Part],
    tested: Part,
    chosen: tuple[NDArray[np.int64], NDArray[np.int64]],
    record: dict[str, Any],
    notes: list[str],
) -> Material:
    """Read what is drawn, what is validated on, and the test part.

    Args:
        run: whose modality reads.
        known: what labels are drawn from, and what is validated on.
        tested: the test part.
        chosen: of the first of `known`, those that are read, and those of them that are read
            whatever is drawn.
        record: how the split was made.
        notes: get what should be known.
    """
    modality, length = run.modality(), document_length(run)
    (read, base), labelled = chosen, known[0].labels
    parts = known[0].take(read), known[1]
    every = np.concatenate([part.labels.indices for part in parts])
    train = Inputs(parts[0].source, every, modality, length)
    test = Inputs(tested.source, tested.labels.indices, modality, length)
    kept = np.flatnonzero(np.isin(every, train.indices))
    kept_test = np.flatnonzero(np.isin(tested.labels.indices, test.indices))
    _tell(train, test, modality, notes)
    y = np.concatenate([part.labels.y for part in parts])[kept]
    role = np.repeat(np.arange(2), [len(part) for part in parts])[kept]
    group, pool = tested.labels.group, np.flatnonzero(role == 0)
    row = np.full(len(labelled.y), -1)
    row[read[kept[pool]]] = pool
    steady = np.concatenate([row[base][row[base] >= 0], np.flatnonzero(role == 1)])
    record |= {
        "train": len(labelled.y) - (len(read) - len(pool)),
        "validation": int((role == 1).sum()),
        "test": len(kept_test),
    }
    notes.append(
        f"Choices (rate, length and view of training; which of our readings is judged) were made "
        f"on {record['validation']:,} further labelled samples of the training part, the same for "
        "all readings; these are not counted as labels."
    )
    whole = Whole(labelled.y, row, (labelled.indices, labelled.targets, labelled.group, base))
    return Material(
        train, y, pool, np.flatnonzero(role == 1), test, tested.labels.y[kept_test],
        None if group is None else group[kept_test], parts[0].labels.classes, record, notes,
        _joined([part.labels.targets for part in parts], kept),
        _joined([tested.labels.targets], kept_test), parts[0].labels.task,
        _joined([part.labels.group for part in parts], kept), whole, steady,
    )  # fmt: skip


def _joined(parts: Sequence[Any], kept: NDArray[np.int64]) -> Any:
    """Return what is known of the samples that could be read; None where a part has none."""
    return None if any(part is None for part in parts) else np.concatenate(parts)[kept]


def _tell(train: Inputs, test: Inputs, modality: Modality, notes: list[str]) -> None:
    notes += said_bad([*train.bad, *test.bad], "labelled samples")
    if not len(train) or not len(test):
        raise DataError(f"No labelled {modality.name} can be read.")
