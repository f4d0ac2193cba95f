"""Several columns of labels: a study or a classifier each, on features that are computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from unlabeled.errors import UsageError
from unlabeled.journal import read_json, write_json
from unlabeled.transfer.column_line import line_of, said_of
from unlabeled.transfer.evaluate import evaluate
from unlabeled.transfer.finetune import Finetuned, finetune
from unlabeled.transfer.kept import CLASSES, COLUMNS
from unlabeled.transfer.remembered import Remembered

if TYPE_CHECKING:
    from unlabeled.runs import Run

SUMMARY = "columns.json"


def evaluate_columns(
    run: Run,
    labels: str | Path | None,
    columns: Sequence[str],
    *,
    beside: Sequence[Run] = (),
    console: Console | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Study each column by itself; writes ``RUN/evaluate/columns.json``.

    Rows and results of a column lie in ``RUN/evaluate/columns/NAME``. A column that cannot be
    studied is told with its reason, and the others go on.

    Args:
        run: the run that is judged.
        labels: as for `evaluate`.
        columns: at least two names of columns.
        beside: as for `evaluate`.
        console: where tables and a line of each column are printed.
        **options: further ones of `evaluate`.

    Returns:
        For each column what `line_of` says, or its ``problem``.

    Raises:
        UsageError: none of the columns can be studied.
    """
    found: dict[str, Any] = {}
    for one in _apart(run, columns):
        name = one.column
        _say(console, f"\nColumn {name}")
        others = [replace(other.for_column(name), memory=Remembered()) for other in beside]
        try:
            results = evaluate(
                one, labels, label_column=name, beside=others, console=console, **options
            )
            found[name] = line_of(results) | {"folder": one.studies.name}
        except UsageError as error:
            found[name] = {"problem": str(error)}
            _say(console, str(error))
    if all("problem" in part for part in found.values()):
        reasons = " ".join(part["problem"] for part in found.values())
        raise UsageError(f"No column could be studied. {reasons}")
    write_json(run.studies / SUMMARY, {"columns": found})
    _say(console, "\nAll columns")
    for name, part in found.items():
        _say(console, f"{name}: {said_of(part)}")
    return found


def finetune_columns(
    run: Run, labels: str | Path | None, columns: Sequence[str], **options: Any
) -> Iterator[tuple[str, Finetuned | UsageError]]:
    """Train a classifier for each column and save it in ``RUN/finetune/columns/NAME``.

    ``RUN/finetune/classes.json`` names those that are there. A column that cannot be learned
    gives its reason, and the others go on.

    Args:
        run: whose encoder training starts from.
        labels: as for `finetune`.
        columns: at least two names of columns.
        **options: further ones of `finetune`.

    Yields:
        Each column, with its classifier or why there is none.

    Raises:
        UsageError: none of the columns can be learned.
    """
    made, reasons = dict[str, str](), list[str]()
    for one in _apart(run, columns):
        try:
            found = finetune(one, labels, label_column=one.column, **options)
        except UsageError as error:
            reasons.append(str(error))
            yield one.column, error
            continue
        made[one.column] = one.classifier.name
        record = {"task": COLUMNS, "classes": [], "columns": made}
        write_json(run.classifier / CLASSES, record)
        yield one.column, found
    if not made:
        raise UsageError(f"No column could be learned. {' '.join(reasons)}")


def learned(folder: Path) -> list[str]:
    """Return the columns that `finetune_columns` learned in a run folder; none of one classifier.

    Args:
        folder: of the run.
    """
    record = read_json(folder / "finetune" / CLASSES)
    return list(record["columns"]) if record.get("task") == COLUMNS else []


def _apart(run: Run, columns: Sequence[str]) -> list[Run]:
    """Return the run for each column, with a memory of features that they share.

    Raises:
        UsageError: two columns would lie in one folder.
    """
    memory = Remembered()
    found = [replace(run.for_column(name), memory=memory) for name in columns]
    if len({one.studies for one in found}) < len(columns):
        raise UsageError(f"Of {', '.join(columns)} two are one name on disk; rename a column.")
    return found


def _say(console: Console | None, words: str) -> None:
    if console is not None:
        console.print(words, highlight=False)
