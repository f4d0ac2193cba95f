"""Several columns of labels: a study each, in its own form, on features that are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from unlabeled.errors import UsageError
from unlabeled.journal import write_json
from unlabeled.transfer.column_line import line_of, said_of
from unlabeled.transfer.evaluate import evaluate
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
    memory, found = Remembered(), dict[str, Any]()
    places = {run.for_column(name).studies for name in columns}
    if len(places) < len(columns):
        raise UsageError(f"Of {', '.join(columns)} two are one name on disk; rename a column.")
    for name in columns:
        _say(console, f"\nColumn {name}")
        one = replace(run.for_column(name), memory=memory)
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


def _say(console: Console | None, words: str) -> None:
    if console is not None:
        console.print(words, highlight=False)
