"""What may be tagged, words or moments, and how a person says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unlabeled import kinds
from unlabeled.data import spans, tags
from unlabeled.errors import UsageError
from unlabeled.kinds import strings
from unlabeled.transfer import tag_frames
from unlabeled.transfer.tag_frames import FRAMES, STEPS, Moments
from unlabeled.transfer.tag_rows import TagRows
from unlabeled.transfer.tag_words import Words

if TYPE_CHECKING:
    from unlabeled.runs import Run

TASK = "tagging"
TASKS = (TASK, FRAMES, STEPS)
"""What the material of a study may be called: tags of words, of frames, of steps."""


class Form(Protocol):
    """What differs between tags of words and labels of moments: `Words`, `Moments`."""

    task: str
    item: str
    owner: str
    fewest: int
    grid: tuple[int, ...]
    quick_grid: tuple[int, ...]
    most_validation: int
    most_test: int
    most_test_quick: int
    keep: bool

    def read(self, labels: str | Path | None, label_column: str | None) -> Any:
        """Return what is labelled: `Tagged` or `Marked`."""

    def rows(self, part: Any) -> TagRows:
        """Return it as an encoder takes it."""

    def sizes(self, part: Any) -> NDArray[np.float64] | None:
        """Return how many items each about has, where that may be very many."""

    def held_out(self, found: Any) -> NDArray[np.bool_] | None:
        """Return what pre-training kept out, where that is asked."""

    def seen(self, tested: Any, seed: int) -> tuple[int, str]:
        """Count what of the test part was pre-trained on, and say so."""

    def apart(self, rest: Any, tested: Any) -> tuple[Any, list[str]]:
        """Leave out of training what has a part or a group in the test part, and say so."""

    def said(self, found: Any) -> list[str]:
        """Say how labels were read, and what is counted and scored."""

    def left_out(self, found: Any) -> list[str]:
        """Say what of the labels was left out, and what they cover."""


def form_of(run: Run, runs: Sequence[Run] = ()) -> Form:
    """Return how labels of a run's kind of data are read; `runs` are judged together."""
    return Words(run) if strings(run.config.data.kind) else Moments(run, runs)


def asked(
    labels: str | Path | None, data: str, kind: str, task: str | None, column: str | None = None
) -> bool:
    """Say whether labels are tags of words or of moments: by what was asked, else by their form.

    Raises:
        UsageError: tagging was asked for, but the data or the labels have no such form.
    """
    if task not in (None, TASK):
        return False
    path = tags.place(labels, data)
    if strings(kind):
        found = path is not None and tags.form_of(path) is not None
    else:
        found = tag_frames.holds(tag_frames.place(labels), kind, column)
    if task == TASK and not found:
        if kinds.rows(kind) and (path is None or path.exists()):
            return True  # a column of the logs
        if strings(kind):
            what, forms, reason = "tagged words", tags.FORMS, f"{path or labels} holds none"
        else:
            what, forms, reason = "labelled stretches of time", spans.FORMS, f"{labels} holds none"
            if labels is None:
                reason = "none were given with --labels"
        if not strings(kind) and kind != "audio" and not kinds.rows(kind):
            reason = f"these data are {kind}"
            what, forms = "words, recordings or logs", f"{tags.FORMS}; {spans.FORMS}"
        raise UsageError(f"--task tagging needs {what}, and {reason}. Forms: {forms}.")
    return found
