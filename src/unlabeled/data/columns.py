"""Which column of a table holds the samples, and how one of its cells becomes an item."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from unlabeled.data.folder import MAX_BYTES, read_regular
from unlabeled.errors import DataError, UsageError, nearest
from unlabeled.kinds import ENCODED, KINDS, strings
from unlabeled.modalities.decode import decode

EXAMPLES = 100
"""How many rows are looked at to tell what a column holds."""


_ENCODED_WORDS = " or ".join(ENCODED)
_ALL = " or ".join(row.plural for row in KINDS.values() if not row.rows)


class Column(NamedTuple):
    """What is known of a column before a kind is chosen.

    Args:
        name: its name.
        type: ``bytes`` (or a struct with bytes), ``string`` or ``other``.
        examples: some values of a string column; of a struct with bytes some of its paths.
    """

    name: str
    type: str
    examples: Sequence[str] = ()


def _holds(column: Column) -> str | None:
    """Return which kind of sample a column can hold."""
    if column.type not in ("bytes", "string"):
        return None
    endings = {os.path.splitext(value)[1].lower() for value in column.examples if value}
    for kind in ENCODED:
        if endings and endings <= KINDS[kind].suffixes:
            return kind
    if column.type == "string":
        return "text"
    named = (kind for kind in ENCODED if column.name.lower() in KINDS[kind].columns)
    return next(named, ENCODED[0])


def _may_hold(column: Column, kind: str) -> bool:
    """Return whether bytes of which nothing is known may be what a person says they are."""
    return column.type == "bytes" and not strings(kind) and not column.examples


def _mean_length(column: Column) -> float:
    return sum(map(len, column.examples)) / max(1, len(column.examples))


def _best(columns: Sequence[Column], kind: str) -> Column | None:
    """Return the column that most likely holds samples of a kind: by type, by name, by length."""
    fitting = [c for c in columns if _holds(c) == kind or _may_hold(c, kind)]
    fitting.sort(key=lambda c: c.type != "bytes")
    named = {c.name.lower(): c for c in reversed(fitting)}
    for name in KINDS[kind].columns:
        if name in named and (strings(kind) or named[name].type == fitting[0].type):
            return named[name]
    return (
        max(fitting, key=_mean_length) if strings(kind) and fitting else next(iter(fitting), None)
    )


def choose(
    columns: Sequence[Column], kind: str | None, column: str | None, where: str
) -> tuple[str, str]:
    """Return (name, kind) of the column that holds the samples.

    Raises:
        UsageError: no column fits, or the named one does not exist or fit.
    """
    names = [c.name for c in columns]
    there = ", ".join(names) or "none"
    if column is not None:
        given = next((c for c in columns if c.name == column), None)
        if given is None:
            raise UsageError(
                f"{where} has no column '{column}'.{nearest(column, names)} Its columns: {there}."
            )
        holds = _holds(given)
        if holds is None or (kind and strings(kind) and given.type == "bytes"):
            raise UsageError(
                f"Column '{column}' of {where} holds neither text nor {_ENCODED_WORDS} bytes or "
                "paths"
                if holds is None
                else f"Column '{column}' of {where} holds bytes, which are read as "
                f"{KINDS[holds].plural}, not text"
            )
        return column, kind or holds
    for candidate in (kind,) if kind else sorted(KINDS, key=strings):  # text goes with the rest
        best = _best([c for c in columns if kind or _holds(c) == candidate], candidate)
        if best is not None and (kind or not strings(candidate) or best.examples):
            return best.name, candidate
    raise UsageError(
        f"{where} has no column of {KINDS[kind].plural if kind else _ALL}. Its columns: {there}. "
        f"Samples are {_ENCODED_WORDS} bytes, {{bytes, path}}, paths of such files, or strings; "
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
    if strings(kind):
        if not isinstance(cell, str | bytes):
            raise DataError(f"its cell holds {type(cell).__name__} instead of text")
        return decode(_encoded(cell) if isinstance(cell, str) else cell)
    if isinstance(cell, str):
        return read_regular(os.path.join(folder, os.fsencode(cell)), follow=True)
    if not isinstance(cell, bytes):
        raise DataError(f"its cell holds {type(cell).__name__} instead of {kind} bytes or a path")
    if len(cell) > MAX_BYTES:
        raise DataError(f"it has {len(cell):,} bytes; the limit is {MAX_BYTES:,}")
    return cell


def _encoded(text: str) -> bytes:
    """Return the bytes that a string was read from; lone surrogates come out as damage."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
