"""Run readings over label counts and draws, keep every row, and go on where one was cut off."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.journal import read_lines, write_atomic
from unlabeled.transfer import targets
from unlabeled.transfer.arms import OURS
from unlabeled.transfer.label_curve import Row
from unlabeled.transfer.material import Material
from unlabeled.transfer.metrics import accuracy, macro_f1
from unlabeled.transfer.pace import Teller
from unlabeled.transfer.readings import Outcome, Reading, Trained
from unlabeled.transfer.units import unit_of

ROWS, GUESSES, EARLIER, SURE = "rows.jsonl", "guesses", "earlier", ".sure"


class Store:
    """Rows on disk, with their test predictions, so that an interrupted study continues.

    Args:
        folder: where they are kept.
        key: what the rows depend on; rows of another key are put aside, in a folder of their
            own, and taken up again by the study that they belong to.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.rows: dict[tuple[str, int, int], Row] = {}
        self.guesses: dict[tuple[str, int, int], NDArray[Any]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        lines = read_lines(folder / ROWS)
        if lines and lines[0].get("key") != key:
            _move(folder, folder / EARLIER / str(lines[0].get("key"))[:16])
            _move(folder / EARLIER / key[:16], folder)
            lines = read_lines(folder / ROWS)
        (folder / GUESSES).mkdir(exist_ok=True)
        if not lines or lines[0].get("key") != key:
            write_atomic(folder / ROWS, json.dumps({"key": key}) + "\n")
            lines = []
        for line in lines[1:]:
            row = Row(**line)
            path = self._path(row.key)
            if path.is_file():
                self.rows[row.key] = row
                guess = np.load(path, allow_pickle=False)
                self.guesses[row.key] = guess if guess.dtype.kind == "f" else guess.astype(np.int64)

    @classmethod
    def opened(cls, folder: Path) -> Store:
        """Return the rows that a folder holds, whatever they depend on."""
        lines = read_lines(folder / ROWS)
        return cls(folder, str(lines[0].get("key")) if lines else "")

    def _path(self, key: tuple[str, int, int]) -> Path:
        return self.folder / GUESSES / f"{key[0]}-{key[1]}-{key[2]}.npy"

    def sure(self, key: tuple[str, int, int]) -> NDArray[np.floating] | None:
        """Return how sure the predictions of a row are; None where that was not kept."""
        path = self._path(key).with_suffix(SURE)
        return np.load(path, allow_pickle=False) if path.is_file() else None

    def add(self, row: Row, guess: NDArray[Any], sure: NDArray[np.floating] | None = None) -> None:
        """Keep a row; the predictions, and how sure they are, are written first."""
        path = self._path(row.key).with_suffix(SURE)
        path.unlink(missing_ok=True)
        if sure is not None:
            with path.open("wb") as file:
                np.save(file, sure.astype(np.float32), allow_pickle=False)
        small = np.float32 if guess.dtype.kind == "f" else np.int32
        np.save(self._path(row.key), guess.astype(small), allow_pickle=False)
        with (self.folder / ROWS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows[row.key], self.guesses[row.key] = row, guess

    def forget(self, key: tuple[str, int, int]) -> None:
        """Leave a row out; it stays on disk until one of its place is added."""
        del self.rows[key], self.guesses[key]


def _move(here: Path, there: Path) -> None:
    """Move the rows of a study and their guesses, where there are any."""
    if not (here / ROWS).is_file():
        return
    shutil.rmtree(there / GUESSES, ignore_errors=True)
    there.mkdir(parents=True, exist_ok=True)
    for part in (GUESSES, ROWS):
        if (here / part).exists():
            (here / part).replace(there / part)
    if not any(here.iterdir()):
        here.rmdir()


@dataclass
class Study:
    """Which readings are made with which labels.

    Args:
        material: the samples.
        readings: name -> reading.
        counts: labels per class, ascending.
        draws: draws of each count.
        seed: of the draws.
        metric: the headline metric.
        store: where rows are kept.
        minutes: time after which no further network is trained; None is no limit.
        teller: told of what will be made and of each new row.
        pace: seconds a step of the arms that train, as far as timed.
    """

    material: Material
    readings: Mapping[str, Reading]
    counts: Sequence[int]
    draws: int
    seed: int
    metric: str
    store: Store
    minutes: float | None = None
    teller: Teller = field(default_factory=Teller)
    pace: dict[str, float] = field(default_factory=dict)

    def run(self) -> list[str]:
        """Make all rows that are missing; return what was left out for lack of time.

        The first draw of what is frozen, and the first training of each arm, come before the
        rest, so that what the rest costs is known soon.
        """
        started = time.monotonic()
        frozen = [n for n, r in self.readings.items() if not isinstance(r, Trained)]
        self._verify()
        self._recall()
        self.teller.begin(self)
        self._read(frozen, self._places()[: len(self.counts)])
        self._train(started, self._places()[:1])
        self.teller.timed(self)
        self._read(frozen, self._places())
        return self._train(started, self._places())

    @property
    def total(self) -> int:
        """Return how many rows there will be."""
        return len(self.readings) * len(self.counts) * self.draws

    def missing(self, name: str) -> list[tuple[int, int]]:
        """Return the (count, draw) that a reading lacks."""
        return [place for place in self._places() if (name, *place) not in self.store.rows]

    def num_labels(self, count: int, draw: int) -> int:
        """Return how many samples have a label."""
        return len(self._labelled(count, draw))

    def _read(self, names: Sequence[str], places: Sequence[tuple[int, int]]) -> None:
        for name in names:
            for count, draw in places:
                self._row(name, count, draw)

    def _places(self) -> list[tuple[int, int]]:
        """Return every count of the first draw, then of the second: any prefix is a study."""
        return [(count, draw) for draw in range(self.draws) for count in self.counts]

    def _train(self, started: float, places: Sequence[tuple[int, int]]) -> list[str]:
        trained = {n: r for n, r in self.readings.items() if isinstance(r, Trained)}
        pace = self.pace
        left_out: dict[tuple[str, int], int] = {}
        for name, (count, draw) in self._order(list(trained), places):
            if (name, count, draw) in self.store.rows:
                continue
            rows, reading = self._labelled(count, draw), trained[name]
            expected = reading.steps(count, len(rows)) * pace.get(name, 0.0)
            spent = time.monotonic() - started
            if self.minutes is not None and spent + expected > 60 * self.minutes:
                left_out[name, count] = left_out.get((name, count), 0) + 1
                continue
            before, steps = time.monotonic(), reading.steps(count, len(rows))
            self._row(name, count, draw)
            pace[name] = (time.monotonic() - before) / steps
        unit = unit_of(self.material.task).labels
        return [
            f"{name} at {count} {unit}: {self.draws - missing} of {self.draws} draws, "
            f"for the time limit of {self.minutes:g} minutes."
            for (name, count), missing in left_out.items()
        ]

    def _order(
        self, names: list[str], places: Sequence[tuple[int, int]]
    ) -> list[tuple[str, tuple[int, int]]]:
        """Return the trainings in order: draw by draw, so that any prefix is a study.

        Under a time limit rivals come first. Ours that need no training are judged beside them,
        and with too few draws of a rival nothing can be told.
        """
        paired = [(name, place) for place in places for name in names]
        judged = any(n in OURS for n, r in self.readings.items() if not isinstance(r, Trained))
        if self.minutes is None or not judged:
            return paired
        return sorted(paired, key=lambda one: one[0] in OURS)

    def _recall(self) -> None:
        """Hand earlier choices back to the networks that are trained."""
        for name, reading in self.readings.items():
            for count, draw in self._places():
                row = self.store.rows.get((name, count, draw))
                if row is not None and isinstance(reading, Trained):
                    reading.recall(count, self.num_labels(count, draw), row.choices)

    def _verify(self) -> None:
        """Leave out kept rows whose samples are no longer those of their draw."""
        for name in self.readings:
            for place in self._places():
                row = self.store.rows.get((name, *place))
                if row is not None and row.labelled != self._told(name, *place):
                    self.store.forget(row.key)

    def _labelled(self, count: int, draw: int) -> NDArray[np.int64]:
        return self.material.drawn(count, draw, self.seed)

    def _told(self, name: str, count: int, draw: int) -> str:
        return self.material.told(name, count, draw, self.seed)

    def _row(self, name: str, count: int, draw: int) -> None:
        if (name, count, draw) in self.store.rows:
            return
        before = time.monotonic()
        found = self.readings[name](self._labelled(count, draw), count, draw)
        row = self._score(name, count, draw, found, time.monotonic() - before)
        row = replace(row, labelled=self._told(name, count, draw))
        self.store.add(row, found.test, found.sure)
        self.teller.row(self, row)

    def _score(self, name: str, count: int, draw: int, found: Outcome, seconds: float) -> Row:
        material = self.material
        if self.metric in targets.METRICS.values():
            return self._score_targets(name, count, draw, found, seconds)
        num_classes, truth = len(material.classes), material.y_test
        expected = material.expected
        both = {
            "accuracy": accuracy(found.test, truth),
            "macro_f1": macro_f1(found.test, truth, num_classes),
        }
        if self.metric == "accuracy":
            validation = accuracy(found.validation, expected)
        else:
            validation = macro_f1(found.validation, expected, num_classes)
        choices: dict[str, Any] = found.choices
        score = both[self.metric]
        return Row(
            name, count, draw, score, both["accuracy"], both["macro_f1"], validation, choices,
            round(seconds, 3),
        )  # fmt: skip

    def _score_targets(
        self, name: str, count: int, draw: int, found: Outcome, seconds: float
    ) -> Row:
        material = self.material
        score = targets.score(found.test, material.truth, self.metric)
        classes, numbers = material.task == "ordinal", material.task in ("ordinal", "regression")
        return Row(
            name,
            count,
            draw,
            score,
            accuracy=accuracy(found.test, material.truth) if classes else None,
            macro_f1=None,
            validation=targets.score(found.validation, material.expected, self.metric),
            choices=found.choices,
            seconds=round(seconds, 3),
            mae=targets.mean_error(found.test, material.truth) if numbers else None,
        )
