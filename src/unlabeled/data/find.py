"""Find the samples under a path, and what kind of data they are.

Imports neither torch nor datasets: a wrong path is answered at once.
"""

from __future__ import annotations

import importlib
import os
import stat
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from unlabeled.config import DataConfig
from unlabeled.data import log_zarr, logs
from unlabeled.data.compressed import is_packed, suffix_of
from unlabeled.data.folder import Files, Scan, files_of, listed, one_file, printable, scan
from unlabeled.data.table import read_hub, read_tables
from unlabeled.errors import UsageError, nearest
from unlabeled.kinds import KINDS, TABLE, TEXT, strings


class Source(Protocol):
    """Random access to encoded items; cheap to hold, to fork and to pickle.

    Attributes:
        kind: one of `kinds.KINDS`.
        fingerprint: changes when items are added, removed or edited.
    """

    @property
    def kind(self) -> str:
        """Return one of `kinds.KINDS`."""

    @property
    def fingerprint(self) -> str:
        """Return a hash that changes with the data."""

    def __len__(self) -> int:
        """Return the number of items."""

    def name(self, index: int) -> str:
        """Return a printable name: a relative path, or ``file.parquet#12``."""

    def payload(self, index: int, epoch: int = 0) -> Any:
        """Return the encoded bytes of a sample, or the text of a document.

        Raises:
            DataError: the item cannot be read; the sentence names the reason.
        """


def of_config(data: DataConfig) -> Source:
    """Find the samples that a configuration names."""
    return find(data.path, data.kind, data.column, data.window)


def find(
    path: str, kind: str | None = None, column: str | None = None, window: int | None = None
) -> Source:
    """Find the samples under `path`.

    Args:
        path: folder (searched recursively), file of a kind, list of files, parquet, csv, tsv or
            jsonl file, or ``hf://owner/name[?split=train&config=...]``.
        kind: one of `kinds.KINDS`; None decides from file endings or from the column's type.
        column: which column of a table holds the samples; None finds it.
        window: steps above which an episode of a log is cut into several samples.

    Raises:
        UsageError: with the sentence to print.
    """
    if kind is not None and kind not in KINDS:
        raise UsageError(
            f"There is no kind '{kind}'.{nearest(kind, KINDS)} Kinds: {', '.join(KINDS)}."
        )
    if path.startswith("hf://"):
        return read_hub(path, kind, column)
    where = os.path.abspath(os.fsencode(os.path.expanduser(path)))
    try:
        mode = os.stat(where).st_mode
    except (OSError, ValueError) as error:
        raise UsageError(_missing(path, error)) from None
    if stat.S_ISDIR(mode):
        return _find_in_folder(path, where, kind, column, window)
    if not stat.S_ISREG(mode):
        raise UsageError(f"{_shown(path)} is neither a folder nor a regular file.")
    if not os.access(where, os.R_OK):
        raise UsageError(f"{_shown(path)} may not be read (permission denied).")
    return _find_in_file(path, where, kind, column, window)


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


def _find_in_file(
    path: str, where: bytes, kind: str | None, column: str | None, window: int | None
) -> Source:
    suffix = suffix_of(path)
    if suffix == ".parquet" and is_packed(path):
        raise UsageError(f"{_shown(path)} is packed twice: unpack it to a parquet file.")
    if suffix in TABLE and (kind == "series" or (not kind and not column and logs.is_log(where))):
        return logs.open_logs(*_parted(where), window)
    if suffix in TABLE:
        return read_tables([where], kind, column)
    if column is not None:
        raise UsageError(f"{_shown(path)} is not a table, so it has no column '{column}'.")
    holds = _held(suffix, kind)
    if holds is not None and not strings(holds):
        if kind not in (None, holds):
            raise UsageError(f"{_shown(path)} is {_one(holds)}, not {kind}.")
        if holds == "series":
            return logs.open_logs(*_parted(where), window)
        return _whole_or_cut(one_file(where, holds))
    if holds is not None or (kind and strings(kind)) or suffix in (".list", ".lst"):
        files = listed(where, kind)
        if files is None and kind is not None and not strings(kind):
            endings = " ".join(sorted(KINDS[kind].suffixes))
            raise UsageError(
                f"{_shown(path)} is not a list of {KINDS[kind].plural}: every line must be the "
                f"path of one ({endings}). Reading it as text? Add --kind text."
            )
        return _whole_or_cut(files) if files is not None else one_file(where, "text")
    raise UsageError(
        f"{_shown(path)} cannot be used. Give a folder, a list of files (.txt), a table "
        f"({' '.join(sorted(TABLE))}), text ({' '.join(sorted(TEXT))}) or hf://owner/name."
    )


