"""Labels given word by word: sentences with a tag for every word.

Three forms are known by their content: a table (jsonl, parquet) with a list of words and a list of
tags in a row; columns, a word a line and an empty line between sentences (CoNLL, CoNLL-U); and
running text of ``word/TAG``, as the Brown corpus has it. A folder of files of the last two forms
is one set, each file a document. Only `unlabeled.transfer` may import this module.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.label_table import columns_of, pick, read_columns
from unlabeled.errors import UsageError

Form = Literal["table", "columns", "slashes"]
FORMS = (
    "a jsonl or parquet table with a list of words and a list of tags in a row (columns words and "
    "tags), CoNLL columns (a word and its tag a line, an empty line between sentences), or text of "
    "word/TAG"
)
_WORDS = ("words", "tokens", "forms")
_TAGS = ("tags", "labels", "pos", "pos_tags", "upos", "ner_tags", "ner", "chunk_tags")
_GROUPS = ("document", "doc", "group", "groups", "file", "speaker", "source")
_SPLITS = ("split", "fold", "partition", "subset")
_ENDINGS = frozenset({".conll", ".conllu", ".iob", ".iob2", ".bio", ".tags", ".pos"})
_UNIVERSAL = ("id", "form", "lemma", "upos", "xpos")
_LOOKED_AT = 200


@dataclass(frozen=True)
class Tagged:
    """Sentences whose words have tags.

    Args:
        words: N sentences, none empty.
        tags: (W,) positions in `classes`, sentence after sentence.
        classes: names of the tags.
        group: (N,) documents that must not be torn apart, where they are known.
        split: (N,) names of splits, where they are known.
        skipped: sentences without a word, left out.
    """

    words: list[list[str]]
    tags: NDArray[np.int64]
    classes: list[str]
    group: NDArray[np.str_] | None = None
    split: NDArray[np.str_] | None = None
    skipped: int = 0

    def __len__(self) -> int:
        """Return N."""
        return len(self.words)

    @property
    def starts(self) -> NDArray[np.int64]:
        """Return where the words of each sentence begin among all, (N + 1,)."""
        return np.cumsum([0, *map(len, self.words)]).astype(np.int64)

    @property
    def about(self) -> tuple[Any, ...]:
        """Return what tells them from others, for a hash."""
        return self.words, self.tags

    @property
    def fingerprint(self) -> str:
        """Return a hash of words and tags."""
        digest = hashlib.sha256(repr((self.words, self.classes)).encode())
        digest.update(self.tags.tobytes())
        return digest.hexdigest()

    def take(self, rows: NDArray[Any]) -> Tagged:
        """Return the sentences at `rows` (positions or a mask)."""
        chosen = np.arange(len(self))[rows]
        places = inside(self.starts, chosen)
        return replace(
            self,
            words=[self.words[int(row)] for row in chosen],
            tags=self.tags[places],
            group=None if self.group is None else self.group[chosen],
            split=None if self.split is None else self.split[chosen],
        )


def inside(starts: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of all words of some sentences, in the order of `rows`.

    >>> inside(np.array([0, 2, 5]), np.array([1, 0]))
    array([2, 3, 4, 0, 1])
    """
    parts = [np.arange(starts[row], starts[row + 1]) for row in rows]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def place(labels: str | Path | None, data: str) -> Path | None:
    """Return the file or folder of labels, which may be the data; None: they are a column."""
    if labels is None:
        return Path(data).expanduser()
    return None if str(labels).startswith("column:") else Path(labels).expanduser()


def form_of(path: Path) -> Form | None:
    """Tell in which form a file or folder holds tagged words; None if in none."""
    if path.is_dir():
        forms = {_form_of_file(file) for file in islice(_files(path), 20)}
        found = forms.pop() if len(forms) == 1 else None
        return found if found != "table" else None
    return _form_of_file(path) if path.is_file() else None


