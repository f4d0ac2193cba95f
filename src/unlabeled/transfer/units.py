"""What the counts of a label curve count, in words; nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """Words for a number of labels.

    Args:
        axis: heading of counts: ``labels per class``.
        labels: behind a number: ``50 labels a class``.
        short: behind a number of labels: ``with 50 a class``.
    """

    axis: str
    labels: str
    short: str


A_CLASS = Unit("labels per class", "labels a class", "a class")
UNITS = {
    "tagging": Unit("labelled sentences", "labelled sentences", "sentences"),
    "frames": Unit("labelled recordings", "labelled recordings", "recordings"),
    "steps": Unit("labelled episodes", "labelled episodes", "episodes"),
}


def unit_of(task: str | None) -> Unit:
    """Return the unit of a task.

    >>> unit_of("tagging").short, unit_of("single").short
    ('sentences', 'a class')
    """
    return UNITS.get(task or "", A_CLASS)
