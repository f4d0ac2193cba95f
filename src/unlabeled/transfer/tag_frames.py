"""Tagging of time: frames of recordings and steps of logs, read at the tokens of the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled import kinds
from unlabeled.data import spans, tags
from unlabeled.data.find import find
from unlabeled.data.marks import Marked
from unlabeled.errors import DataError
from unlabeled.transfer.frame_clock import Clock, clock_of
from unlabeled.transfer.frame_rows import FrameRows
from unlabeled.transfer.trained_on import held_out_indices, pool_indices

if TYPE_CHECKING:
    from unlabeled.runs import Run

FRAMES, STEPS = "frames", "steps"


class Moments:
    """Recordings or episodes of logs in which stretches of time have labels.

    Args:
        run: the run that is judged.
        runs: all that are judged together, which get one split; empty: `run` alone.
    """

    fewest = 4
    grid: tuple[int, ...]
    quick_grid: tuple[int, ...]
    grid, quick_grid = (1, 3, 10, 30, 100), (3, 30)
    most_validation, most_test, most_test_quick = 100, 300, 100
    keep = True

    def __init__(self, run: Run, runs: Sequence[Run] = ()) -> None:
        self.run, self.runs = run, runs or (run,)
        rows = kinds.rows(run.config.data.kind)
        self.task, self.item = (STEPS, "tokens of steps") if rows else (FRAMES, "frames")
        self.owner = "episode" if rows else "recording"

    @cached_property
    def modality(self) -> Any:
        """Return what reads whole recordings: soft ends are not cut off, for they have labels."""
        found: Any = self.run.modality()
        if getattr(found.config, "trim", 0.0):
            found = type(found)(found.config.model_copy(update={"trim": 0.0}), self.run.folder)
        return found

    @cached_property
    def clock(self) -> Clock:
        """Return when the tokens of the run's encoder are."""
        return clock_of(self.run.encoder(), self.modality)

    def read(self, labels: str | Path | None, label_column: str | None) -> Marked:
        """Read labelled stretches; None, or ``column:NAME``: a column of the run's own logs."""
        data = self.run.config.data
        if labels is None or str(labels).startswith("column:"):
            named = None if labels is None else str(labels).removeprefix("column:")
            return spans.from_column(self.run.source(), named or label_column)
        path = Path(labels).expanduser()
        if spans.form_of(path, label_column) is None:
            found = find(str(path), data.kind, data.column, data.window)
            return spans.from_column(found, label_column)
        own = spans.own_folder(path, data.path, label_column)
        if own is not None:
            found = find(str(own), data.kind, window=data.window)
            return spans.read(path, found, own, label_column)
        return spans.read(path, self.run.source(), data.path, label_column)

    def rows(self, part: Marked) -> FrameRows:
        """Return recordings or episodes as an encoder takes them.

        Raises:
            DataError: none can be read.
        """
        found = FrameRows(part, self.modality, self.clock)
        if not len(found.labels):
            first = f" (first: {found.bad[0][0]}: {found.bad[0][1]})" if found.bad else ""
            raise DataError(f"No labelled {self.owner} can be read{first}.")
        return found

    def sizes(self, part: Marked) -> NDArray[np.float64]:
        """Return how many tokens each recording or episode has."""
        return part.lengths / self.clock.step

    def held_out(self, found: Marked) -> NDArray[np.bool_] | None:
        """Return which all runs wholly kept out of pre-training; None where that is not known."""
        if found.source.fingerprint != self.run.source().fingerprint:
            return None
        held = set.intersection(*(set(held_out_indices(one).tolist()) for one in self.runs))
        return np.array([all(i in held for i, _ in one.parts) for one in found.wholes], dtype=bool)

    def seen(self, tested: Marked, seed: int) -> tuple[int, str]:
        """Count test recordings or episodes of which any run was pre-trained on something."""
        if tested.source.fingerprint != self.run.source().fingerprint:
            return 0, ""
        pool = set.union(*(set(pool_indices(one).tolist()) for one in self.runs))
        count = sum(any(i in pool for i, _ in one.parts) for one in tested.wholes)
        return count, (
            f"{count:,} of {len(tested):,} test {self.owner}s were pre-trained on (transductive: "
            "they were seen, their labels were not)."
        )

    def apart(self, rest: Marked, tested: Marked) -> tuple[Marked, list[str]]:
        """Leave out of training what is tested too, and what is of a group that is tested."""
        torn = np.zeros(len(rest), dtype=bool)
        if rest.source.fingerprint == tested.source.fingerprint:
            there = {whole.parts for whole in tested.wholes}
            torn |= np.array([whole.parts in there for whole in rest.wholes], dtype=bool)
        if rest.group is not None and tested.group is not None:
            torn |= np.isin(rest.group, tested.group[tested.group != ""])
        if not torn.any():
            return rest, []
        said = f"{int(torn.sum()):,} labelled {self.owner}s are tested, or of a group that is, and "
        return rest.take(~torn), [said + "were left out of training and validation."]

    def said(self, found: Marked) -> list[str]:
        """Say how labels were read."""
        clock = self.clock
        step = (
            f"{1000 * clock.step:g} ms, and has the label of its middle"
            if self.task == FRAMES
            else f"{clock.stack} steps, and has the label that most of them have"
        )
        return [
            f"Labels were read as those of {self.item}: a token of the encoder is {step}. Counts "
            f"are labelled {self.owner}s in all; splits, validation and intervals go by whole "
            f"{self.owner}s{', of one group together' if found.group is not None else ''}.",
            *self.left_out(found),
        ]

    def left_out(self, found: Marked) -> list[str]:
        """Say what the labels cover, and what cannot be read."""
        if not found.skipped:
            return list(found.said)
        return [*found.said, f"Left out: {len(found.skipped)} (first: {found.skipped[0]})."]


def holds(path: Path | None, kind: str, label_column: str | None = None) -> bool:
    """Say whether a file or folder holds labelled stretches of such data."""
    return spans.timed(kind) and path is not None and spans.form_of(path, label_column) is not None


def place(labels: str | Path | None) -> Path | None:
    """Return the file or folder that labels were given as, if they were."""
    return None if labels is None else tags.place(labels, "")
