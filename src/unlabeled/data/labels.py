"""Labels: read from a table, a column or class folders, and matched to samples.

Only `unlabeled.transfer` may import this module: labels never reach pre-training.
Neither torch nor the data are loaded here; images are not opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled import kinds
from unlabeled.data import groups, log_labels
from unlabeled.data.find import Source, find
from unlabeled.data.label_names import Names
from unlabeled.data.label_table import TABLES, columns_of, pick, read_columns
from unlabeled.data.label_words import in_order, known_words, once, word_of
from unlabeled.errors import UsageError, nearest

__all__ = ["Labels", "Source", "columns_of", "read_labelled", "read_labels"]

_FILES = ("path", "file", "filename", "file_name", "name")
_PATHS = (*_FILES, *kinds.ENCODED, "id")
_LABELS = ("label", "labels", "class", "category", "target", "y")
_SPLITS = ("split", "fold", "partition", "subset")
GROUPS = groups.NAMED


@dataclass(frozen=True)
class Labels:
    """Human labels of some samples of a source.

    Args:
        indices: (L,) int64, positions in the source, ascending, each once.
        y: (L,) int64, positions in `classes`.
        classes: names of the classes.
        split: (L,) names of splits (such as train, test), where the table has them.
        group: (L,) names of groups that must not be torn apart, where the table has them.
        skipped: rows without a label.
        column: what the labels were read from, for sentences.
        targets: (L, K) labels as 0 and 1, or (L,) numbers, where a sample has not one class.
        task: ``single``, ``multi``, ``ordinal`` or ``regression``; see `label_forms`.
    """

    indices: NDArray[np.int64]
    y: NDArray[np.int64]
    classes: list[str]
    split: NDArray[np.str_] | None = None
    group: NDArray[np.str_] | None = None
    skipped: int = 0
    column: str = ""
    targets: NDArray[np.float32] | None = None
    task: str = "single"

    def __len__(self) -> int:
        """Return L."""
        return len(self.indices)

    @property
    def missing(self) -> str:
        """Say how many rows have no label and in which column; nothing where all have one."""
        if not self.skipped:
            return ""
        where = f" in column '{self.column}'" if self.column else ""
        return (
            f"Rows without a label{where}: {self.skipped:,} (empty, NaN, none, null, or "
            "-1 among classes); these samples were not used as labelled ones."
        )

    def take(self, rows: NDArray[Any]) -> Labels:
        """Return the labels at `rows` (positions or a mask)."""
        return replace(
            self,
            indices=self.indices[rows],
            y=self.y[rows],
            split=None if self.split is None else self.split[rows],
            group=None if self.group is None else self.group[rows],
            targets=None if self.targets is None else self.targets[rows],
            skipped=0,
        )


def read_labels(
    labels: str | Path | None,
    source: Source,
    *,
    label_column: str | None = None,
    classes: Sequence[str] | None = None,
    table: str | Path | None = None,
    fewest: int = 2,
) -> Labels:
    """Read the labels of a source's samples.

    Args:
        labels: a table with a path and a label a row (csv, tsv, jsonl, parquet);
            ``column:NAME`` for a column of the source's own table, or that table itself;
            None for a label column of the source's own table if it has one, else class folders.
        source: the samples.
        label_column: name of the label column, where it cannot be guessed.
        classes: the classes that may occur, in order (those of the training labels).
        table: the file or folder that `source` was made from.
        fewest: classes that there must be.

    Raises:
        UsageError: with the sentence to print.
    """
    found = _read(labels, source, label_column, classes, table)
    if len(found.classes) < fewest:
        raise UsageError(
            f"{labels or table or 'The data'} has one class only ('{found.classes[0]}'). "
            "At least two are needed."
        )
    if found.group is None:
        found = replace(found, group=log_labels.episodes(source, found.indices))
    return found


def _read(
    labels: str | Path | None,
    source: Source,
    label_column: str | None,
    classes: Sequence[str] | None,
    table: str | Path | None,
) -> Labels:
    if isinstance(labels, str) and labels.startswith("column:"):
        label_column, labels = labels.removeprefix("column:"), None
    if kinds.rows(source.kind) and (labels is None or (table is not None and _same(labels, table))):
        column = log_labels.column(source, label_column, _LABELS[:-1])
        if column is None:
            return _from_folders(source, classes)
        words = log_labels.words(source, column)
        every = np.arange(len(words))
        return _build(source, every, {"label": words}, classes, f"column '{column}'", column)
    own = own_tables(source, table)
    if labels is None or (table is not None and _same(labels, table)):
        if own:
            return _from_own(own, source, label_column, classes)
        if label_column is not None:
            raise UsageError(
                f"The samples come from a folder, which has no column '{label_column}'. "
                "Give --labels FILE, a table with the columns path and label."
            )
        return _from_folders(source, classes)
    return _from_table(Path(labels).expanduser(), source, label_column, classes, table)


def _same(one: str | Path, other: str | Path) -> bool:
    return Path(one).expanduser().resolve() == Path(other).expanduser().resolve()


def read_labelled(
    labels: str | Path | None,
    source: Source,
    *,
    table: str | Path | None = None,
    column: str | None = None,
    label_column: str | None = None,
    classes: Sequence[str] | None = None,
    fewest: int = 2,
) -> tuple[Source, Labels]:
    """Read labels together with the samples that they belong to.

    `labels` may also be a data set of its own: a folder of class folders, or a table that holds
    the samples beside their labels. Then its samples are returned, else `source`.

    Raises:
        UsageError: with the sentence to print.
    """
    if labels is None or str(labels).startswith("column:"):
        return source, read_labels(
            labels, source, label_column=label_column, classes=classes, table=table, fewest=fewest
        )
    path = _existing(Path(labels).expanduser())
    same = table is not None and _same(path, table)
    if not same and (path.is_dir() or _is_data_set(path, source, column, table)):
        window = getattr(source, "window", None)
        source, table, same = find(str(path), source.kind, column, window), path, True
    found = read_labels(
        None if same else path, source, label_column=label_column, classes=classes, table=table,
        fewest=fewest,
    )  # fmt: skip
    return source, found


def _existing(path: Path) -> Path:
    if path.exists():
        return path
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UsageError(
        f"{path} does not exist.{nearest(path.name, siblings)} "
        "--labels takes a table (csv, tsv, jsonl, parquet), column:NAME, or a folder of "
        "class folders."
    )


def own_tables(source: Source, table: str | Path | None) -> list[Path]:
    """Return the tables that the samples themselves lie in, if they do."""
    path = None if table is None else Path(table).expanduser()
    if path is None or not path.exists():
        return []
    if path.is_file():
        return [path] if path.suffix.lower() in TABLES else []
    names = (source.name(i).rpartition("#")[0] for i in range(len(source)))
    files = [path / name for name in dict.fromkeys(names) if name]
    return files if all(f.suffix.lower() in TABLES and f.is_file() for f in files) else []


def _is_data_set(path: Path, source: Source, column: str | None, table: str | Path | None) -> bool:
    """Say whether a table holds samples itself, rather than names of samples of `source`."""
    if path.suffix.lower() not in TABLES:
        return False
    columns = columns_of(path)
    if column is not None and column in columns:
        return True
    text = kinds.strings(source.kind)
    held = [name for name in kinds.KINDS[source.kind].columns if text or name not in _FILES]
    if pick(columns, (*held, *(() if text else ("bytes",)))) is not None:
        return text or path.suffix.lower() == ".parquet"
    key = pick(columns, _PATHS)
    if key is None or text:
        return False
    first = next((str(word) for word in read_columns(path, [key])[0]), "")
    beside = path.parent / first
    if not beside.is_file():
        return False
    found = Names(source, table).find(first, path.parent)
    if not found:
        return True
    known = None if table is None else Path(table).expanduser() / source.name(found[0])
    # Two folders may name their files alike: what lies beside the table is what it means.
    return known is not None and known.is_file() and not known.samefile(beside)


def _label_column(path: Path, columns: Sequence[str], given: str | None) -> str:
    if given is not None:
        if given not in columns:
            raise UsageError(
                f"{path} has no column '{given}'.{nearest(given, columns)} "
                f"Columns seen: {', '.join(columns)}."
            )
        return given
    found = pick(columns, _LABELS)
    if found is None:
        raise UsageError(
            f"{path} has no column named {' or '.join(_LABELS[:3])}. "
            f"Columns seen: {', '.join(columns) or 'none'}. Name it with --label-column NAME."
        )
    return found


def _columns(path: Path, label_column: str | None) -> dict[str, str]:
    """Return which column plays which part: label, and split and group where they exist."""
    columns = columns_of(path)
    parts = {"label": _label_column(path, columns, label_column)}
    for part, names in (("split", _SPLITS), ("group", GROUPS)):
        found = pick([name for name in columns if name != parts["label"]], names)
        if found is not None:
            parts[part] = found
    return parts


def _from_own(
    tables: Sequence[Path], source: Source, label_column: str | None, classes: Sequence[str] | None
) -> Labels:
    path, parts = tables[0], _columns(tables[0], label_column)
    read = [read_columns(part, list(parts.values())) for part in tables]
    values = {
        name: [value for columns in read for value in columns[i]] for i, name in enumerate(parts)
    }
    if len(values["label"]) != len(source):
        raise UsageError(
            f"{path} has {len(values['label'])} rows but {len(source)} samples were found in it. "
            "Give the labels as a table with the columns path and label instead."
        )
    every = np.arange(len(source))
    return _build(source, every, values, classes, str(path), parts["label"])


def _from_table(
    path: Path,
    source: Source,
    label_column: str | None,
    classes: Sequence[str] | None,
    table: str | Path | None,
) -> Labels:
    _existing(path)
    if path.suffix.lower() not in TABLES:
        raise UsageError(
            f"{path} is not a table of labels. Give a csv, tsv, jsonl or parquet file with the "
            "columns path and label."
        )
    parts = _columns(path, label_column)
    columns = columns_of(path)
    key = pick([name for name in columns if name not in parts.values()], _PATHS)
    if key is None:
        raise UsageError(
            f"{path} has no column with the paths of the samples (path, file or name). "
            f"Columns seen: {', '.join(columns)}."
        )
    read = read_columns(path, [key, *parts.values()])
    rows, indices = _match(read[0], path, source, columns, Names(source, table))
    values = {
        part: [column[row] for row in rows] for part, column in zip(parts, read[1:], strict=True)
    }
    return _build(source, indices, values, classes, str(path), parts["label"])


def _match(
    given: Sequence[Any], path: Path, source: Source, columns: Sequence[str], names: Names
) -> tuple[list[int], NDArray[np.int64]]:
    """Return rows of the table and the indices of their samples; an episode may be several.

    Raises:
        UsageError: some are not among the samples.
    """
    found = [names.find(str(word), path.parent) for word in given]
    missing = [str(word) for word, indices in zip(given, found, strict=True) if not indices]
    if missing or not found:
        first = f" (first: {missing[0]})" if missing else ""
        example = f" The samples are named like {source.name(0)}." if len(source) else ""
        raise UsageError(
            f"{path}: {len(missing)} of {len(found)} paths not found among the samples{first}. "
            f"Columns seen: {', '.join(columns)}.{example}"
        )
    pairs = [(row, index) for row, indices in enumerate(found) for index in indices]
    return [row for row, _ in pairs], np.array([index for _, index in pairs], dtype=np.int64)


def _from_folders(source: Source, classes: Sequence[str] | None) -> Labels:
    parents = [PurePosixPath(source.name(i)).parent.name for i in range(len(source))]
    if len({p for p in parents if p}) < 2:
        raise UsageError(
            "No labels were found: the samples have no label column and do not lie in class "
            "folders. Give --labels FILE, a table with the columns path and label."
        )
    every = np.arange(len(source))
    return _build(source, every, {"label": parents}, classes, "the folders")


def _build(
    source: Source,
    indices: NDArray[np.int64],
    values: Mapping[str, Sequence[Any]],
    classes: Sequence[str] | None,
    where: str,
    column: str = "",
) -> Labels:
    """Make `Labels` of one label a sample, without the rows that have none."""
    words = [word_of(value) for value in values["label"]]
    known = known_words(words)
    if not known.any():
        raise UsageError(f"{where}: no row has a label.")
    order = in_order(word for word, keep in zip(words, known, strict=True) if keep)
    if classes is not None:
        strange = [word for word in order if word not in classes]
        if strange:
            raise UsageError(
                f"{where} has the class '{strange[0]}', which the training labels lack. "
                f"Classes known: {', '.join(classes[:20])}."
            )
        order = list(classes)
    number = {word: i for i, word in enumerate(order)}
    rows = np.flatnonzero(known)
    y = np.array([number[words[int(row)]] for row in rows], dtype=np.int64)
    keep = once(indices[rows], y, order, where, source.name)
    rows, y = rows[keep], y[keep]
    extra = {
        part: np.array([word_of(values[part][int(row)]) for row in rows], dtype=np.str_)
        for part in ("split", "group")
        if part in values
    }
    # A column that says nothing of any row groups nothing; read as written it would be one group.
    extra = {part: column for part, column in extra.items() if (column != "").any()}
    return Labels(
        indices[rows].astype(np.int64), y, order,
        split=extra.get("split"), group=extra.get("group"), skipped=int((~known).sum()),
        column=column,
    )  # fmt: skip
