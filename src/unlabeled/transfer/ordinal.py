"""Read grades off features: one direction and thresholds on it (cumulative link model).

``P(y <= k | x) = sigmoid(c_k - w x)`` (proportional odds; McCullagh, 1980,
doi:10.1111/j.2517-6161.1980.tb01109.x) with ``|w|^2 penalty / 2``. With two grades it is logistic
regression. The guess is the rounded mean of the distribution, which is what a squared error asks
for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from threadpoolctl import threadpool_limits

from unlabeled.transfer import probe, targets

_NEVER = 1e4
"""Logit of what no labelled sample shows: grades below the lowest, above the highest of them."""

_STEPS, _MOST_INNER, _EXACT = 50, 200, 0.1


@dataclass(frozen=True)
class Link:
    """A fitted cumulative link model of scaled features.

    Args:
        weight: (D,).
        cuts: (K - 1,) ascending: where grade k ends.
        penalty: the L2 penalty chosen.
    """

    weight: NDArray[np.float32]
    cuts: NDArray[np.float32]
    penalty: float

    def above(self, x: Any) -> NDArray[np.float32]:
        """Return the logit of each sample's being above each grade but the last, (N, K - 1)."""
        found: NDArray[np.float32] = (x @ self.weight)[:, None] - self.cuts
        return found

    def predict(self, x: Any) -> NDArray[np.int64]:
        """Return grades of scaled features, (N, D) -> (N,)."""
        return decide(self.above(x))


def decide(above: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return grades from logits of being above each, (N, K - 1) -> (N,): the rounded mean.

    >>> decide(np.array([[-5.0, -9.0], [5.0, -5.0], [9.0, 5.0]])).tolist()
    [0, 1, 2]
    """
    mean: NDArray[np.float64] = expit(above.astype(np.float64)).sum(axis=1)
    return np.rint(mean).astype(np.int64)


def steps_of(y: NDArray[np.int64], num_grades: int) -> NDArray[np.float32]:
    """Return whether each sample is above each grade but the last, (N,) -> (N, K - 1)."""
    return (y[:, None] > np.arange(num_grades - 1)).astype(np.float32)


def fit(
    x: Any, y: NDArray[np.int64], num_grades: int, seed: int = 0,
    penalties: Sequence[float] = probe.PENALTIES,
) -> Link:  # fmt: skip
    """Choose the penalty inside the labelled samples and fit on all of them.

    What is left out decides (`probe.folds`), by the score that grades get: the likelihood alone
    asks for such strong penalties of sparse features that all guesses lie in the middle. Between
    equals the likelier. Where nothing can be left out the probe's default is taken.

    Args:
        x: (N, D) scaled features, dense or sparse.
        y: (N,) grades, those of the labelled samples at least two different ones.
        num_grades: K.
        seed: of the folds.
        penalties: those tried.
    """
    left_out = probe.folds(y, seed)
    ladder = sorted(penalties, reverse=True)
    chosen = probe.DEFAULT_PENALTY
    if left_out:
        parts = [_left_out(x, y, mask, num_grades, ladder) for mask in left_out]
        said = np.concatenate([guesses for guesses, _ in parts], axis=1)  # (J, rows left out)
        truth = np.concatenate([y[mask] for mask in left_out])
        gained = np.sum([gain for _, gain in parts], axis=0)  # (J,)
        scores = [targets.score(guess, truth, "quadratic_kappa") for guess in said]
        chosen = ladder[max(range(len(ladder)), key=lambda place: (scores[place], gained[place]))]
    weight, cuts = solve(x, y, num_grades, [chosen])[0]
    return Link(weight.astype(np.float32), cuts.astype(np.float32), chosen)


def _left_out(
    x: Any, y: NDArray[np.int64], mask: NDArray[np.bool_], num_grades: int, ladder: Sequence[float]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return guesses (J, n) and the likelihood (J,) of n rows left out, with each penalty."""
    kept = np.flatnonzero(~mask)
    fits = solve(x[kept], y[kept], num_grades, ladder, tolerance=1e-3)
    rows = np.flatnonzero(mask)
    said = [cuts - (x[rows] @ weight)[:, None] for weight, cuts in fits]
    likely = np.array([np.log(_chance(part, y[rows])).sum() for part in said])
    return np.stack([decide(-part) for part in said]), likely


def _chance(below: NDArray[np.float64], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the probability of each sample's grade from logits of being at most k, (N, K - 1)."""
    edge = np.pad(expit(below), ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1)))
    rows = np.arange(len(y))
    found: NDArray[np.float64] = np.maximum(edge[rows, y + 1] - edge[rows, y], 1e-12)
    return found


