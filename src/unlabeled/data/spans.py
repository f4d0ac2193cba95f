"""Labels of stretches of time: a table of spans, label tracks, or a column of a log.

A table has a row a span: ``path,start,end,label``, perhaps with split and group. Times of
recordings are in seconds; those of logs in steps, or in the unit of the log's own column of time
where the columns are called ``start_time`` and ``end_time``. A label track, as Audacity writes it,
lies beside its recording (``talk.txt`` beside ``talk.wav``): start, end and label with tabs
between. The end of a span is not of it, so that the next may begin there.

What no span covers is a class of its own (see `span_set`); a span without a label, or with ``?``,
says that nothing is known there. In a column of a log empty cells say so.
Only `unlabeled.transfer` may import this module.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from unlabeled import kinds
from unlabeled.data import span_set
from unlabeled.data.groups import NAMED
from unlabeled.data.label_names import Names
from unlabeled.data.label_table import TABLES, columns_of, pick, read_columns
from unlabeled.data.label_words import known_words, word_of
from unlabeled.data.log_labels import column as column_of_logs
from unlabeled.data.marks import Marked, Wholes
from unlabeled.data.span_set import Span
from unlabeled.errors import DataError, UsageError, nearest
from unlabeled.modalities.roles import role

FORMS = (
    "a table with the columns path, start, end and label (seconds, or steps of a log), a folder of "
    "label tracks (start, end and label with tabs between, in a .txt beside each recording), or, "
    "of logs, the name of a column that labels steps"
)
_PATHS = ("path", "file", "filename", "file_name", "name", "audio", "recording", "id", "episode")
_STARTS = ("start", "onset", "begin", "start_step", "start_time", "start_s", "start_seconds")
_ENDS = ("end", "offset", "stop", "end_step", "end_time", "end_s", "end_seconds")
_LABELS = ("label", "labels", "class", "event_label", "event", "category", "tag", "activity",
           "phase")  # fmt: skip
_SPLITS = ("split", "fold", "partition", "subset")
_CLOCK = ("start_time", "end_time")


def timed(kind: str) -> bool:
    """Say whether samples of a kind go on in time, so that stretches of them may have labels."""
    return kind == "audio" or kinds.rows(kind)


def form_of(path: Path, label_column: str | None = None) -> str | None:
    """Tell in which form a file or folder holds spans: ``table``, ``tracks``, or None."""
    if path.is_dir():
        tracks = list(islice(sorted(path.rglob("*.txt")), 20))
        return "tracks" if tracks and all(map(_is_track, tracks)) else None
    if not path.is_file() or path.suffix.lower() not in TABLES:
        return None
    try:
        return "table" if len(_columns(path, label_column)) >= 4 else None
    except UsageError:
        return None


def own_folder(
    path: Path, data: str | Path, label_column: str | None = None
) -> Path | None:  # fmt: skip
    """Return the folder of labels whose recordings or logs lie beside them; None: the data's own.

    Args:
        path: a table, or a folder of label tracks.
        data: the file or folder that a run was made from.
        label_column: name of the column of labels, where it cannot be guessed.
    """
    folder = path if path.is_dir() else path.parent
    root = Path(data).expanduser().resolve()
    if path.is_dir():
        beside = [f for f in folder.iterdir() if f.suffix.lower() in kinds.AUDIO]
    else:
        words = read_columns(path, [_columns(path, label_column)["path"]])[0][:1]
        beside = [folder / str(word).partition("#")[0] for word in words]
    if not beside or not beside[0].is_file() or beside[0].resolve().is_relative_to(root):
        return None
    return folder


def _columns(path: Path, label_column: str | None) -> dict[str, str]:
    """Return which column plays which part; nothing where one that is needed is missing."""
    columns = columns_of(path)
    found: dict[str, str] = {}
    given = label_column if label_column in columns else None
    wanted = {"path": _PATHS, "start": _STARTS, "end": _ENDS, "label": _LABELS}
    for part, names in wanted.items():
        free = [name for name in columns if name not in found.values()]
        column = given if part == "label" and given else pick(free, names)
        if column is None:
            return {}
        found[part] = column
    free = [name for name in columns if name not in found.values()]
    episode = pick(free, ("episode",)) if found["path"].lower() != "episode" else None
    extra = {"split": pick(free, _SPLITS), "group": pick([c for c in free if c != episode], NAMED)}
    return found | {part: c for part, c in (*extra.items(), ("episode", episode)) if c}


def _is_track(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = [line for line in islice(file, 50) if line.strip() and line[0] != "\\"]
    except (OSError, UnicodeDecodeError):
        return False
    return bool(lines) and all(_track_line(line) is not None for line in lines)


def _track_line(line: str) -> tuple[float, float, str] | None:
    cells = line.rstrip("\r\n").split("\t")
    try:
        return float(cells[0]), float(cells[1]), cells[2].strip() if len(cells) > 2 else ""
    except (ValueError, IndexError):
        return None


def read(
    path: Path, source: Any, table: str | Path | None = None, label_column: str | None = None
) -> Marked:
    """Read spans of the recordings or episodes of a source.

    Args:
        path: a table, or a folder of label tracks.
        source: the samples.
        table: the file or folder that the samples were found in.
        label_column: name of the column of labels, where it cannot be guessed.

    Raises:
        UsageError: with the sentence to print.
    """
    wholes = Wholes(source)
    names = Names(wholes, table)
    if form_of(path, label_column) == "tracks":
        return span_set.fitted(wholes, _from_tracks(path, wholes), str(path))
    parts = _columns(path, label_column)
    if not parts or (label_column is not None and parts["label"] != label_column):
        missing = f" '{label_column}'" if label_column else "s path, start, end and label"
        raise UsageError(
            f"{path} has no column{missing}. Columns seen: {', '.join(columns_of(path))}."
        )
    values = dict(zip(parts, read_columns(path, list(parts.values())), strict=True))
    spans: dict[int, list[Span]] = {}
    clock = _by_clock(parts, wholes)
    for row in range(len(values["path"])):
        cells = {part: column[row] for part, column in values.items()}
        number = _found(cells, names, wholes, path, row)
        span = _span(cells, f"{path}, row {row + 1}")
        spans.setdefault(number, []).append(_in_steps(span, wholes, number) if clock else span)
    return span_set.fitted(wholes, spans, str(path))


def _by_clock(parts: Mapping[str, str], wholes: Wholes) -> bool:
    return wholes.scale == "steps" and parts["start"].lower() in _CLOCK


def _found(
    cells: Mapping[str, Any], names: Names, wholes: Wholes, path: Path, row: int
) -> int:  # fmt: skip
    """Return which recording or episode a row is of."""
    word, episode = word_of(cells["path"]), word_of(cells.get("episode"))
    for said in (word, f"{word}#{episode}") if episode else (word,):
        found = names.find(said, path.parent)
        if len(found) == 1:
            return found[0]
    several = [name for name in names.full if name.startswith(f"{word}#")]
    more = f" It has {len(several):,} episodes: say which, such as {several[0]}." if several else ""
    raise UsageError(
        f"{path}, row {row + 1}: '{word}' is none of the {len(wholes):,} "
        f"{'episodes' if wholes.scale == 'steps' else 'recordings'}"
        f"{nearest(word, list(names.full))}{more or ' They are named like ' + wholes.name(0) + '.'}"
    )


def _span(cells: Mapping[str, Any], where: str) -> Span:
    begin = _number(cells["start"], -math.inf, where, "start")
    end = _number(cells["end"], math.inf, where, "end")
    if end < begin:
        raise UsageError(f"{where}: it ends at {end:g}, before it begins at {begin:g}.")
    label = word_of(cells["label"])
    known = label != "?" and known_words([label])[0]
    return Span(begin, end, label if known else "", where, word_of(cells.get("group")),
                word_of(cells.get("split")))  # fmt: skip


def _number(cell: Any, empty: float, where: str, name: str) -> float:
    word = word_of(cell)
    if not word:
        return empty
    try:
        found = float(word)
    except ValueError:
        found = math.nan
    if math.isnan(found):
        raise UsageError(f"{where}: its {name} is '{word}', which is no number.")
    return found


def _in_steps(span: Span, wholes: Wholes, number: int) -> Span:
    """Return a span of a log's own time as one of steps."""
    times = _times(wholes, number)
    edges = [value if math.isinf(value) else float(np.searchsorted(times, value - 1e-9))
             for value in (span.begin, span.end)]  # fmt: skip
    if np.isfinite(span.end) and span.end > times[-1] + 1.5 * np.median(np.diff(times)):
        raise UsageError(
            f"{span.where}: it ends at {span.end:g}, but {wholes.name(number)} ends at "
            f"{times[-1]:g}."
        )
    return Span(edges[0], edges[1], span.label, span.where, span.group, span.split)


