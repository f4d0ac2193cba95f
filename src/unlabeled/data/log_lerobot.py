"""LeRobotDataset v2.1 and v3 from their folders: parquet files, whose vectors are named in meta.

Version 2.1 has a file an episode, version 3 many episodes a file, told apart by the column
``episode_index``; both are read without the library. Videos are not read here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from unlabeled.data.folder import read_regular
from unlabeled.errors import DataError, UsageError

INFO = b"meta/info.json"


def is_dataset(root: bytes) -> bool:
    """Say whether a folder is a LeRobotDataset."""
    return os.path.isfile(os.path.join(root, INFO)) and os.path.isdir(os.path.join(root, b"data"))


def vectors(root: bytes) -> Mapping[str, Sequence[str]]:
    """Return the names of what is in each vector, column -> names, where meta says them.

    Raises:
        UsageError: meta/info.json is damaged.
    """
    try:
        features = json.loads(read_regular(os.path.join(root, INFO)))["features"]
        return {name: found for name, about in features.items() if (found := _names(about))}
    except (DataError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{os.fsdecode(root)} looks like a LeRobotDataset, but its meta/info.json cannot be "
            f"read ({error})."
        ) from None


def _names(about: Mapping[str, Any]) -> list[str]:
    """Return names that stand in a list, or in the lists of a table (motors, axes)."""
    names = about.get("names") or ()
    if isinstance(names, Mapping):
        names = [name for part in names.values() if isinstance(part, list) for name in part]
    found = [str(name) for name in names]
    size = int((about.get("shape") or [0])[0])
    return found if len(about.get("shape") or ()) == 1 and len(set(found)) == size else []
