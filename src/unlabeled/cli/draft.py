"""A file of a person is written whole or not at all: what is cut off leaves nothing behind."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def draft_of(out: Path) -> Iterator[Path]:
    """Yield a path beside `out` that takes its place at the end, and goes if anything fails."""
    draft = out.with_name(f".{out.name}.part")
    try:
        yield draft
        draft.replace(out)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def rows_of(out: Path, errors: str = "strict") -> Iterator[Any]:
    """Yield the writer of a csv file that is such a draft.

    Args:
        out: the file.
        errors: what is done with characters that cannot be written, as for `open`.
    """
    with (
        draft_of(out) as draft,
        draft.open("w", newline="", encoding="utf-8", errors=errors) as file,
    ):
        yield csv.writer(file)
