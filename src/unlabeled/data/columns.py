"""Which column of a table holds the samples, and how one of its cells becomes an item."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from unlabeled.data.folder import MAX_BYTES, read_regular
from unlabeled.errors import DataError, UsageError, nearest
from unlabeled.modalities.decode import decode
from unlabeled.modalities.suffixes import IMAGE

EXAMPLES = 100
"""How many rows are looked at to tell what a column holds."""

_NAMES = {
    "image": (
        "image",
        "images",
        "img",
        "picture",
        "photo",
        "file",
        "path",
        "file_name",
        "filename",
    ),
    "text": ("text", "content", "body", "document", "review", "sentence", "abstract", "message"),
}


class Column(NamedTuple):
    """What is known of a column before a kind is chosen.

    Args:
        name: its name.
        type: ``bytes`` (or a struct with bytes), ``string`` or ``other``.
        examples: some values of a string column.
    """

    name: str
    type: str
    examples: Sequence[str] = ()


def _holds(column: Column) -> str | None:
    """Return which kind of sample a column can hold."""
    if column.type == "bytes":
        return "image"
    if column.type != "string":
        return None
    values = [value for value in column.examples if value]
    paths = sum(os.path.splitext(value)[1].lower() in IMAGE for value in values)
    return "image" if values and paths == len(values) else "text"


def _mean_length(column: Column) -> float:
    return sum(map(len, column.examples)) / max(1, len(column.examples))


def _best(columns: Sequence[Column], kind: str) -> Column | None:
    """Return the column that most likely holds samples of a kind: by type, by name, by length."""
    fitting = [c for c in columns if _holds(c) == kind]
    fitting.sort(key=lambda c: c.type != "bytes")
    named = {c.name.lower(): c for c in reversed(fitting)}
    for name in _NAMES[kind]:
        if name in named and (kind == "text" or named[name].type == fitting[0].type):
            return named[name]
    return (
        max(fitting, key=_mean_length) if kind == "text" and fitting else next(iter(fitting), None)
    )


def choose(
    columns: Sequence[Column], kind: str | None, column: str | None, where: str
) -> tuple[str, str]:
    """Return (name, kind) of the column that holds the samples.

    Raises:
        UsageError: no column fits, or the named one does not exist or fit.
    """
    names = [c.name for c in columns]
    listing = ", ".join(names) or "none"
    if column is not None:
        given = next((c for c in columns if c.name == column), None)
        if given is None:
            raise UsageError(
                f"{where} has no column '{column}'.{nearest(column, names)} Its columns: {listing}."
            )
        holds = _holds(given)
        if holds is None or (kind == "text" and given.type == "bytes"):
            raise UsageError(
                f"Column '{column}' of {where} holds neither text nor image bytes or paths"
                if holds is None
                else f"Column '{column}' of {where} holds bytes, which are read as images, not text"
            )
        return column, kind or holds
    for candidate in (kind,) if kind else ("image", "text"):
        best = _best(columns, candidate)
        if best is not None and (kind or candidate == "image" or best.examples):
            return best.name, candidate
    raise UsageError(
        f"{where} has no column of {kind or 'images or text'}. Its columns: {listing}. "
        "Samples are image bytes, {bytes, path}, paths of images, or strings; "
        "name the column with --column."
    )


def item(cell: Any, kind: str, folder: bytes) -> bytes | str:
    """Turn a cell into an item; a path is relative to the table's folder.

    Raises:
        DataError: with the reason.
    """
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") or cell.get("path")
    if cell is None:
        raise DataError("its cell is empty")
    if kind == "text":
        if not isinstance(cell, str | bytes):
            raise DataError(f"its cell holds {type(cell).__name__} instead of text")
        return decode(_encoded(cell) if isinstance(cell, str) else cell)
    if isinstance(cell, str):
        return read_regular(os.path.join(folder, os.fsencode(cell)), follow=True)
    if not isinstance(cell, bytes):
        raise DataError(f"its cell holds {type(cell).__name__} instead of image bytes or a path")
    if len(cell) > MAX_BYTES:
        raise DataError(f"it has {len(cell):,} bytes; the limit is {MAX_BYTES:,}")
    return cell


def _encoded(text: str) -> bytes:
    """Return the bytes that a string was read from; lone surrogates come out as damage."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
