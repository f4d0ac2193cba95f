"""Labels in columns of logs themselves, and which samples are of one episode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.label_table import pick
from unlabeled.errors import DataError, UsageError, nearest

_MOST = 0.75
"""Share of a sample's steps that one label must cover; others have none."""


def episodes(source: Any, indices: NDArray[np.int64]) -> NDArray[np.str_] | None:
    """Return the episodes of samples, (L,), where one has several: a split tears none apart."""
    groups = getattr(source, "groups", None)
    if groups is None or len(np.unique(groups)) == len(groups):
        return None
    return np.asarray(groups)[indices].astype(np.str_)


def column(source: Any, given: str | None, likely: Sequence[str]) -> str | None:
    """Return the column of logs that holds labels: the one named, or a likely one, or None.

    Raises:
        UsageError: the one that was named is not there.
    """
    names = source.columns()
    if given is not None and given not in names:
        raise UsageError(
            f"The logs have no column '{given}'.{nearest(given, names)} "
            f"Columns: {', '.join(names)}."
        )
    return given or pick(names, likely)


def words(source: Any, column: str) -> list[Any]:
    """Return the label of each sample: what three quarters of its rows say, "" for none."""
    found: list[Any] = []
    for index in range(len(source)):
        try:
            counts = Counter(source.values(index, column).tolist())
        except DataError:
            found.append("")
            continue
        (value, most), total = counts.most_common(1)[0], sum(counts.values())
        found.append(value if most >= _MOST * total and value == value else "")
    return found
