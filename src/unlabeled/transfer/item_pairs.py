"""Pairs of samples that are the same or not: a speaker, a person, a place, a meaning."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled import kinds
from unlabeled.data.find import Source
from unlabeled.data.folder import Files, Names
from unlabeled.data.label_names import Names as Named
from unlabeled.data.label_table import columns_of, pick, read_columns
from unlabeled.data.label_words import word_of
from unlabeled.errors import UsageError

_ENDS = ("{}", "path_{}", "file_{}", "item_{}", "sample_{}", "text_{}")
A = (*(end.format("a") for end in _ENDS), "first", "sentence1", "question1", "text1")
B = (*(end.format("b") for end in _ENDS), "second", "sentence2", "question2", "text2")
SAME = ("same", "is_same", "is_duplicate", "match", "label")
SPLIT, GROUP = ("split", "fold", "partition", "subset"), ("group", "groups")
OWNERS = ("group", "speaker", "patient", "subject", "person", "session", "source")
_YES = frozenset({"1", "true", "yes", "same", "match", "positive"})
_NO = frozenset({"0", "false", "no", "different", "other", "negative"})


@dataclass(frozen=True)
class ItemPairs:
    """Pairs as a table names them.

    Args:
        a: P names of samples, or texts.
        b: the other of each pair.
        same: (P,) whether both are the same.
        split: (P,) names of splits, where the table has them.
        group: P names of what must not be torn apart, where the table has them.
        owners: for a and b, P names of the groups that the samples belong to.
    """

    a: list[str]
    b: list[str]
    same: NDArray[np.bool_]
    split: NDArray[np.str_] | None = None
    group: list[str] | None = None
    owners: tuple[list[str], list[str]] | None = None


def has(path: Path) -> bool:
    """Say whether a table holds pairs of samples: two columns of names and one of answers."""
    columns = columns_of(path)
    return all(pick(columns, names) is not None for names in (A, B, SAME))


def read(path: Path) -> ItemPairs:
    """Read a csv, tsv, jsonl or parquet table with the columns a,b,same[,split,group].

    ``group`` is of the pair; ``group_a`` and ``group_b`` (or ``speaker_a``, ...) of its samples.

    Raises:
        UsageError: a cell is empty or no answer, or the answers are all alike.
    """
    columns = columns_of(path)
    parts = {"a": pick(columns, A), "b": pick(columns, B), "same": pick(columns, SAME)}
    parts |= {"split": pick(columns, SPLIT), "group": pick(columns, GROUP)}
    for side in ("a", "b"):
        parts[f"owner_{side}"] = pick(columns, [f"{name}_{side}" for name in OWNERS])
    there = {part: name for part, name in parts.items() if name is not None}
    cells = dict(zip(there, read_columns(path, list(there.values())), strict=True))
    words = {part: [word_of(cell) for cell in column] for part, column in cells.items()}
    for number, pair in enumerate(zip(words["a"], words["b"], strict=True), 1):
        if not all(pair):
            raise UsageError(f"Row {number} of {path} lacks a sample. Name two in every row.")
    both = (words.get("owner_a"), words.get("owner_b"))
    split = words.get("split")
    return ItemPairs(
        words["a"], words["b"], _answers(words["same"], path, str(parts["same"])),
        None if split is None or not any(split) else np.char.lower(np.array(split, np.str_)),
        words.get("group"),
        None if both[0] is None or both[1] is None else (both[0], both[1]),
    )  # fmt: skip


def _answers(words: Sequence[str], path: Path, column: str) -> NDArray[np.bool_]:
    said = [word.lower() for word in words]
    wrong = [n for n, word in enumerate(said, 1) if word not in _YES | _NO]
    if wrong:
        raise UsageError(
            f"Row {wrong[0]} of {path} says '{words[wrong[0] - 1]}' in the column {column}. Write "
            "1 for pairs that are the same and 0 for others."
        )
    found = np.array([word in _YES for word in said], bool)
    if not found.any() or found.all():
        raise UsageError(
            f"Of {len(found)} pairs in {path} {int(found.sum())} are the same; some of both kinds "
            "are needed."
        )
    return found


@dataclass(frozen=True)
class Texts:
    """Texts that stand in a table, as a source."""

    texts: list[str]
    kind: str = "text"

    @property
    def fingerprint(self) -> str:
        """Return a hash of the texts."""
        return hashlib.sha256("\0".join(self.texts).encode("utf-8", "replace")).hexdigest()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.texts)

    def name(self, index: int) -> str:
        """Return the number of a text."""
        return f"#{index}"

    def payload(self, index: int, epoch: int = 0) -> Any:
        """Return a text."""
        return self.texts[index]


def located(
    words: Sequence[str], source: Source, data: str, table: Path
) -> tuple[Source, list[list[int]]]:
    """Return where named samples are, and for each the indices of its parts.

    A name is one of `source`, or the path of a file, from here or from the table's folder; for
    text it may be the text itself. All are of one form.

    Raises:
        UsageError: some are nowhere.
    """
    names = Named(source, data)
    found = [names.find(word, table.parent) for word in words]
    lost = [word for word, indices in zip(words, found, strict=True) if not indices]
    if not lost:
        return source, found
    files = _files(words, source, table)
    if files is not None:
        return files, [[index] for index in range(len(files))]
    if kinds.strings(source.kind) and len(lost) == len(words):
        return Texts(list(words)), [[index] for index in range(len(words))]
    example = f" The samples are named like {source.name(0)}." if len(source) else ""
    raise UsageError(
        f"{table}: {len(lost)} of {len(words)} samples are neither in {data} nor files (first: "
        f"{lost[0][:80]}).{example} Are they in other data? Say --test DATA."
    )


def _files(words: Sequence[str], source: Source, table: Path) -> Source | None:
    """Return a source of files that are named, or None where one is none of this kind."""
    if kinds.rows(source.kind):
        return None
    ends, paths = kinds.KINDS[source.kind].suffixes, []
    for word in words:
        where = (base / word for base in (Path(), table.parent))
        path = next((p for p in where if p.suffix.lower() in ends and p.is_file()), None)
        if path is None:
            return None
        paths.append(os.path.abspath(os.fsencode(path)))
    listed = Names(paths)
    sizes = np.array([os.path.getsize(path) for path in paths], np.int64)
    fingerprint = hashlib.sha256(listed.digest() + sizes.tobytes()).hexdigest()
    return Files(source.kind, b"/", listed, fingerprint, follow=True)
