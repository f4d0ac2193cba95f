"""Ridge regression for many penalties at once, from one decomposition."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Matrix = NDArray[np.float64]
PENALTIES = tuple(10.0 ** np.arange(-5, 4))
_LEAST = 1e-9


class _Parts(NamedTuple):
    """What all penalties share: X = U S V^T, or its squares, whichever is smaller."""

    values: Matrix
    basis: Matrix
    told: Matrix


class Ridge:
    """Linear regression whose weights are kept small; the intercept is not.

    Minimises ``|Y - X w - b|^2 / N + penalty |w|^2`` with the columns of X standardised; those
    that are constant are left out.

    Args:
        x: (N, D) inputs.
        y: (N, K) targets.
    """

    def __init__(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> None:
        x = np.asarray(x, np.float64)
        self.mean, self.offset = x.mean(0), np.asarray(y, np.float64).mean(0)
        spread = x.std(0)
        self.kept = spread > _LEAST * np.maximum(1, np.abs(self.mean))
        self.spread = spread[self.kept]
        self.x, self.y = self._scaled(x), np.asarray(y, np.float64) - self.offset

    def _scaled(self, x: NDArray[np.floating]) -> Matrix:
        found: Matrix = (np.asarray(x, np.float64) - self.mean)[:, self.kept] / self.spread
        return found

    @cached_property
    def _parts(self) -> _Parts:
        wide = self.x.shape[1] > self.x.shape[0]
        with threadpool_limits(1):
            values, basis = np.linalg.eigh(self.x @ self.x.T if wide else self.x.T @ self.x)
            told = basis.T @ (self.y if wide else self.x.T @ self.y)
            # Either way the answer is asked @ basis @ (told / (values + N penalty)).
            return _Parts(np.maximum(values, 0), self.x.T @ basis if wide else basis, told)

    def guess(self, asked: NDArray[np.floating], penalty: float) -> Matrix:
        """Return what is predicted with a penalty > 0, (M, D) -> (M, K)."""
        values, basis, told = self._parts
        with threadpool_limits(1):
            weights = basis @ (told / (values + len(self.x) * penalty)[:, None])
            found: Matrix = self._scaled(asked) @ weights + self.offset
        return found
