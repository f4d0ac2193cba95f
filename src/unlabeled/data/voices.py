"""Which samples of a source belong together by a column of its own table, such as the speaker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data import labels
from unlabeled.data.find import Source
from unlabeled.data.label_table import columns_of, pick, read_columns
from unlabeled.data.label_words import word_of


def groups_of(source: Source, place: str | Path | None) -> NDArray[np.str_] | None:
    """Return the group of each sample, (N,), or None where no table tells any.

    Args:
        source: the samples.
        place: the file or folder that it was made from.
    """
    tables = labels.own_tables(source, place)
    if not tables:
        return None
    column = pick(columns_of(tables[0]), labels.GROUPS)
    if column is None:
        return None
    words: list[Any] = [word_of(x) for table in tables for x in read_columns(table, [column])[0]]
    found = np.array(words, dtype=np.str_)
    return found if len(found) == len(source) and (found != "").any() else None
