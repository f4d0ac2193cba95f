"""Which labels a study uses: counts on a log grid, and balanced draws paired between readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled import rng

GRID = (1, 5, 10, 50, 100, 500)
QUICK_GRID = (1, 10, 100)


@dataclass(frozen=True)
class Row:
    """One score: a reading, a number of labels, a draw.

    Args:
        reading: such as ``knn`` or ``scratch``.
        labels_per_class: labels of each class that were used.
        draw: number of the draw; equal draws hold equal samples in every reading.
        score: by the headline metric, on the test part.
        accuracy: on the test part.
        macro_f1: on the test part.
        validation: score on the validation part, by which choices are made.
        choices: hyper-parameters chosen without the test part.
        seconds: what it took.
        labelled: hash of the samples that it depends on; see `Material.told`.
        mae: mean absolute error on the test part, of grades or numbers.
    """

    reading: str
    labels_per_class: int
    draw: int
    score: float
    accuracy: float | None
    macro_f1: float | None
    validation: float
    choices: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    labelled: str = ""
    mae: float | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        """Return what identifies the row."""
        return self.reading, self.labels_per_class, self.draw


def grid(smallest: int, wanted: Sequence[int] | None = None, quick: bool = False) -> list[int]:
    """Return label counts per class, at most what the smallest class has.

    The cap itself is the last count where it is well beyond the one before.

    >>> grid(300)
    [1, 5, 10, 50, 100, 300]
    >>> grid(11), grid(3, [2, 9]), grid(5000)
    ([1, 5, 10], [2, 3], [1, 5, 10, 50, 100, 500])
    """
    counts = sorted(set(wanted or (QUICK_GRID if quick else GRID)))
    fitting = [count for count in counts if count <= smallest]
    if len(fitting) < len(counts) and (not fitting or smallest >= 1.5 * fitting[-1]):
        fitting.append(smallest)
    return fitting


def draw(
    y: NDArray[np.int64],
    rows: NDArray[np.int64],
    count: int,
    number: int,
    seed: int,
    there: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Draw `count` samples of each class; a larger count of one draw holds the smaller.

    Args:
        y: classes of all samples.
        rows: (R,) positions in `y` that may be drawn.
        count: labels per class.
        number: of the draw.
        seed: of the study.
        there: (N,) which samples could be read; others are passed over. None: all.

    Returns:
        Positions in `y`, ordered by class.
    """
    parts = []
    for label in np.unique(y[rows]):
        of_class = rows[y[rows] == label]
        order = rng.generator(rng.mix(seed, number, int(label))).permutation(of_class)
        parts.append((order if there is None else order[there[order]])[:count])
    return np.concatenate(parts)


@dataclass(frozen=True)
class Whole:
    """All samples that labels may be drawn from, whether they were read or not.

    A draw is of all of them, so that it is the same whatever else is drawn.

    Args:
        y: (L,) their classes.
        row: (L,) where they stand among those that were read; -1: not read.
        about: what tells them from others, for a hash.
    """

    y: NDArray[np.int64]
    row: NDArray[np.int64]
    about: tuple[Any, ...] = ()

    def places(self, count: int, number: int, seed: int) -> NDArray[np.int64]:
        """Return which of them a draw holds."""
        return draw(self.y, np.arange(len(self.y)), count, number, seed, self.row >= 0)


def drawn(y: NDArray[np.int64], most: int, draws: int, seed: int) -> NDArray[np.int64]:
    """Return which samples the draws of a study hold, ascending, with some to pass over.

    Args:
        y: (N,) classes of all samples that may be drawn.
        most: largest number of labels per class.
        draws: how many.
        seed: of the study.
    """
    rows = np.arange(len(y))
    wanted = most + most // 20 + 1  # a few cannot be read
    parts = [draw(y, rows, wanted, number, seed) for number in range(draws)]
    return np.unique(np.concatenate(parts))


def hold_out(
    y: NDArray[np.int64], share: float, most: int, seed: int, group: NDArray[np.str_] | None = None
) -> NDArray[np.bool_]:
    """Choose a stratified part, whole groups at a time; never the whole of a class.

    Of each class with two samples or more at least one is held out, as far as groups allow.

    Args:
        y: (N,) classes.
        share: of the samples of a class to hold out.
        most: largest number of samples held out in all.
        seed: any.
        group: (N,) names of groups that stay together; a sample with an empty one stands alone.

    Returns:
        (N,) mask.
    """
    share = min(share, most / max(len(y), 1))
    alone = np.char.add(" ", np.arange(len(y)).astype(np.str_))  # no name begins so
    names = alone if group is None else np.where(group == "", alone, group)
    unique, member = np.unique(names, return_inverse=True)
    order = rng.generator(rng.mix(seed, len(unique))).permutation(len(unique))
    place = np.empty(len(unique), dtype=np.int64)
    place[order] = np.arange(len(unique))
    out, size = np.zeros(len(y), dtype=bool), np.bincount(y)
    for label in np.unique(y):
        mine = np.flatnonzero(y == label)
        target = max(1, round(share * len(mine))) if len(mine) > 1 else 0
        short = target - int(out[mine].sum())
        for number in sorted(set(member[mine][~out[mine]]), key=lambda g: place[g]):
            if short <= 0:
                break
            chosen = member == number
            held = np.bincount(y[out | chosen], minlength=len(size))
            if (held[y[chosen]] >= size[y[chosen]]).any():
                continue
            short -= int((chosen & (y == label)).sum())
            out |= chosen
    return out
