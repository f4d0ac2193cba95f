"""Which samples to label next, from frozen features.

``typical``: one sample of each group of alike samples that no label covers, the one amid most of
its like (TypiClust; Hacohen, Dekel and Weinshall, "Active Learning on a Budget", 2022,
arXiv:2202.02794). ``doubtful``: those about which the linear probe of the labels so far is least
sure, of different kinds (margins, then clusters of the least sure; Zhdanov, "Diverse mini-batch
Active Learning", 2019, arXiv:1901.05954). The first is for few labels, the second for many; what
each is worth against drawing at random was measured by bench/suggest.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from unlabeled import rng
from unlabeled.transfer import probe

MOST_CLUSTERS, FEWEST, NEIGHBOURS = 500, 5, 20
"""As TypiClust has them: clusters at most, members below which one comes last, neighbours."""
CANDIDATES = 5
"""Doubtful samples from which each one is taken."""
MANY = 10
"""Labels a class from which on doubt finds better ones; see docs/log.md."""
_ROWS = 1024

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Known:
    """What is known of samples before more are labelled.

    Args:
        features: (N, D) of all samples.
        labelled: (N,) which have a label.
        y: (N,) their classes; what stands where there is no label is not looked at. None where
            labels are not one class a sample.
    """

    features: NDArray[np.float32]
    labelled: NDArray[np.bool_]
    y: Rows | None = None

    @property
    def unit(self) -> NDArray[np.float32]:
        """Return features without their mean, of length 1, (N, D)."""
        centred = self.features - self.features.mean(axis=0)
        lengths = np.linalg.norm(centred, axis=1, keepdims=True)
        return np.asarray(centred / np.maximum(lengths, 1e-12), np.float32)

    @property
    def classes(self) -> int:
        """Return how many classes have a label."""
        return 0 if self.y is None else len(np.unique(self.y[self.labelled]))


def fitting(known: Known) -> str:
    """Return the way that fits so many labels."""
    many = known.classes > 1 and int(known.labelled.sum()) >= MANY * known.classes
    return "doubtful" if many else "typical"


def choose(known: Known, count: int, by: str, seed: int = 0) -> Rows:
    """Choose samples that have no label, most useful first.

    Args:
        known: the samples.
        count: how many; at most as many as have no label.
        by: a name of `WAYS`.
        seed: of clusters and draws.

    Returns:
        (n,) rows.
    """
    return WAYS[by](known, min(count, int((~known.labelled).sum())), seed)


def typical(known: Known, count: int, seed: int) -> Rows:
    """Choose by TypiClust: as many clusters as labels there will be, the least labelled first."""
    x, labelled = known.unit, known.labelled
    member = clusters(x, min(int(labelled.sum()) + count, MOST_CLUSTERS), seed)
    sizes = np.bincount(member)
    labels = np.bincount(member[labelled], minlength=len(sizes))
    waiting = {
        int(c): _by_typicality(x, np.flatnonzero((member == c) & ~labelled))
        for c in np.flatnonzero(sizes)
    }
    rows: list[int] = []
    while len(rows) < count:
        there = [c for c, queue in waiting.items() if queue]
        best = min(there, key=lambda c: (sizes[c] < FEWEST, labels[c], -sizes[c]))
        rows.append(waiting[best].pop(0))
        labels[best] += 1
    return np.array(rows, np.int64)


def clusters(x: NDArray[np.float32], count: int, seed: int) -> Rows:
    """Return the k-means cluster of each sample, (N, D) -> (N,)."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    count = max(1, min(count, len(np.unique(x, axis=0))))
    make = KMeans if count <= 50 else MiniBatchKMeans
    with threadpool_limits(1):
        found = make(count, n_init=3, random_state=seed).fit_predict(x)
    return np.asarray(found, np.int64)


def _by_typicality(x: NDArray[np.float32], rows: Rows) -> list[int]:
    """Return rows of a cluster, most typical first: nearest on average to its nearest members."""
    near = min(NEIGHBOURS, len(rows) // 2)
    if near < 1:
        return [int(row) for row in rows]
    distance = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _ROWS):
        part = x[rows[start : start + _ROWS]] @ x[rows].T
        part = np.sqrt(np.maximum(2 - 2 * part, 0))
        closest = np.partition(part, near, axis=1)[:, : near + 1]  # with itself, at 0
        distance[start : start + _ROWS] = closest.sum(axis=1) / near
    return [int(row) for row in rows[np.argsort(distance, kind="stable")]]


def doubtful(known: Known, count: int, seed: int) -> Rows:
    """Choose where the probe's two likeliest classes are closest, one of each cluster of those."""
    assert known.y is not None
    scaled = probe.Scaler.fit(known.features)(known.features)
    _, y = np.unique(known.y[known.labelled], return_inverse=True)
    fitted = probe.fit(scaled[known.labelled], y.astype(np.int64), known.classes, seed)
    chances = np.sort(softmax(fitted.scores(scaled), axis=1), axis=1)
    margin = np.where(known.labelled, np.inf, chances[:, -1] - chances[:, -2])
    unlabelled = int((~known.labelled).sum())
    candidates = np.argsort(margin, kind="stable")[: min(CANDIDATES * count, unlabelled)]
    member = clusters(known.unit[candidates], count, seed)
    _, ahead = np.unique(member, return_index=True)  # the most doubtful of each cluster
    behind = np.setdiff1d(np.arange(len(candidates)), ahead)
    order = np.concatenate([np.sort(ahead), behind])
    found: Rows = candidates[order][:count].astype(np.int64)
    return found


def at_random(known: Known, count: int, seed: int) -> Rows:
    """Draw samples without a label, all alike likely."""
    order = rng.generator(rng.mix(seed, 0xD1CE)).permutation(np.flatnonzero(~known.labelled))
    return order[:count].astype(np.int64)


WAYS: dict[str, Callable[[Known, int, int], Rows]] = {
    "typical": typical,
    "doubtful": doubtful,
    "random": at_random,
}
"""The ways to choose; ``random`` is what they are measured against."""