def _form_of_file(path: Path) -> Form | None:
    if path.suffix.lower() in (".jsonl", ".parquet"):
        return "table" if _table_columns(path, None) else None
    if path.suffix.lower() in (".csv", ".tsv", ".json", ".gz", ".zst"):
        return None
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = [line.rstrip("\n") for line in islice(file, _LOOKED_AT)]
    except (OSError, UnicodeDecodeError):
        return None
    full = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    if not full:
        return None
    if all(re.fullmatch(r"\S+/[^\s/]+", word) for line in full for word in line):
        return "slashes"
    widths = {len(line) for line in full if line[0] != "-DOCSTART-"}
    apart = any(not line.strip() for line in lines)
    if len(widths) == 1 and min(widths) > 1 and (apart or path.suffix.lower() in _ENDINGS):
        return "columns"
    return None


def _files(path: Path) -> Iterator[Path]:
    """Yield the files of a folder that may hold documents; no README, no lists of them."""
    for file in sorted(path.rglob("*")):
        known = file.suffix.lower() in (*_ENDINGS, "", ".txt")
        if file.is_file() and known and not re.match(r"\.|readme|cats|license|contents", file.name,
                                                     re.IGNORECASE):  # fmt: skip
            yield file


def _table_columns(path: Path, label_column: str | None) -> dict[str, str]:
    """Return which columns hold words, tags, documents and splits; nothing if there are none."""
    columns = columns_of(path)
    words = pick(columns, _WORDS)
    tags = label_column if label_column in columns else pick(columns, _TAGS)
    if words is None or tags is None or not _holds_lists(path, [words, tags]):
        return {}
    found = {"words": words, "tags": tags}
    for part, names in (("group", _GROUPS), ("split", _SPLITS)):
        column = pick([c for c in columns if c not in (words, tags)], names)
        if column is not None:
            found[part] = column
    return found


def _holds_lists(path: Path, names: Sequence[str]) -> bool:
    if path.suffix.lower() == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pq.read_schema(path)
        kinds = [schema.field(name).type for name in names]
        return all(pa.types.is_list(kind) or pa.types.is_large_list(kind) for kind in kinds)
    first = [column[0] for column in read_columns(path, names) if column]
    return len(first) == len(names) and all(isinstance(value, list) for value in first)


def read_tagged(path: Path, label_column: str | None = None) -> Tagged:
    """Read sentences with a tag for every word.

    Args:
        path: a file or folder in one of the forms of this module.
        label_column: name of the column of tags in a table or in CoNLL-U (``upos``, ``xpos``), or
            its number, counted from 1, in other columns; the last by default.

    Raises:
        UsageError: the file has none of the forms, or words and tags do not match.
    """
    form = form_of(path)
    if form is None:
        raise UsageError(f"{path} holds no tagged words. Forms: {FORMS}.")
    if form == "table":
        return _from_table(path, label_column)
    files = list(_files(path)) if path.is_dir() else [path]
    sentences: list[tuple[list[str], list[str], str]] = []
    for file in files:
        read = _slashes(file) if form == "slashes" else _columns(file, label_column)
        sentences += [(words, tags, f"{file.name}{part}") for words, tags, part in read]
    groups = [group for *_, group in sentences]
    several = len(set(groups)) > 1
    return _build(
        path, [s[0] for s in sentences], [s[1] for s in sentences], groups if several else None
    )


def _from_table(path: Path, label_column: str | None) -> Tagged:
    parts = _table_columns(path, label_column)
    if label_column is not None and parts.get("tags") != label_column:
        raise UsageError(
            f"{path} has no column '{label_column}' with lists of tags. "
            f"Columns seen: {', '.join(columns_of(path))}."
        )
    read = dict(zip(parts, read_columns(path, list(parts.values())), strict=True))
    words = [[str(word) for word in row or ()] for row in read["words"]]
    tags = [["" if tag is None else str(tag) for tag in row or ()] for row in read["tags"]]
    return _build(path, words, tags, read.get("group"), read.get("split"))


def words_of_table(path: Path) -> list[list[str]] | None:
    """Return the sentences of a jsonl or parquet table with lists of words; None of any other."""
    if path.suffix.lower() not in (".jsonl", ".parquet"):
        return None
    column = pick(columns_of(path), _WORDS)
    if column is None or not _holds_lists(path, [column]):
        return None
    return [[str(word) for word in row or ()] for row in read_columns(path, [column])[0]]


