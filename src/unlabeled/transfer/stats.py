"""Intervals, paired differences, and how many labels were saved.

Four things are uncertain: which samples were labelled (draws), which could have been (draws from
one pool share samples, so they differ less than labels from elsewhere would), which samples
happen to be in the test part (items), and, where several runs are judged as one, how the next
pre-training would turn out (seeds). Every statistic here is computed from `resample`: scores of
each row on the real test part and on bootstrap copies of it, the same copies for all rows, so
that comparisons are paired in both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats as _stats

from unlabeled import rng
from unlabeled.transfer import targets

REPLICATES = 1000


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; without bounds where one draw cannot tell."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Saved:
    """Labels that a rival needs for our score, over the labels that we used.

    Args:
        ratio: labels saved, or the bound that the data allow where `censored`.
        low: lower end of the 95 % interval; None: below what was measured.
        high: upper end; None: beyond what was measured.
        ours: labels per class that we used.
        theirs: labels per class that the rival needs (bound where `censored`).
        score: ours at that count.
        censored: ``""``, ``at_least`` (the rival never got there) or ``at_most`` (the rival was
            better with its fewest labels).
    """

    ratio: float
    low: float | None
    high: float | None
    ours: int
    theirs: float
    score: float
    censored: str


def item_weights(
    num_items: int, seed: int, group: NDArray[np.str_] | None = None, count: int = REPLICATES
) -> NDArray[np.float32]:
    """Return how often each test item occurs in each copy, (1 + count, N); row 0 is all ones.

    Items of a group come and go together.
    """
    random = rng.generator(rng.mix(seed, num_items))
    member = np.arange(num_items) if group is None else np.unique(group, return_inverse=True)[1]
    num_units = int(member.max()) + 1
    weights = np.empty((1 + count, num_items), dtype=np.float32)
    weights[0] = 1
    for i in range(1, 1 + count):
        drawn = np.bincount(random.integers(num_units, size=num_units), minlength=num_units)
        weights[i] = drawn[member]
    return weights


def resample(
    guesses: NDArray[np.int64], y: NDArray[np.int64], metric: str, weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the score of each row of predictions on each copy of the test part.

    Args:
        guesses: (M, N) predicted classes.
        y: (N,) classes.
        metric: ``accuracy`` or ``macro_f1``, or one of `targets`.
        weights: (R, N) from `item_weights`.

    Returns:
        (M, R).
    """
    if metric in targets.METRICS.values():
        return targets.resample(guesses, y, metric, weights)
    right = (guesses == y).astype(np.float32)
    if metric == "accuracy":
        share: NDArray[np.float64] = (right @ weights.T / weights.sum(axis=1)).astype(np.float64)
        return share
    total = np.zeros((len(guesses), len(weights)))
    classes = np.zeros(len(weights))
    for label in np.unique(y):
        real = weights @ (y == label).astype(np.float32)
        hits = (right * (y == label)) @ weights.T
        said = (guesses == label).astype(np.float32) @ weights.T
        total += 2 * hits / np.maximum(real + said, 1e-12)
        classes += real > 0
    return total / np.maximum(classes, 1)


