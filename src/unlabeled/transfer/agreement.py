"""How far what is measured without labels puts networks in the order in which labels put them.

Networks are comparable on one data set only, so the rank correlation is taken within each set and
then averaged over sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unlabeled import rng
from unlabeled.transfer.measures import LESS_IS_BETTER, WORDS, worth

LEAST = 4
"""Networks that a set must have to count; three are in order by chance once in six times."""
LEAST_SETS = 3
COPIES = 2000


@dataclass(frozen=True)
class Point:
    """A network at one moment of its training.

    Args:
        network: points of one network are drawn again together.
        measures: what was measured without labels, by name.
        score: what labels say; more is better.
    """

    network: str
    measures: Mapping[str, float]
    score: float


@dataclass(frozen=True)
class Agreement:
    """Spearman's rank correlation of a measure with labels, the mean over sets.

    Args:
        mean: in [-1, 1]; 1 is the same order everywhere.
        low: of the 95 % interval.
        high: of the same.
        by_set: the correlation in each set.
        points: over all sets; of `along`, trainings.
    """

    mean: float
    low: float
    high: float
    by_set: Mapping[str, float]
    points: int

    @property
    def shown(self) -> bool:
        """Whether the measure was shown to put networks in order, on several sets."""
        return self.low > 0 and len(self.by_set) >= LEAST_SETS


def of_row(row: Mapping[str, float | str], score: str) -> Point:
    """Return the point of a kept row, with one of its scores; what is no measure is left out."""
    found = {
        name: float(row[name]) for name in dict.fromkeys((*WORDS, *LESS_IS_BETTER)) if name in row
    }
    return Point(str(row["network"]), found, float(row[score]))


def correlation(points: Sequence[Point], measure: str, least: int = LEAST) -> float | None:
    """Return Spearman's rank correlation of a measure with the score, ties as mean ranks.

    Args:
        points: of one data set.
        measure: a name; points without it are left out.
        least: points that must have it.

    Returns:
        None where fewer points have it, or all are equal in it or in the score.
    """
    pairs = [(worth(measure, p.measures[measure]), p.score) for p in points
             if measure in p.measures]  # fmt: skip
    if len(pairs) < least:
        return None
    return _spearman(np.array(pairs, dtype=np.float64))


def _spearman(pairs: NDArray[np.float64]) -> float | None:
    """Return the rank correlation of two columns, (n, 2)."""
    # Mean ranks by counting, up to a constant: scipy's take ten times as long for a dozen rows.
    above, equal = pairs[:, None] > pairs, pairs[:, None] == pairs  # (n, n, 2)
    ranks = above.sum(axis=1) + 0.5 * equal.sum(axis=1)
    ranks -= ranks.mean(axis=0)
    scale = np.sqrt((ranks**2).sum(axis=0).prod())
    return float((ranks[:, 0] * ranks[:, 1]).sum() / scale) if scale > 0 else None


def lost(points: Sequence[Point], measure: str) -> float | None:
    """Return how far the network that a measure puts first is below the best, in the score.

    >>> points = [Point("a", {"rankme": 1.0}, 0.75), Point("b", {"rankme": 2.0}, 0.5)]
    >>> lost(points, "rankme")
    0.25
    """
    there = [p for p in points if measure in p.measures]
    if not there:
        return None
    first = max(there, key=lambda p: worth(measure, p.measures[measure]))
    return max(p.score for p in points) - first.score


def within(
    sets: Mapping[str, Sequence[Point]], copies: int = COPIES, seed: int = 0
) -> dict[str, Agreement]:
    """Return the agreement of every measure, within sets and averaged over them.

    The interval is of a bootstrap in two stages: sets are drawn again, and within each drawn set
    its networks, all points of one together. So it speaks of other sets and other networks.

    Args:
        sets: points of each data set.
        copies: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        By name of the measure; those that no set has four points of are left out.
    """
    names = sorted({name for points in sets.values() for p in points for name in p.measures})
    found = {}
    for name in names:
        there = {key: [p for p in points if name in p.measures] for key, points in sets.items()}
        real = {key: correlation(points, name) for key, points in there.items()}
        by_set = {key: value for key, value in real.items() if value is not None}
        if by_set:
            drawn = _copies([there[key] for key in by_set], name, copies, seed)
            low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (-1.0, 1.0)
            count = sum(len(there[key]) for key in by_set)
            mean = float(np.mean(list(by_set.values())))
            found[name] = Agreement(mean, float(low), float(high), by_set, count)
    return found


def along(
    sets: Mapping[str, Sequence[Point]], copies: int = COPIES, seed: int = 0
) -> dict[str, Agreement]:
    """Return the agreement of every measure between the moments of one training, as `within`.

    Each network has its own correlation over its points, three or more; the mean is over networks
    of a set, then over sets, and the bootstrap draws sets again and then networks.
    """
    random = rng.generator(rng.mix(seed, len(sets), 1))
    names = sorted({name for points in sets.values() for p in points for name in p.measures})
    found = {}
    for name in names:
        each = {key: _of_networks(points, name) for key, points in sets.items()}
        each = {key: values for key, values in each.items() if len(values)}
        if not each:
            continue
        means = []
        for _ in range(copies):
            drawn = [list(each.values())[i] for i in random.integers(len(each), size=len(each))]
            means.append(np.mean([random.choice(v, len(v)).mean() for v in drawn]))
        low, high = np.quantile(means, [0.025, 0.975])
        by_set = {key: float(values.mean()) for key, values in each.items()}
        count = sum(map(len, each.values()))
        mean = float(np.mean(list(by_set.values())))
        found[name] = Agreement(mean, float(low), float(high), by_set, count)
    return found


def _of_networks(points: Sequence[Point], name: str) -> NDArray[np.float64]:
    """Return the correlation over the moments of each network that has three or more."""
    networks = {p.network for p in points}
    found = [correlation([p for p in points if p.network == n], name, 3) for n in sorted(networks)]
    return np.array([value for value in found if value is not None], dtype=np.float64)


def _copies(
    sets: Sequence[Sequence[Point]], name: str, copies: int, seed: int
) -> NDArray[np.float64]:
    """Return the mean correlation in each bootstrap copy that has one."""
    random = rng.generator(rng.mix(seed, len(sets)))
    tables = [_by_network(points, name) for points in sets]
    means = []
    for _ in range(copies):
        values = []
        for place in random.integers(len(tables), size=len(tables)):
            networks = tables[place]
            rows = [networks[i] for i in random.integers(len(networks), size=len(networks))]
            values.append(_spearman(np.concatenate(rows)))
        there = [value for value in values if value is not None]
        if there:
            means.append(np.mean(there))
    return np.array(means, dtype=np.float64)


def _by_network(points: Sequence[Point], name: str) -> list[NDArray[np.float64]]:
    """Return (points, 2) worth and score of each network."""
    found: dict[str, list[tuple[float, float]]] = {}
    for p in points:
        found.setdefault(p.network, []).append((worth(name, p.measures[name]), p.score))
    return [np.array(rows, dtype=np.float64) for rows in found.values()]