def _slashes(path: Path) -> Iterator[tuple[list[str], list[str], str]]:
    for line in path.read_text("utf-8-sig").splitlines():
        pairs = [word.rpartition("/") for word in line.split()]
        if pairs:
            yield [word for word, _, _ in pairs], [tag for _, _, tag in pairs], ""


def _columns(path: Path, label_column: str | None) -> Iterator[tuple[list[str], list[str], str]]:
    """Yield words, tags and the running number of the document inside the file."""
    words: list[str] = []
    tags: list[str] = []
    document, universal = 0, path.suffix.lower() == ".conllu"
    first = 1 if universal else 0
    place = _place(path, label_column, universal)
    for number, line in enumerate([*path.read_text("utf-8-sig").splitlines(), ""], 1):
        cells = line.split("\t") if universal else line.split()
        begins = line.startswith(("# newdoc", "-DOCSTART-"))
        if (not line.strip() or begins) and words:
            yield words, tags, f"#{document}"
            words, tags = [], []
        document += begins
        if begins or not line.strip() or (universal and re.match(r"#|\d+[-.]", line)):
            continue
        if len(cells) <= first or not -len(cells) <= place < len(cells):
            raise UsageError(f"{path}, line {number}: '{line[:40]}' has no word and tag.")
        words.append(cells[first])
        tags.append(cells[place])


def _place(path: Path, label_column: str | None, universal: bool) -> int:
    """Return which cell of a line is the tag."""
    if label_column is None:
        return 3 if universal else -1
    if universal and label_column.lower() in _UNIVERSAL:
        return _UNIVERSAL.index(label_column.lower())
    if label_column.isdecimal() and int(label_column) > 0:
        return int(label_column) - 1
    raise UsageError(
        f"--label-column {label_column}: {path} has columns without names. Give the number of the "
        "column of tags, counted from 1" + (", or upos or xpos." if universal else ".")
    )


def _build(
    path: Path,
    words: list[list[str]],
    tags: list[list[str]],
    group: Sequence[Any] | None = None,
    split: Sequence[Any] | None = None,
) -> Tagged:
    """Number the tags and leave out empty sentences.

    Raises:
        UsageError: a sentence has not as many tags as words, a tag is missing, or there is one.
    """
    for number, (row, said) in enumerate(zip(words, tags, strict=True), 1):
        if len(row) != len(said) or not all(said):
            wrong = f"{len(row)} words and {len(said)} tags"
            wrong = wrong if len(row) != len(said) else "a word without a tag"
            raise UsageError(
                f"{path}: sentence {number} ('{' '.join(row)[:40]}') has {wrong}. "
                "Give each word one tag."
            )
    kept = [number for number, row in enumerate(words) if row]
    classes = _order({tag for number in kept for tag in tags[number]})
    if len(classes) < 2:
        raise UsageError(f"{path} has {len(classes)} tags; at least two are needed.")
    places = {tag: i for i, tag in enumerate(classes)}
    flat = np.array([places[tag] for number in kept for tag in tags[number]], dtype=np.int64)

    def column(values: Sequence[Any] | None) -> NDArray[np.str_] | None:
        if values is None or not any(values):
            return None
        return np.array([str(values[number] or "") for number in kept], dtype=np.str_)

    return Tagged(
        [words[number] for number in kept], flat, classes, column(group), column(split),
        len(words) - len(kept),
    )  # fmt: skip


def _order(tags: set[str]) -> list[str]:
    return sorted(tags, key=lambda tag: (not tag.isdecimal(), int(tag) if tag.isdecimal() else 0,
                                         tag))  # fmt: skip


def same_classes(one: Any, other: Any) -> tuple[Any, Any]:
    """Number the tags of two sets (`Tagged` or `marks.Marked`) alike, by all classes of both."""
    classes = _order({*one.classes, *other.classes})

    def renumbered(part: Any) -> Any:
        new = np.array([classes.index(tag) for tag in part.classes], dtype=np.int64)
        return replace(part, tags=new[part.tags], classes=classes)

    return renumbered(one), renumbered(other)