def pooled(deviations: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Return what all draws from one pool have in common, as a deviation a draw.

    Draws that take a share f of a pool have variance s^2 = v (1 - f) around the mean of that
    pool; their mean varies by f v = s^2 f / (1 - f) around what another pool would give
    (Cochran, Sampling Techniques, 3rd ed., section 2.6). The sum of squares of the result over
    n - 1 is that variance; being linear in the scores, it stays right for differences and means.

    Args:
        deviations: (n,) scores minus their mean.
        share: f, in [0, 1).
    """
    found: NDArray[np.float64] = deviations * math.sqrt(share / (1 - share))
    return found


def interval(
    scores: NDArray[np.float64],
    pool: NDArray[np.float64] | None = None,
    seeds: NDArray[np.float64] | None = None,
) -> Interval:
    """Return the mean over draws with a t-interval over draws, their pool, items and seeds.

    The variance is s^2/n over draws plus that of the pool plus the bootstrap variance over items
    of the mean plus s^2/S over pre-training seeds; its degrees of freedom are those of
    Satterthwaite (1946, doi:10.2307/3002019), n - 1 where only the draws are a source of doubt.

    Args:
        scores: (n, R) of n draws on the test part (column 0) and its copies.
        pool: (n,) from `pooled`; None for draws that share nothing.
        seeds: (S,) deviations of S runs from their mean; None for one run, whose interval then
            says nothing of another.
    """
    n, mean = len(scores), float(scores[:, 0].mean())
    if n < 2:
        return Interval(mean, None, None, n)
    items = float(scores[:, 1:].mean(axis=0).var(ddof=1)) if scores.shape[1] > 2 else 0.0
    draws = float(scores[:, 0].var(ddof=1)) / n
    draws += 0.0 if pool is None else float(np.square(pool).sum()) / (n - 1)
    runs = 0.0 if seeds is None else float(np.square(seeds).sum()) / (len(seeds) - 1) / len(seeds)
    doubt = draws**2 / (n - 1) + (0.0 if seeds is None else runs**2 / (len(seeds) - 1))
    freedom = (draws + items + runs) ** 2 / doubt if doubt > 0 else math.inf
    half = float(_stats.t.ppf(0.975, freedom)) * math.sqrt(draws + items + runs)
    return Interval(mean, mean - half, mean + half, n)


def needed(
    counts: NDArray[np.float64], curve: NDArray[np.float64], target: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return at which count a curve reaches a score: linear in score over log(count).

    The curve is its running maximum: more labels never count against a rival.

    Args:
        counts: (C,) ascending.
        curve: (C, R) scores.
        target: (R,) scores to be reached.

    Returns:
        (R,), inf where never reached, 0 where the first count is already above.
    """
    best = np.maximum.accumulate(curve, axis=0)
    log = np.log(counts)
    found = np.full(target.shape, np.inf)
    for i in range(len(counts) - 1, 0, -1):
        low, high = best[i - 1], best[i]
        share = np.clip((target - low) / np.where(high > low, high - low, 1), 0, 1)
        inside = (target <= high) & (target > low)
        found = np.where(inside, np.exp(log[i - 1] + share * (log[i] - log[i - 1])), found)
    found = np.where(target == best[0], counts[0], found)
    return np.where(target < best[0], 0.0, found)


def labels_saved(
    counts: list[int],
    ours: NDArray[np.float64],
    theirs: list[NDArray[np.float64]],
    at: int,
    seed: int,
    pools: tuple[NDArray[np.float64], list[NDArray[np.float64]]] | None = None,
    seeds: NDArray[np.float64] | None = None,
) -> Saved:
    """Return how many labels were saved at the score that we reach with `at` labels per class.

    The interval holds the middle 95 % of copies in which test items are drawn again and the mean
    over draws is moved by random weights of the draws' deviations, the same for both curves and
    all counts (multiplier bootstrap). The weights follow Student's t with n - 1 degrees of
    freedom, since the spread of few draws is itself in doubt.

    Args:
        counts: label counts per class of the rival's curve, ascending.
        ours: (n, R) our scores with `at` labels.
        theirs: for each count, (n_c, R) the rival's scores.
        at: our labels per class.
        seed: of the bootstrap.
        pools: from `pooled`, of ours and for each count of theirs.
        seeds: (S,) deviations of our S runs from their mean, which move our score alike.
    """
    grid = np.array(counts, dtype=np.float64)
    num_copies = ours.shape[1]
    most = max(len(ours), *map(len, theirs))
    moved = _movement(most, num_copies, rng.mix(seed, at, num_copies))
    own, others = pools or (np.zeros(len(ours)), [np.zeros(len(part)) for part in theirs])
    target = _move(ours, own, moved)
    if seeds is not None:
        count = len(seeds)
        again = _movement(count, num_copies, rng.mix(seed, at, num_copies, count))[0]
        target = target + seeds @ again / math.sqrt(count * (count - 1))
    rival = [_move(part, pool, moved) for part, pool in zip(theirs, others, strict=True)]
    reached = needed(grid, np.stack(rival), target)
    point = float(reached[0])
    censored = "at_least" if math.isinf(point) else "at_most" if point == 0 else ""
    bounded = grid[-1] if censored == "at_least" else grid[0] if censored else point
    low, high = _bounds(reached[1:]) if num_copies > 2 and len(ours) > 1 else (0.0, math.inf)
    return Saved(
        ratio=float(bounded) / at,
        low=None if low == 0 else min(low, float(grid[-1])) / at,
        high=None if math.isinf(high) else max(high, float(grid[0])) / at,
        ours=at,
        theirs=float(bounded),
        score=float(target[0]),
        censored=censored,
    )


def _movement(num_draws: int, num_copies: int, seed: int) -> NDArray[np.float64]:
    """Return weights of draws and of their pool for each copy, (2, n, R); none for copy 0."""
    random = rng.generator(seed)
    weights = random.standard_normal((2, num_draws, num_copies))
    freedom = max(num_draws - 1, 1)
    weights /= np.sqrt(random.chisquare(freedom, num_copies) / freedom)
    weights[:, :, 0] = 0
    return weights


def _move(
    scores: NDArray[np.float64], pool: NDArray[np.float64], moved: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean over draws in every copy, (R,)."""
    n = len(scores)
    if n < 2:
        only: NDArray[np.float64] = scores[0].copy()
        return only
    deviations = scores[:, 0] - scores[:, 0].mean()
    by_draws = deviations @ moved[0, :n] / math.sqrt(n * (n - 1))
    by_pool = pool @ moved[1, :n] / math.sqrt(n - 1)
    mean: NDArray[np.float64] = scores.mean(axis=0) + by_draws + by_pool
    return mean


def _bounds(reached: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 2.5 % and 97.5 % points; order statistics, since some may be 0 or inf."""
    order = np.sort(reached)
    last = len(order) - 1
    return float(order[math.floor(0.025 * last)]), float(order[math.ceil(0.975 * last)])