def _held(suffix: str, kind: str | None) -> str | None:
    """Return which kind of data a file with this ending holds; the kind asked for comes first."""
    if kind is not None and suffix in KINDS[kind].also:
        return kind
    return next((name for name, row in KINDS.items() if suffix in row.suffixes), None)


def _parted(where: bytes) -> tuple[bytes, list[bytes]]:
    folder, name = os.path.split(where)
    return folder, [name]


def _one(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind} file"


def _find_in_folder(
    path: str, where: bytes, kind: str | None, column: str | None, window: int | None
) -> Source:
    if not os.access(where, os.R_OK | os.X_OK):
        raise UsageError(f"{_shown(path)} may not be read (permission denied).")
    if kind in (None, "series") and column is None:
        root, inside, beside = log_zarr.stores(where)
        if inside:
            return logs.open_logs(root, inside, window, beside)
    found = scan(where, kind)
    counts = {name: len(names) for name, names in found.names.items()}
    rivals = [kind] if kind else list(KINDS)
    # A folder of tables may hold a README; images beside a table are the data it describes.
    weight = {name: sum(sizes) for name, sizes in found.sizes.items()}
    described = any(counts[name] for name in KINDS if not strings(name))
    is_table = weight["table"] > sum(weight[name] for name in rivals) and not described
    if column is not None or is_table:
        if not counts["table"]:
            raise UsageError(f"{_shown(path)} has no table, so it has no column '{column}'.")
        tables = [os.path.join(where, name) for name in found.names["table"]]
        asked = kind is None and column is None
        if kind == "series" or (asked and logs.is_log(_largest(tables, found.sizes["table"]))):
            return logs.in_folder(where, found, window)
        suffixes = Counter(suffix_of(name) for name in tables)
        if len(suffixes) > 1:
            endings = ", ".join(printable(os.fsencode(s)) for s in sorted(suffixes))
            raise UsageError(f"{_shown(path)} mixes tables ({endings}). Give one file.")
        return read_tables(tables, kind, column, found.skipped, where)
    chosen = kind or max(KINDS, key=lambda name: counts[name])
    if chosen == "series" and counts["series"] + counts["table"]:
        return logs.in_folder(where, found, window)
    if not counts[chosen]:
        raise UsageError(_nothing(_shown(path), kind, found))
    return _whole_or_cut(files_of(found, chosen, where))


def _largest(tables: Sequence[bytes], sizes: Sequence[int]) -> bytes:
    """Return the table that says what all are: not an empty one, nor labels beside the data."""
    return tables[max(range(len(tables)), key=sizes.__getitem__)]


def _whole_or_cut(files: Files) -> Source:
    """Cut long recordings, long videos and very large images of a folder or list into samples."""
    if files.kind not in _CUTTERS:
        return files
    found: Source = importlib.import_module(_CUTTERS[files.kind]).cut(files)
    return found


_CUTTERS = {
    "audio": "unlabeled.data.pieces",
    "image": "unlabeled.data.tiles",
    "video": "unlabeled.data.clips",
}
"""Modules whose `cut` makes samples of files."""


def _nothing(path: str, kind: str | None, found: Scan) -> str:
    """Say what a folder holds instead of what was looked for."""
    other = max((name for name in KINDS if name != kind), key=lambda name: len(found.names[name]))
    endings = found.suffixes.most_common(3)
    held = ", ".join(f"{count:,} {suffix or 'without ending'}" for suffix, count in endings)
    wanted = KINDS[kind].files if kind is not None else _listed_files("and")
    if kind is not None and found.names[other]:
        others = KINDS[other].suffixes
        suffix, count = next((s, n) for s, n in found.suffixes.most_common() if s in others)
        hint = f"Reading it as {other}? Add --kind {other}."
        return f"{path} has 0 {wanted} but {count:,} {suffix} files. {hint}"
    if found.names["table"]:
        return f"{path} has 0 {wanted} but tables ({held}). Leave out --kind, or give one file."
    skipped = ", ".join(f"{count:,} {name}" for name, count in sorted(found.skipped.items()))
    note = f" Left out: {skipped}." if skipped else ""
    if not held:
        return f"{path} is empty.{note} Put {_listed_files('or')} into it, or name another folder."
    ends = {row.files: row.suffixes for row in KINDS.values()} | {"tables": TABLE}
    known = "; ".join(f"{name} end in {' '.join(sorted(found))}" for name, found in ends.items())
    return f"{path} has 0 {wanted} but {held} files.{note} {known[0].upper()}{known[1:]}."


def _listed_files(word: str) -> str:
    """Return what files of all kinds are called, as in a sentence."""
    names = [row.files for row in KINDS.values()]
    return f"{', '.join(names[:-1])} {word} {names[-1]}"
