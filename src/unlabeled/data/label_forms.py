"""What kind of task labels make: one class a sample, several labels, or a number.

The form is found from the labels and can be said instead. Whatever the form, samples keep a class
each for drawing balanced labels: the rarest of its labels, or the fifth of the range that its
number lies in.
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

from unlabeled.data.labels import Labels
from unlabeled.errors import UsageError, nearest

Form = Literal["single", "multi", "regression"]
FORMS = ("single", "multi", "regression", "ordinal", "tagging", "transcript", "action")
"""What --task may be; tags of words are read by `data.tags`, transcripts and actions of robots by
`finetune` alone."""
BETWEEN = re.compile(r"\s*[|;]\s*")
_FEW, _SLICES = 20, 5


def check_task(task: str | None, known: Sequence[str] = FORMS) -> None:
    """Refuse a task that is none, or none of those that fit.

    Raises:
        UsageError: names those that there are.
    """
    if task is not None and task not in known:
        wrong = "does not fit here" if task in FORMS else "there is no such task"
        raise UsageError(
            f"--task {task}: {wrong}.{nearest(task, known)} Tasks: {', '.join(known)}."
        )


def form_of(labels: Labels) -> Form:
    """Tell the form: separators make it multi, numbers with fractions or many values a number.

    Integers of at most 20 values are read as classes; ordinal ones are said with --task.
    """
    if any(BETWEEN.search(name) for name in labels.classes):
        return "multi"
    numbers = [_number(name) for name in labels.classes]
    if any(number is None for number in numbers):
        return "single"
    fraction = any(not float(number or 0).is_integer() for number in numbers)
    many = len(numbers) > (_FEW if fraction else max(_FEW, len(labels) // 4))
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
    check_task(task)
    if task in ("transcript", "action"):
        raise UsageError(
            f"--task {task}: `unlabeled finetune` learns from {task}s and tells the error; "
            "evaluate has no readings of them."
        )
    form = task or (form_of(labels) if like is None else like.task)
    if form == "multi":
        return _multi(labels, like)
    if form in ("regression", "ordinal"):
        return _numbers(labels, like)
    return labels


def _number(word: str) -> float | None:
    try:
        found = float(word)
    except ValueError:
        return None
    return found if np.isfinite(found) else None


def _multi(labels: Labels, like: Labels | None) -> Labels:
    sets = [set(filter(None, BETWEEN.split(name))) for name in labels.classes]
    names = sorted(set().union(*sets)) if like is None else like.classes
    strange = sorted(set().union(*sets) - set(names))
    if strange:
        raise UsageError(f"The test part has the label '{strange[0]}', which training lacks.")
    if len(names) < 2:
        raise UsageError("Several labels a sample were asked for, but there is one label only.")
    table = np.array([[name in part for name in names] for part in sets], dtype=np.float32)
    targets = table[labels.y]
    often = targets.sum(axis=0)
    rarest = np.where(targets > 0, np.where(often > 0, often, np.inf), np.inf).argmin(axis=1)
    return replace(labels, y=rarest.astype(np.int64), classes=names, targets=targets, task="multi")


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
