"""Runs of one method in the order of their loss on the same held-out text.

Losses of two methods, of two tokenizers or of two temperatures are numbers of different things, so
runs that differ in more than network, recipe and length are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unlabeled.errors import UsageError
from unlabeled.journal import Journal
from unlabeled.runs import Run

ALIKE = {
    "method": "method",
    "modality": "what a row of text is",
    "data": "data",
    "loop.seed": "seed, which decides what is held out",
}
"""What must be equal for losses to be of the same thing."""


def ranked(folders: Sequence[Path]) -> list[tuple[Path, int, float]]:
    """Return folder, steps taken and held-out loss in nats a scored token, the lowest first.

    Raises:
        UsageError: fewer than two runs, runs whose losses mean different things, or a run whose
            method keeps no loss on held-out samples.
    """
    if len(folders) < 2:
        raise UsageError("--no-labels compares several runs: unlabeled compare RUN RUN --no-labels")
    runs = [Run.open(folder) for folder in folders]
    for run in runs[1:]:
        for name, what in ALIKE.items():
            if _option(run, name) != _option(runs[0], name):
                raise UsageError(
                    f"{runs[0].folder} and {run.folder} differ in {name} ({what}), so their losses "
                    "are of different things. Without labels only runs of one method on the same "
                    "data can be compared; nothing else was shown to agree with labels "
                    "(docs/results.md, Measures without labels). Evaluate both with labels."
                )
    found = [(run.folder, *_last(run)) for run in runs]
    return sorted(found, key=lambda row: row[2])


def _option(run: Run, name: str) -> Any:
    value: Any = run.config.model_dump()
    for part in name.split("."):
        value = value[part]
    return value


def _last(run: Run) -> tuple[int, float]:
    """Return the last look of a run at its held-out samples: the step, and the loss."""
    lines = Journal(run.folder / "health.jsonl").lines()
    looks = [(int(line["step"]), float(line["held_out"])) for line in lines if "held_out" in line]
    if not looks:
        raise UsageError(
            f"{run.folder} ({run.config.method['name']}) keeps no loss on held-out samples; "
            "methods that guess tokens of text do. Evaluate it with labels."
        )
    return looks[-1]