def _times(wholes: Wholes, number: int) -> Any:
    source = wholes.source
    column = next((name for name in source.columns() if role(name) == "time"), None)
    if column is None:
        raise UsageError(
            f"Times of spans are in columns start_time and end_time, but {wholes.name(number)} has "
            "no column of time. Give steps in columns start and end."
        )
    parts = [source.values(index, column) for index, _ in wholes.all[number].parts]
    times = np.concatenate(parts).astype(np.float64)
    if len(times) < 2 or not (np.diff(times) >= 0).all():
        raise UsageError(
            f"Column '{column}' of {wholes.name(number)} does not rise, so times of spans cannot "
            "be found in it. Give steps in columns start and end."
        )
    return times


def _from_tracks(path: Path, wholes: Wholes) -> dict[int, list[Span]]:
    """Read the tracks of a folder, each by the name of its recording."""
    stems = {
        name.rpartition(".")[0]: i for i, name in enumerate(map(wholes.name, range(len(wholes))))
    }
    spans: dict[int, list[Span]] = {}
    for file in sorted(path.rglob("*.txt")):
        if not _is_track(file):
            continue
        stem = file.relative_to(path).with_suffix("").as_posix()
        if stem not in stems:
            raise UsageError(
                f"{file}: no recording is called {stem}{nearest(stem, list(stems))} "
                f"They are named like {wholes.name(0)}."
            )
        for line, text in enumerate(file.read_text("utf-8-sig").splitlines(), 1):
            cells = _track_line(text)
            if cells is not None:
                named = {"start": cells[0], "end": cells[1], "label": cells[2]}
                spans.setdefault(stems[stem], []).append(_span(named, f"{file}, line {line}"))
    return spans


def from_column(source: Any, column: str | None) -> Marked:
    """Read the labels of steps from a column of logs; empty cells say nothing.

    Raises:
        UsageError: there is no such column, or it says nothing.
    """
    name = column_of_logs(source, column, _LABELS)
    if name is None:
        raise UsageError(
            "The logs have no column named label. Name the one that labels steps with "
            f"--label-column NAME. Columns: {', '.join(source.columns())}."
        )
    wholes = Wholes(source)
    spans: dict[int, list[Span]] = {}
    for number, whole in enumerate(wholes.all):
        try:
            cells = np.concatenate([source.values(index, name) for index, _ in whole.parts])
        except DataError:
            continue
        words = [word_of(value) for value in cells.tolist()]
        known = known_words(words)
        edges = [0, *(i for i in range(1, len(words)) if words[i] != words[i - 1]), len(words)]
        spans[number] = [
            Span(float(a), float(b), words[a] if known[a] else "", f"{whole.name}, step {a}")
            for a, b in pairwise(edges)
        ]
    return span_set.fitted(wholes, spans, f"column '{name}'")
