"""What a study costs, said before most of it is made and while it runs, from rows that were timed.

Rows of frozen features cost little after the first of an arm, which computes the features; rows
that train a network cost their steps, and the first of a label count searches too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from unlabeled import duration
from unlabeled.transfer.arms import name_of
from unlabeled.transfer.readings import Trained
from unlabeled.transfer.units import unit_of

if TYPE_CHECKING:
    from unlabeled.transfer.label_curve import Row
    from unlabeled.transfer.study import Study

_SLOW, _QUIET = 2.0, 15.0
"""Seconds of a row that is told, and after which one is told anyway."""


def left(study: Study) -> float | None:
    """Return about how many seconds the missing rows will take; None while too little was timed."""
    quick, trained = [], []
    for name, reading in study.readings.items():
        if study.missing(name) and isinstance(reading, Trained):
            trained.append(_of_trained(study, name, reading))
        elif study.missing(name):
            quick.append(_quick(study, name))
    known = [part for part in quick if part is not None]
    if None in trained or (quick and not known):
        return None
    # An arm of which too little is timed costs what the others cost on average.
    rest = (len(quick) - len(known)) * float(np.mean(known)) if known else 0.0
    return sum(known) + rest + sum(part for part in trained if part is not None)


def _quick(study: Study, name: str) -> float | None:
    """Return the seconds of an arm's missing rows: each as the cheapest of the nearest count.

    The first row computes the features, so that one alone says little of the others.
    """
    timed: dict[int, float] = {}
    rows = [row for (arm, _, _), row in study.store.rows.items() if arm == name]
    for row in rows:
        count = row.labels_per_class
        timed[count] = min(timed.get(count, np.inf), row.seconds)
    if len(rows) < min(2, study.draws * len(study.counts)):
        return None
    first = rows[0].labels_per_class
    if len(timed) > 1 and sum(row.labels_per_class == first for row in rows) == 1:
        del timed[first]
    return sum(
        timed[min(timed, key=lambda known: abs(np.log(known / count)))]
        for count, _ in study.missing(name)
    )


def _of_trained(study: Study, name: str, reading: Trained) -> float | None:
    """Return the seconds of the missing trainings, by the pace of steps so far."""
    paces = study.pace or {}
    if not paces:
        return None
    pace = paces.get(name, float(np.mean(list(paces.values()))))
    steps, searched = 0.0, set()
    for count, draw in study.missing(name):
        labels = study.num_labels(count, draw)
        once = min(reading.longest(labels).steps, reading.steps(count, labels))
        steps += once if count in searched else reading.steps(count, labels)
        searched.add(count)
    return steps * pace


class Teller:
    """Says what a study will make, what it costs, and how far it is.

    Args:
        console: where it is said; None says nothing.
        task: of the labels.
    """

    def __init__(self, console: Console | None = None, task: str = "single") -> None:
        self.console, self.task, self._told = console, task, time.monotonic()

    def begin(self, study: Study) -> None:
        """Say which rows will be made."""
        missing = {name: len(study.missing(name)) for name in study.readings}
        trained = [n for n, r in study.readings.items() if isinstance(r, Trained)]
        trainings = sum(missing[name] for name in trained)
        quick = sum(missing.values()) - trainings
        if not trainings + quick:
            return
        there = study.total - trainings - quick
        fits = f" and {trainings:,} trainings ({_names(trained, missing)})" if trainings else ""
        self._say(
            f"Study: {_count(len(study.readings), 'reading')} at "
            f"{_count(len(study.counts), 'number')} of labels, "
            f"{_count(study.draws, 'draw')}: {quick:,} rows without training{fits}"
            + (f"; {there:,} rows are there from before" if there else "")
            + ". Ctrl-C keeps every finished row; the same command goes on."
        )

    def timed(self, study: Study) -> None:
        """Say what the rest will cost, when the first rows of every arm were timed."""
        seconds = left(study)
        if seconds is not None and seconds > _SLOW:
            rest = sum(len(study.missing(name)) for name in study.readings)
            limit = f" (no training after {study.minutes:g} min)" if study.minutes else ""
            self._say(
                f"The {rest:,} rows that are left take about {about(seconds)}, by those timed so "
                f"far{limit}."
            )

    def row(self, study: Study, row: Row) -> None:
        """Tell of a row that took long, or after a while of silence."""
        if row.seconds < _SLOW and time.monotonic() - self._told < _QUIET:
            return
        done = study.total - sum(len(study.missing(name)) for name in study.readings)
        seconds = left(study)
        ahead = f", about {about(seconds)} left" if seconds and done < study.total else ""
        unit = unit_of(self.task).labels
        self._say(
            f"{name_of(row.reading)}, {row.labels_per_class} {unit}, draw {row.draw + 1}: "
            f"{row.score:.3f} ({row.seconds:.0f} s; {done:,} of {study.total:,} rows{ahead})"
        )

    def _say(self, sentence: str) -> None:
        self._told = time.monotonic()
        if self.console is not None:
            self.console.print(sentence, highlight=False)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)


def about(seconds: float) -> str:
    """Write a guess of seconds without more figures than it has.

    >>> about(7.3), about(100), about(2000), about(20000)
    ('7 s', '2 min', '33 min', '5 h 30 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    step = 60 if seconds < 5400 else 1800
    return duration.words(step * max(1, round(seconds / step)))


def _names(trained: list[str], missing: Mapping[str, int]) -> str:
    return ", ".join(f"{missing[name]:,} {name_of(name)}" for name in trained if missing[name])
