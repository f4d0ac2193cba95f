"""Several runs that differ in their seed alone, judged as one method.

One run says what its encoder is worth; whether the next one would be worth as much is another
question, and the answer needs runs. Readings of pre-trained features are averaged over the runs,
draw by draw, and intervals take in how far runs differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unlabeled.errors import UsageError
from unlabeled.transfer.arms import OURS, name_of
from unlabeled.transfer.material import Material
from unlabeled.transfer.verdict import Evidence

if TYPE_CHECKING:
    from unlabeled.runs import Run

ALIKE = ("data.path", "data.kind", "method", "encoder", "optim", "loop.batch", "loop.accumulate")
"""What runs must share, to be repetitions of one another. Steps follow from the time given, and
the figures by which samples are normalised from the pool that a seed leaves."""


def check(run: Run, others: Sequence[Run]) -> None:
    """Refuse runs that are no repetitions of each other.

    Raises:
        UsageError: a run is there twice, or differs in more than its seed.
    """
    seen = {Path(run.folder).resolve()}
    for other in others:
        place = Path(other.folder).resolve()
        if place in seen:
            raise UsageError(f"{other.folder} is there twice. Name each run once.")
        seen.add(place)
        for name in ALIKE:
            mine, theirs = _option(run, name), _option(other, name)
            if mine != theirs:
                what = _differing(name, mine, theirs)
                raise UsageError(
                    f"{other.folder} is no other seed of {run.folder}: {what} differs. Repeat the "
                    f"run: unlabeled pretrain DATA --config {run.folder}/config.toml --seed N"
                )


def _option(run: Run, name: str) -> Any:
    value: Any = run.config.model_dump()
    for part in name.split("."):
        value = value[part]
    return value


def _differing(name: str, mine: Any, theirs: Any) -> str:
    """Return the option that differs, to its last part."""
    if not (isinstance(mine, dict) and isinstance(theirs, dict)):
        return name
    keys = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
    return f"{name}.{keys[0]}"


def same_samples(first: Material, other: Material, folder: Path) -> None:
    """Refuse a run that cannot read the samples that the first reads.

    Raises:
        UsageError: with what to do.
    """
    equal = all(
        np.array_equal(getattr(first, part), getattr(other, part))
        for part in ("y", "y_test", "pool", "validation")
    ) and np.array_equal(first.test.indices, other.test.indices)
    if not equal:
        raise UsageError(
            f"{folder} does not read the same labelled samples as the first run. Have the data "
            "changed between the calls? Repeat the call when they are at rest."
        )


def merged(first: Evidence, others: Sequence[Evidence]) -> Evidence:
    """Return evidence in which each pre-trained reading is the mean over runs.

    Args:
        first: of the run that is judged, with its rivals.
        others: of the other runs, with the same draws and the same copies of the test part.
    """
    rows, scores, runs = {}, {}, {}
    for key, row in first.rows.items():
        if key[0] not in OURS:
            rows[key], scores[key] = row, first.scores[key]
        elif all(key in other.rows for other in others):
            all_runs = [first, *others]
            found = np.stack([one.scores[key] for one in all_runs])  # (S, R)
            validation = float(np.mean([one.rows[key].validation for one in all_runs]))
            rows[key] = replace(row, score=float(found[:, 0].mean()), validation=validation)
            scores[key], runs[key] = found.mean(axis=0), found[:, 0]
    return replace(first, rows=rows, scores=scores, runs=runs)


def said(evidence: Evidence, names: Sequence[str], ours: str | None) -> list[str]:
    """Say what each run scored, by the reading that is judged, with the most labels."""
    if ours is None or not evidence.runs:
        return []
    count = max(c for name, c, _ in evidence.runs if name == ours)
    found = [runs for (name, c, _), runs in evidence.runs.items() if (name, c) == (ours, count)]
    each = np.mean(found, axis=0)
    scores = ", ".join(f"{name} {score:.3f}" for name, score in zip(names, each, strict=True))
    return [
        f"{len(names)} pre-training seeds are judged as one; intervals take in how far they "
        f"differ. {name_of(ours)} with {count} {evidence.unit.short}: {scores}."
    ]
