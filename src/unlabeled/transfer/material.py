"""What a study works on: samples, their labels, and which of them are drawn, checked and tested."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unlabeled.transfer.arms import TOGETHER
from unlabeled.transfer.features import Inputs
from unlabeled.transfer.label_curve import Whole, draw


class Known(Protocol):
    """What a reading may see; the classes of the test part are not among it."""

    train: Inputs
    y: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: Inputs
    classes: list[str]
    targets: NDArray[np.float32] | None
    task: str

    @property
    def steady(self) -> NDArray[np.int64]:
        """Return the labelled samples by which features are scaled."""
        ...


@dataclass
class Material:
    """All that a study works on; every reading sees the same.

    Args:
        train: samples that may be drawn or validated on, and some whose labels nobody reads.
        y: (N,) their classes.
        pool: (P,) rows of `train` that labels are drawn from.
        validation: (V,) rows of `train` on which choices are made.
        test: samples that scores are counted on.
        y_test: (M,) their classes.
        group: (M,) groups of the test samples, if known.
        classes: names.
        record: how the split was made, for results.json.
        notes: what a sceptic should know.
        targets: (N, K) or (N,), where a sample has several labels or a number.
        targets_test: the same of the test part.
        task: ``single``, ``multi``, ``ordinal`` or ``regression``.
        group_train: (N,) groups of the samples of `train`, if known.
        whole: what labels are drawn from, of which `pool` was read; None: `pool` itself.
        base: (S,) rows of `train` that are there whatever is drawn; None: all.
    """

    train: Inputs
    y: NDArray[np.int64]
    pool: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: Inputs
    y_test: NDArray[np.int64]
    group: NDArray[np.str_] | None
    classes: list[str]
    record: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    targets: NDArray[np.float32] | None = None
    targets_test: NDArray[np.float32] | None = None
    task: str = "single"
    group_train: NDArray[np.str_] | None = None
    whole: Whole | None = None
    base: NDArray[np.int64] | None = None

    @property
    def truth(self) -> NDArray[Any]:
        """Return what test guesses are compared with."""
        return self.y_test if self.targets_test is None else self.targets_test

    @property
    def expected(self) -> NDArray[Any]:
        """Return what validation guesses are compared with."""
        return (self.y if self.targets is None else self.targets)[self.validation]

    @property
    def class_sizes(self) -> list[int]:
        """Return how many samples of each class labels are drawn from, of those with any."""
        y = self.y[self.pool] if self.whole is None else self.whole.y
        found = np.bincount(y)
        return [int(size) for size in found[found > 0]]

    @property
    def steady(self) -> NDArray[np.int64]:
        """Return rows of `train` by which features are scaled, without their labels."""
        return np.arange(len(self.y)) if self.base is None else self.base

    def drawn(self, count: int, number: int, seed: int) -> NDArray[np.int64]:
        """Return the rows of `train` that a draw holds."""
        if self.whole is None:
            return draw(self.y, self.pool, count, number, seed)
        return self.whole.row[self.whole.places(count, number, seed)]

    def told(self, reading: str, count: int, number: int, seed: int) -> str:
        """Return a hash of the samples by which a row of a study differs from others."""
        digest = hashlib.sha256()
        if self.whole is not None:
            parts: list[NDArray[Any]] = [self.whole.places(count, number, seed)]
            parts += [self.whole.row >= 0] if reading in TOGETHER else []
            for part in parts:
                digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]