def solve(
    x: Any,
    y: NDArray[np.int64],
    num_grades: int,
    penalties: Sequence[float],
    tolerance: float = 1e-5,
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Minimise ``sum_i -log P(y_i | x_i) + penalty / 2 |w|^2`` for each penalty in turn.

    A fit begins where the last one ended, so that descending penalties cost little.

    Returns:
        For each penalty weights (D,) and cuts (K - 1,).
    """
    shown, rank = np.unique(y, return_inverse=True)
    if len(shown) < 2:
        flat = np.where(np.arange(num_grades - 1) < shown[0], -_NEVER, _NEVER)
        return [(np.zeros(x.shape[1]), flat) for _ in penalties]
    share = np.cumsum(np.bincount(rank))[:-1] / len(y)
    x = x.astype(np.float64)  # once: a product of two kinds of numbers copies x each time
    squares = x.multiply(x) if hasattr(x, "multiply") else np.square(x)
    # The best cuts where w is 0.
    now = _Point(x, rank, np.zeros(x.shape[1]), np.log(share / (1 - share)))
    found = []
    for penalty in penalties:
        with threadpool_limits(1):
            now = _descend(now, penalty, squares, tolerance * len(y) / num_grades)
        found.append((now.weight, _spread_out(now.cuts, shown, num_grades)))
    return found


def _spread_out(
    cuts: NDArray[np.float64], shown: NDArray[np.int64], num_grades: int
) -> NDArray[np.float64]:
    """Return cuts of all grades from those of the grades that were shown: others have no room."""
    place = np.searchsorted(shown, np.arange(num_grades - 1), side="right")  # shown grades <= k
    every = np.concatenate([[-_NEVER], cuts, [_NEVER]])
    found: NDArray[np.float64] = every[place]
    return found


class _Point:
    """The likelihood at one place, with its gradient and curvature.

    With ``a = c_y - w x`` and ``b = c_(y-1) - w x``:
    ``-log(s(a) - s(b)) = log(1 + e^-a) + log(1 + e^b) - log(1 - e^(b-a))``, and the last term
    depends on the distance of two cuts alone. The sum is convex in w and the cuts together.
    """

    def __init__(
        self,
        x: Any,
        rank: NDArray[np.int64],
        weight: NDArray[np.float64],
        cuts: NDArray[np.float64],
        line: NDArray[np.float64] | None = None,
    ) -> None:
        self.x, self.rank, self.weight, self.cuts = x, rank, weight, cuts
        self.line = np.asarray(x @ weight, np.float64) if line is None else line
        edges = np.concatenate([[-np.inf], cuts, [np.inf]])
        self.upper, self.lower = edges[rank + 1] - self.line, edges[rank] - self.line
        self.counts = np.bincount(rank, minlength=len(cuts) + 1)

    def cost(self, penalty: float) -> float:
        """Return the penalised cost; infinite where cuts are not in order."""
        gaps = np.diff(self.cuts)
        if (gaps <= 0).any():
            return np.inf
        cost = np.logaddexp(0, -self.upper).sum() + np.logaddexp(0, self.lower).sum()
        cost -= (self.counts[1:-1] * np.log(-np.expm1(-gaps))).sum()
        return float(cost + penalty / 2 * self.weight @ self.weight)

    def gradient(self, penalty: float) -> NDArray[np.float64]:
        """Return the derivative by weights and cuts, (D + K - 1,)."""
        pull, push = expit(-self.upper), expit(self.lower)
        barrier = self.counts[1:-1] / np.expm1(np.diff(self.cuts))
        cuts = self._by_cut(-pull, push) + np.pad(barrier, (0, 1)) - np.pad(barrier, (1, 0))
        return np.concatenate([self.x.T @ (pull - push) + penalty * self.weight, cuts])

    def curvature(
        self, penalty: float, squares: Any
    ) -> tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], NDArray[np.float64]]:
        """Return the product with the Hessian, and the Hessian's diagonal."""
        x, width = self.x, len(self.weight)
        above, below = (expit(v) * expit(-v) for v in (self.upper, self.lower))
        barrier = self.counts[1:-1] / (4 * np.sinh(np.diff(self.cuts) / 2) ** 2)

        def times(step: NDArray[np.float64]) -> NDArray[np.float64]:
            line, cuts = x @ step[:width], np.pad(step[width:], 1)
            up, low = above * (cuts[self.rank + 1] - line), below * (cuts[self.rank] - line)
            apart = barrier * np.diff(step[width:])
            inner = np.pad(apart, (1, 0)) - np.pad(apart, (0, 1))
            return np.concatenate(
                [penalty * step[:width] - x.T @ (up + low), self._by_cut(up, low) + inner]
            )

        own = self._by_cut(above, below) + np.pad(barrier, (1, 0)) + np.pad(barrier, (0, 1))
        return times, np.concatenate([squares.T @ (above + below) + penalty, own])

    def _by_cut(
        self, upper: NDArray[np.float64], lower: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Sum what belongs to the cut above each sample's grade, and to the one below it."""
        size = len(self.counts)
        above = np.bincount(self.rank, upper, size).astype(np.float64)
        found: NDArray[np.float64] = above[:-1] + np.bincount(self.rank, lower, size)[1:]
        return found

    def moved(self, step: NDArray[np.float64], line: NDArray[np.float64], share: float) -> _Point:
        """Return the place a share of a step away; `line` is x times the step's weights."""
        width = len(self.weight)
        weight, cuts = self.weight + share * step[:width], self.cuts + share * step[width:]
        return _Point(self.x, self.rank, weight, cuts, self.line + share * line)


def _descend(now: _Point, penalty: float, squares: Any, tolerance: float) -> _Point:
    """Take Newton's steps, each by conjugate gradients and halved until the cost falls."""
    for _ in range(_STEPS):
        gradient = now.gradient(penalty)
        if np.abs(gradient).max() < tolerance:
            break
        times, diagonal = now.curvature(penalty, squares)
        step = _solved(times, -gradient, diagonal)
        line = np.asarray(now.x @ step[: len(now.weight)], np.float64)
        cost, falls, share = now.cost(penalty), float(gradient @ step), 1.0
        new = now.moved(step, line, share)
        while not new.cost(penalty) <= cost + 1e-4 * share * falls and share > 1e-6:
            share /= 2
            new = now.moved(step, line, share)
        now = new
    return now


def _solved(
    times: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    wanted: NDArray[np.float64],
    diagonal: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Solve ``H step = wanted`` roughly, by conjugate gradients scaled by the diagonal of H."""
    step, rest = np.zeros_like(wanted), wanted.copy()
    scaled = rest / diagonal
    push, size = scaled.copy(), float(rest @ scaled)
    enough = _EXACT**2 * size
    for _ in range(_MOST_INNER):
        bent = times(push)
        length = size / float(push @ bent)
        step += length * push
        rest -= length * bent
        scaled = rest / diagonal
        size, before = float(rest @ scaled), size
        if size < enough:
            break
        push = scaled + size / before * push
    return step
