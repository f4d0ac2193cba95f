"""What kind of task labels make: one class a sample, several labels, a grade or a number.

The form is found from the labels and can be said instead. Whatever the form, samples keep a class
each for drawing balanced labels: its grade, the rarest of its labels, or the fifth of the range
that its number lies in.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unlabeled.data import grades
from unlabeled.data.labels import Labels
from unlabeled.errors import UsageError, nearest

Form = Literal["single", "multi", "ordinal", "regression"]
NAMES = {"classification": "single", "multi-label": "multi", "multilabel": "multi"}
"""Other names of tasks."""
FORMS = ("single", "multi", "regression", "ordinal", "tagging", "transcript", "action")
"""What --task may be; tags of words are read by `data.tags`, transcripts and actions of robots by
`finetune` alone."""
BETWEEN = re.compile(r"\s*[|;]\s*")
UNKNOWN = "?"
"""What stands before a label of which it is not known whether a sample has it: ``cat|?dog``."""
_FEW, _SLICES = 20, 5


def check_task(task: str | None, known: Sequence[str] = FORMS) -> str | None:
    """Return a task under its own name; refuse one that is none, or none of those that fit.

    Raises:
        UsageError: names those that there are.
    """
    task = NAMES.get(task or "", task)
    if task is not None and task not in known:
        wrong = "does not fit here" if task in FORMS else "there is no such task"
        raise UsageError(
            f"--task {task}: {wrong}.{nearest(task, known)} Tasks: {', '.join(known)}."
        )
    return task


def form_of(labels: Labels) -> Form:
    """Tell the form: separators make it multi, numbers with fractions or many values a number.

    Integers of at most 20 values are read as classes. They are grades, as words in a known order
    are, where the column's name speaks of grades and there are at least three.
    """
    if any(BETWEEN.search(name) for name in labels.classes):
        return "multi"
    spoken = grades.spoken_of(labels.column)
    if spoken and grades.few(labels.classes) and grades.in_order(labels.classes) is not None:
        return "ordinal"
    numbers = [_number(name) for name in labels.classes]
    if any(number is None for number in numbers):
        return "single"
    fraction = any(not float(number or 0).is_integer() for number in numbers)
    many = len(numbers) > (_FEW if fraction or spoken else max(_FEW, len(labels) // 4))
    return "regression" if many else "single"


def as_task(labels: Labels, task: str | None, like: Labels | None = None) -> Labels:
    """Return labels with the targets of their task.

    Args:
        labels: as read, one word a sample.
        task: one of `FORMS`; None finds it.
        like: the labels of the training part, whose names and slices are used again.

    Raises:
        UsageError: the labels do not have that form.
    """
    task = check_task(task)
    if task in ("transcript", "action"):
        raise UsageError(
            f"--task {task}: `unlabeled finetune` learns from {task}s and tells the error; "
            "evaluate has no readings of them."
        )
    form = task or (form_of(labels) if like is None else like.task)
    if form == "multi":
        return _multi(labels, like)
    if form == "ordinal":
        return _graded(labels, like)
    if form == "regression":
        return _numbers(labels, like)
    return labels


def _number(word: str) -> float | None:
    try:
        found = float(word)
    except ValueError:
        return None
    return found if np.isfinite(found) else None


def _multi(labels: Labels, like: Labels | None) -> Labels:
    """Return labels as a table of 1, 0 and, where a name has ``?`` before it, not known."""
    sets = [set(filter(None, BETWEEN.split(name))) for name in labels.classes]
    bare = {name.removeprefix(UNKNOWN).strip() for name in set().union(*sets)}
    names = sorted(bare) if like is None else like.classes
    strange = sorted(bare - set(names))
    if strange:
        raise UsageError(f"The test part has the label '{strange[0]}', which training lacks.")
    if len(names) < 2:
        raise UsageError("Several labels a sample were asked for, but there is one label only.")
    table = np.array([[_cell(name, part) for name in names] for part in sets], dtype=np.float32)
    targets = table[labels.y]
    y = rarest_of(targets)
    return replace(labels, y=y, classes=names, targets=targets, task="multi")


def _cell(name: str, part: set[str]) -> float:
    if name in part:
        return 1.0
    return np.nan if UNKNOWN + name in part else 0.0


def rarest_of(cells: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the rarest label that each sample has, (N, K) -> (N,); 0 where it has none."""
    often = np.nansum(cells, axis=0)
    there = np.nan_to_num(cells) > 0
    rarity = np.where(there, np.where(often > 0, often, np.inf), np.inf)
    found: NDArray[np.int64] = rarity.argmin(axis=1).astype(np.int64)
    return found


def _graded(labels: Labels, like: Labels | None) -> Labels:
    """Return labels whose classes are grades in their order."""
    names = grades.in_order(labels.classes) if like is None else like.classes
    if names is None:
        raise UsageError(
            f"Grades were asked for, but which way '{labels.classes[0]}' and "
            f"'{labels.classes[1]}' go is not known. Write numbers (or begin each grade with its "
            "number: '1 fair', '2 good'), or leave --task ordinal out."
        )
    if not grades.few(names):
        raise UsageError(
            f"Grades were asked for, and there are {len(names)} different values; between "
            f"{grades.FEWEST} and {grades.MOST} make sense. --task "
            f"{'classification' if len(names) < grades.FEWEST else 'regression'} reads them."
        )
    strange = [name for name in labels.classes if name not in names]
    if strange:
        raise UsageError(
            f"The test part has the grade '{strange[0]}', which the training labels lack. "
            f"Grades known: {', '.join(names)}."
        )
    rank = np.array([names.index(name) for name in labels.classes], dtype=np.int64)
    return replace(labels, y=rank[labels.y], classes=list(names), task="ordinal")


def _numbers(labels: Labels, like: Labels | None) -> Labels:
    numbers = [_number(name) for name in labels.classes]
    wrong = [name for name, found in zip(labels.classes, numbers, strict=True) if found is None]
    if wrong:
        raise UsageError(
            f"A number a sample was asked for, but '{wrong[0]}' is none. Leave --task out, or give "
            "the column of numbers with --label-column."
        )
    targets = np.array(numbers, dtype=np.float32)[labels.y]
    edges = _edges(targets) if like is None else _edges_of(like)
    y = np.searchsorted(edges, targets, side="right").astype(np.int64)
    bounds = [float(targets.min()), *edges, float(targets.max())]
    names = [f"{a:.4g} to {b:.4g}" for a, b in pairwise(bounds)]
    found = replace(labels, y=y, classes=names, targets=targets, task="regression")
    return found if like is None else replace(found, classes=like.classes)


def _edges(targets: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the inner edges of five slices with about equally many samples each."""
    inner = np.quantile(targets.astype(np.float64), np.arange(1, _SLICES) / _SLICES)
    edges: NDArray[np.float64] = np.unique(inner[(inner > targets.min())])
    if not len(edges):
        raise UsageError(
            f"All but a few of the numbers are {Counter(targets.tolist()).most_common(1)[0][0]:g}; "
            "there is nothing to tell apart."
        )
    return edges


def _edges_of(like: Labels) -> NDArray[np.float64]:
    assert like.targets is not None
    lowest = [like.targets[like.y == i].min() for i in range(1, len(like.classes))]
    found: NDArray[np.float64] = np.array(lowest, dtype=np.float64)
    return found
