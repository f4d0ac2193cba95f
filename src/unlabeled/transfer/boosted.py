"""Gradient boosting of trees on plain features: what people use who train no network."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.transfer.material import Known
from unlabeled.transfer.readings import Frozen, Outcome, validated

LEAVES = (1, 5, 20)
"""Fewest samples in a leaf: scikit-learn's 20 makes no split at all of a handful of labels."""


class Boosted:
    """Histogram gradient boosting on all dense plain features side by side.

    Args:
        known: the samples.
        plain: name -> plain features; sparse ones are left out.
        trees: rounds of boosting.
    """

    def __init__(self, known: Known, plain: Mapping[str, Frozen], trees: int = 100) -> None:
        self.known, self.plain, self.trees = known, plain, trees

    def __call__(self, rows: NDArray[np.int64], count: int, draw: int) -> Outcome:
        """Fit trees; the validation part says how small their leaves may be."""
        train, test = self._features()
        asked = [train[self.known.validation], test]
        leaves = [leaf for leaf in LEAVES if 2 * leaf <= len(rows)] or [LEAVES[0]]
        found = {leaf: self._fit(train[rows], rows, asked, leaf, draw) for leaf in leaves}
        best = max(found, key=lambda leaf: validated(self.known, found[leaf][0]))
        validation, guess = found[best]
        return Outcome(validation, guess, {"leaf": best, "trees": self.trees})

    def _features(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        parts = [part.features for part in self.plain.values()]
        dense = [part for part in parts if isinstance(part.train, np.ndarray)]
        return np.hstack([p.train for p in dense]), np.hstack([p.test for p in dense])

    def _fit(
        self,
        x: NDArray[np.float32],
        rows: NDArray[np.int64],
        asked: list[NDArray[np.float32]],
        leaf: int,
        seed: int,
    ) -> list[NDArray[Any]]:
        aims = self.known.targets
        if self.known.task == "ordinal":
            ranks = self._guess(x, self.known.y[rows].astype(np.float32), asked, leaf, seed)
            last = len(self.known.classes) - 1
            return [np.rint(part).clip(0, last).astype(np.int64) for part in ranks]
        if aims is None:
            return self._guess(x, self.known.y[rows], asked, leaf, seed)
        if aims.ndim == 1:
            return self._guess(x, aims[rows], asked, leaf, seed)
        each = []
        for label in range(aims.shape[1]):
            known = ~np.isnan(aims[rows, label])
            y = (aims[rows, label][known] > 0.5).astype(np.int64)
            each.append(self._guess(x[known], y, asked, leaf, seed))
        return [np.stack(columns, axis=1) for columns in zip(*each, strict=True)]

    def _guess(
        self,
        x: NDArray[np.float32],
        y: NDArray[Any],
        asked: list[NDArray[np.float32]],
        leaf: int,
        seed: int,
    ) -> list[NDArray[Any]]:
        from sklearn import ensemble
        from threadpoolctl import threadpool_limits

        numbers = y.dtype.kind == "f"
        if not numbers and len(np.unique(y)) < 2:
            return [np.full(len(part), y[0] if len(y) else 0) for part in asked]
        kind = "Regressor" if numbers else "Classifier"
        model = getattr(ensemble, f"HistGradientBoosting{kind}")(
            max_iter=self.trees, min_samples_leaf=leaf, early_stopping=False, random_state=seed
        )
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x, y)
            return [model.predict(part).astype(y.dtype) for part in asked]
