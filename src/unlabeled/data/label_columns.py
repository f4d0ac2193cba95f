"""Labels as a task wants them, from one column or from several.

Several columns are several studies, each with its own form. As ``multi`` they are one: every
column is a label, and a cell says whether a sample has it. A cell that says nothing is not known,
which is no answer: it is NaN, and neither losses nor scores count it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.find import Source
from unlabeled.data.label_forms import as_task, check_task, rarest_of
from unlabeled.data.label_table import TABLES, columns_of
from unlabeled.data.labels import Labels, read_labelled
from unlabeled.errors import UsageError

_ANSWERS = {
    **dict.fromkeys(("1", "true", "yes", "y", "x", "present", "positive"), 1.0),
    **dict.fromkeys(("0", "false", "no", "n", "absent", "negative"), 0.0),
}


def columns_in(label_column: str | None, table: str | Path | None = None) -> list[str]:
    """Return the columns that were named, with commas between; one that has commas is one.

    >>> columns_in("grade, age"), columns_in("grade"), columns_in(None)
    (['grade', 'age'], ['grade'], [])
    """
    if label_column is None:
        return []
    path = None if table is None else Path(table).expanduser()
    held = path is not None and path.suffix.lower() in TABLES and path.is_file()
    if held and path is not None and label_column in columns_of(path):
        return [label_column]
    return list(dict.fromkeys(filter(None, (part.strip() for part in label_column.split(",")))))


def read_for_task(
    labels: str | Path | None,
    source: Source,
    *,
    label_column: str | None,
    task: str | None,
    like: Labels | None = None,
    **where: Any,
) -> tuple[Source, Labels]:
    """Read labels and bring them into the form of their task.

    Args:
        labels: as for `read_labelled`.
        source: the samples.
        label_column: name of the label column, or several with commas for ``multi``.
        task: as for `as_task`.
        like: labels of the training part, for those of the test part.
        **where: table and column of the samples, as for `read_labelled`.

    Raises:
        UsageError: with the sentence to print.
    """
    task = check_task(task)
    several = columns_in(label_column, labels if labels is not None else where.get("table"))
    if len(several) > 1 and task == "multi":
        read = [
            read_labelled(labels, source, label_column=name, fewest=1, **where) for name in several
        ]
        parts = {name: found for name, (_, found) in zip(several, read, strict=True)}
        return read[0][0], table_of(parts)
    if like is not None and like.task == "single":
        where["classes"] = like.classes
    found, given = read_labelled(labels, source, label_column=label_column, **where)
    return found, as_task(given, task if like is None else like.task, like)


def table_of(columns: Mapping[str, Labels]) -> Labels:
    """Return one label a column, of samples of which any column says something.

    Args:
        columns: name of a label -> who has it (1, yes, true) and who has not (0, no, false).

    Raises:
        UsageError: a cell says something else.
    """
    parts = list(columns.values())
    indices = np.unique(np.concatenate([part.indices for part in parts]))
    cells = np.full((len(indices), len(parts)), np.nan, np.float32)
    split, group = (_first(parts, indices, name) for name in ("split", "group"))
    for place, (name, part) in enumerate(columns.items()):
        rows = np.searchsorted(indices, part.indices)
        cells[rows, place] = np.array([_answer(name, word) for word in part.classes])[part.y]
    return replace(
        parts[0], indices=indices, y=rarest_of(cells), classes=list(columns), split=split,
        group=group, skipped=0, column=", ".join(columns), targets=cells, task="multi",
    )  # fmt: skip


def _answer(column: str, word: str) -> float:
    found = _ANSWERS.get(word.lower())
    if found is None:
        raise UsageError(
            f"Column '{column}' has '{word}', which says neither yes nor no. With --task "
            "multi-label each column is a label, and a cell 1 or 0 (empty: not known). Leave "
            "--task out to study each column by itself."
        )
    return found


def _first(parts: list[Labels], indices: NDArray[np.int64], name: str) -> NDArray[np.str_] | None:
    """Return what the columns say of split or group; all have it from the same table."""
    if getattr(parts[0], name) is None:
        return None
    known = dict(
        pair for part in parts for pair in zip(part.indices, getattr(part, name), strict=True)
    )
    return np.array([known[index] for index in indices], dtype=np.str_)
