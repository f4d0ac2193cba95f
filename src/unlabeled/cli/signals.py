"""What `evaluate --task forecast`, `anomaly` and `retrieval` say: nothing learns from a label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlabeled.cli import alike, checks, show
from unlabeled.errors import UsageError

TASKS = ("forecast", "anomaly", "retrieval")
USED = (
    "task", "labels", "label_column", "test", "horizons", "normal", "quick", "transductive",
)  # fmt: skip
"""Options of `evaluate` that these tasks read."""


@dataclass(frozen=True)
class Given:
    """What was given to a task, as written on the command line."""

    labels: str | None
    test: str | None
    label_column: str | None
    horizons: str | None
    normal: str | None


def wanted(task: str | None, horizons: str | None, normal: str | None) -> bool:
    """Return whether a task that learns from no label was asked for.

    Raises:
        UsageError: an option of such a task was given without it.
    """
    for name, value, its in (
        ("--horizons", horizons, "forecast"),
        ("--normal", normal, "anomaly"),
    ):
        if value is not None and task != its:
            raise UsageError(f"{name} belongs to --task {its}; give both, or leave it out.")
    return task in TASKS


def judge(
    task: str, folder: Path, given: Given, transductive: bool, quick: bool, seed: int
) -> None:
    """Score a run by a task that learns from no label.

    Raises:
        UsageError: with the sentence to print.
    """
    if task == "forecast":
        if given.labels is not None:
            raise UsageError("--task forecast has no use for --labels; leave it out.")
        steps = None if given.horizons is None else _steps(given.horizons)
        test = None if given.test is None else str(checks.existing(given.test))
        _forecast(
            folder, test=test, horizons=steps, transductive=transductive, quick=quick, seed=seed
        )
        return
    if task == "retrieval":
        labels = checks.labels(given.labels, folder, given.label_column)
        test = None if given.test is None else str(checks.existing(given.test))
        alike.retrieval(
            folder, labels, test=test, label_column=given.label_column,
            transductive=transductive, quick=quick, seed=seed,
        )  # fmt: skip
        return
    if given.labels is not None and given.test is not None:
        raise UsageError(
            "--task anomaly learns from no label, so --labels and --test are the same; give one."
        )
    labels = checks.labels(given.labels or given.test, folder, given.label_column)
    _anomaly(
        folder, labels, label_column=given.label_column, normal=given.normal,
        transductive=transductive, quick=quick, seed=seed,
    )  # fmt: skip


def _steps(text: str) -> list[int]:
    try:
        numbers = sorted({int(word) for word in text.split(",")})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < 1:
        raise UsageError(f"'{text}' are no horizons. Write steps: --horizons 1,8,32.")
    return numbers


def _forecast(folder: Path, **options: Any) -> None:
    if checks.kind_of(folder) not in (None, "series"):
        raise UsageError(
            f"--task forecast is for logs; {folder} is a run of {checks.kind_of(folder)}."
        )
    from unlabeled.runs import Run
    from unlabeled.transfer.forecast_study import FILE, sentences, study

    results = study(Run.open(folder), **options)
    counts = results["windows"]
    show.say(
        f"{counts['test']:,} windows of {results['episodes']} episodes ({results['how']}): "
        f"{results['history']} steps are seen. Errors are of normalised observations."
    )
    ahead = results["horizons"]
    found: dict[str, dict[int, Any]] = {}
    for row in results["rows"]:
        found.setdefault(row["name"], {})[row["horizon"]] = row
    cells = [(name, *(_cell(at[steps]) for steps in ahead)) for name, at in found.items()]
    show.table(("mean squared error, mean absolute error", *(f"{n} ahead" for n in ahead)), cells)
    for line in (*sentences(results), *(f"Note: {note}" for note in results["notes"])):
        show.say(line)
    show.say(f"Kept in {folder / FILE}")
    show.next_commands(
        [
            (f"unlabeled report {folder}", "one page of everything"),
            (f"unlabeled evaluate {folder} --labels FILE", "did it help, with a few labels"),
            (f"unlabeled evaluate {folder} --task anomaly --labels FILE", "what is odd"),
        ]
    )


def _cell(row: dict[str, Any]) -> str:
    return f"{row['mse']:.3f} ({row['low']:.3f} to {row['high']:.3f}), {row['mae']:.3f}"


def _anomaly(folder: Path, labels: str | None, **options: Any) -> None:
    from unlabeled.runs import Run
    from unlabeled.transfer.anomaly_study import FILE, SAMPLES, sentence, study

    results = study(Run.open(folder), labels, **options)
    counts = ", ".join(f"{name} {count:,}" for name, count in results["test"].items())
    show.say(
        f"How unlike {results['pool']:,} samples of the pre-training pool: {counts}; "
        f"'{results['normal']}' is no anomaly."
    )
    cells = [
        (row["features"], row["score"], *(_span(row, n) for n in ("auroc", "precision")))
        for row in results["rows"]
    ]
    show.table(("features", "score", "AUROC (95 % interval)", "average precision"), cells)
    if len(results["classes"]) > 1:
        each = ", ".join(f"{name} {value:.3f}" for name, value in results["classes"].items())
        show.say(f"AUROC of k-NN of features, by class: {each}")
    for line in (sentence(results), *(f"Note: {note}" for note in results["notes"])):
        show.say(line)
    show.say(f"Kept in {folder / FILE}; every sample with its scores in {folder / SAMPLES}")
    show.next_commands(
        [
            (f"unlabeled report {folder}", "one page of everything"),
            (f"unlabeled evaluate {folder} --labels FILE", "what a few labels are enough for"),
            (f"unlabeled embed {folder} DATA", "features for scores of your own"),
        ]
    )


def _span(row: dict[str, Any], name: str) -> str:
    return f"{row[name]:.3f} ({row[f'{name}_low']:.3f} to {row[f'{name}_high']:.3f})"
