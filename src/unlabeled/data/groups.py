"""Which samples belong together: a patient's, a speaker's, a document's; no label is read.

What is learned about a person from one recording helps with the next, so that a held-out sample
says little when others of its group were trained on.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.find import Source
from unlabeled.data.label_names import Names
from unlabeled.data.label_table import TABLES, columns_of, pick, read_columns
from unlabeled.errors import UsageError, nearest

FOLDER = "folder"
_OWNERS = ("patient", "speaker", "subject", "video", "episode", "recording", "document", "doc")
NAMED = (
    "group", "groups", "patient", "speaker", "subject", "participant", "person", "session",
    "episode", *(f"{name}_id" for name in _OWNERS),
)  # fmt: skip
"""Columns that say which samples belong together, likeliest first."""
_PATHS = ("path", "file", "filename", "file_name", "name", "id")

Groups = NDArray[np.str_]


def groups_of(source: Source, path: str, group: str) -> Groups:
    """Return the group of each sample, (N,); empty where it has none.

    Args:
        source: the samples.
        path: where they were found.
        group: ``folder`` for the folder that a file lies in, a column of the table that the
            samples lie in, or a table (csv, tsv, jsonl, parquet) with the columns path and group.

    Raises:
        UsageError: it is none of these, or says nothing of these samples.
    """
    if group == FOLDER:
        found = [str(PurePosixPath(source.name(i)).parent) for i in range(len(source))]
        words = ["" if word == "." else word for word in found]
    elif hasattr(source, "values"):
        words = [_word(value) for value in source.values(group)]
    else:
        words = _listed(source, path, group)
    if len({word for word in words if word}) < 2:
        raise UsageError(
            f"data.group={group!r} puts all samples of {path} into one group or none; at least two "
            "groups are needed to hold one out."
        )
    return np.array(words, np.str_)


def _word(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()


def _listed(source: Source, path: str, group: str) -> list[str]:
    """Return the groups that a table of paths gives."""
    table = Path(group).expanduser()
    if table.suffix.lower() not in TABLES or not table.is_file():
        near = nearest(group, (FOLDER,))
        raise UsageError(
            f"data.group={group!r} is neither 'folder' nor a table with the columns path and "
            f"group.{near} {path} is no table, so it has no columns of its own."
        )
    columns = columns_of(table)
    key, owner = pick(columns, _PATHS), pick(columns, NAMED)
    if key is None or owner is None:
        missing = "names the samples (path, file)" if key is None else "groups them"
        raise UsageError(
            f"{table} has no column that {missing}. Columns seen: {', '.join(columns)}; groups "
            f"are read from the first of {', '.join(NAMED[:6])}, ..."
        )
    names, words = Names(source, path), [""] * len(source)
    for name, value in zip(*read_columns(table, [key, owner]), strict=True):
        for index in names.find(str(name), table.parent):
            words[index] = _word(value)
    return words
