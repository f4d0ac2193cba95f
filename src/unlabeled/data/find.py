"""Find the samples under a path, and what kind of data they are.

Imports neither torch nor datasets: a wrong path is answered at once.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from typing import Any, Protocol

from unlabeled.data.folder import Files, Scan, files_of, listed, one_file, printable, scan
from unlabeled.data.table import Table, read_hub, read_tables
from unlabeled.errors import UsageError, nearest
from unlabeled.modalities.suffixes import IMAGE, KINDS, TABLE, TEXT


class Source(Protocol):
    """Random access to encoded items; cheap to hold, to fork and to pickle.

    Attributes:
        kind: ``image`` or ``text``.
        fingerprint: changes when items are added, removed or edited.
    """

    @property
    def kind(self) -> str:
        """Return ``image`` or ``text``."""

    @property
    def fingerprint(self) -> str:
        """Return a hash that changes with the data."""

    def __len__(self) -> int:
        """Return the number of items."""

    def name(self, index: int) -> str:
        """Return a printable name: a relative path, or ``file.parquet#12``."""

    def payload(self, index: int, epoch: int = 0) -> Any:
        """Return the bytes of an image or the text of a document.

        Raises:
            DataError: the item cannot be read; the sentence names the reason.
        """


def find(path: str, kind: str | None = None, column: str | None = None) -> Source:
    """Find the samples under `path`.

    Args:
        path: folder (searched recursively), image, text, list of files, parquet, csv, tsv or
            jsonl file, or ``hf://owner/name[?split=train&config=...]``.
        kind: ``image`` or ``text``; None decides from file endings or from the column's type.
        column: which column of a table holds the samples; None finds it.

    Raises:
        UsageError: with the sentence to print.
    """
    if kind is not None and kind not in KINDS:
        raise UsageError(f"There is no kind '{kind}'.{nearest(kind, KINDS)} Kinds: image, text.")
    if path.startswith("hf://"):
        return read_hub(path, kind, column)
    where = os.path.abspath(os.fsencode(os.path.expanduser(path)))
    try:
        mode = os.stat(where).st_mode
    except (OSError, ValueError) as error:
        raise UsageError(_missing(path, error)) from None
    if stat.S_ISDIR(mode):
        return _find_in_folder(path, where, kind, column)
    if not stat.S_ISREG(mode):
        raise UsageError(f"{_shown(path)} is neither a folder nor a regular file.")
    if not os.access(where, os.R_OK):
        raise UsageError(f"{_shown(path)} may not be read (permission denied).")
    return _find_in_file(path, where, kind, column)


def _shown(path: str) -> str:
    return printable(os.fsencode(path))


def _missing(path: str, error: OSError | ValueError) -> str:
    """Say that a path is not there, and what is near it."""
    if isinstance(error, PermissionError):
        return f"{_shown(path)} may not be read (permission denied)."
    parent, name = os.path.split(os.path.abspath(os.path.expanduser(path)).rstrip("/"))
    while parent and not os.path.isdir(parent) and parent != os.path.dirname(parent):
        parent, name = os.path.split(parent)
    try:
        siblings = [entry for entry in os.listdir(parent) if not entry.startswith(".")]
    except OSError:
        siblings = []
    return f"{_shown(path)} does not exist.{nearest(name, siblings)}"


def _find_in_file(path: str, where: bytes, kind: str | None, column: str | None) -> Source:
    suffix = os.path.splitext(path)[1].lower()
    if suffix in TABLE:
        return read_tables([where], kind, column)
    if column is not None:
        raise UsageError(f"{_shown(path)} is not a table, so it has no column '{column}'.")
    if suffix in IMAGE:
        if kind == "text":
            raise UsageError(f"{_shown(path)} is an image, not text.")
        return one_file(where, "image")
    if suffix in TEXT or kind == "text" or suffix in (".list", ".lst"):
        files = listed(where, kind)
        if files is None and kind == "image":
            raise UsageError(
                f"{_shown(path)} is not a list of images: every line must be the path of one "
                f"({' '.join(sorted(IMAGE))}). Reading it as text? Add --kind text."
            )
        return files if files is not None else one_file(where, "text")
    raise UsageError(
        f"{_shown(path)} cannot be used. Give a folder, a list of files (.txt), a table "
        f"({' '.join(sorted(TABLE))}), text ({' '.join(sorted(TEXT))}) or hf://owner/name."
    )


def _find_in_folder(path: str, where: bytes, kind: str | None, column: str | None) -> Files | Table:
    if not os.access(where, os.R_OK | os.X_OK):
        raise UsageError(f"{_shown(path)} may not be read (permission denied).")
    found = scan(where)
    counts = {name: len(names) for name, names in found.names.items()}
    rivals = [kind] if kind else ["image", "text"]
    # A folder of tables may hold a README; images beside a table are the data it describes.
    weight = {name: sum(sizes) for name, sizes in found.sizes.items()}
    is_table = weight["table"] > sum(weight[name] for name in rivals) and not counts["image"]
    if column is not None or is_table:
        if not counts["table"]:
            raise UsageError(f"{_shown(path)} has no table, so it has no column '{column}'.")
        tables = [os.path.join(where, name) for name in found.names["table"]]
        suffixes = Counter(os.path.splitext(name)[1] for name in tables)
        if len(suffixes) > 1:
            endings = ", ".join(printable(s) for s in sorted(suffixes))
            raise UsageError(f"{_shown(path)} mixes tables ({endings}). Give one file.")
        return read_tables(tables, kind, column, found.skipped)
    chosen = kind or ("image" if counts["image"] >= counts["text"] else "text")
    if not counts[chosen]:
        raise UsageError(_nothing(_shown(path), kind, found))
    return files_of(found, chosen, where)


def _nothing(path: str, kind: str | None, found: Scan) -> str:
    """Say what a folder holds instead of what was looked for."""
    other = "text" if kind == "image" else "image"
    endings = found.suffixes.most_common(3)
    held = ", ".join(f"{count:,} {suffix or 'without ending'}" for suffix, count in endings)
    wanted = {"image": "images", "text": "text files", None: "images and text files"}[kind]
    if kind is not None and found.names[other]:
        suffix, count = next((s, n) for s, n in found.suffixes.most_common() if s in KINDS[other])
        hint = f"Reading it as {other}? Add --kind {other}."
        return f"{path} has 0 {wanted} but {count:,} {suffix} files. {hint}"
    if found.names["table"]:
        return f"{path} has 0 {wanted} but tables ({held}). Leave out --kind, or give one file."
    skipped = ", ".join(f"{count:,} {name}" for name, count in sorted(found.skipped.items()))
    note = f" Left out: {skipped}." if skipped else ""
    if not held:
        return f"{path} is empty.{note} Put images or text into it, or name another folder."
    return (
        f"{path} has 0 {wanted} but {held} files.{note} Images end in {' '.join(sorted(IMAGE))}; "
        f"text in {' '.join(sorted(TEXT))}; tables in {' '.join(sorted(TABLE))}."
    )
