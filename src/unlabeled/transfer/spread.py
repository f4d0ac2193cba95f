"""Labels spread from the few samples that have them to those that are like them.

Zhou, Bousquet, Lal, Weston, Schoelkopf, "Learning with Local and Global Consistency", NeurIPS
2003: every sample passes what it was told on to its neighbours, ``F = (1 - a) (I - a S)^-1 Y``, so
a label travels along a cloud of samples as far as the cloud goes. Samples without labels take
part, those of the test part too: what is said of them is said of all together.

Where samples have groups (speakers), the neighbours of one are looked for in its own group and in
each of the others. What two speakers say alike then meets, however far their voices are apart,
and within a voice its words stay apart from one another.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.transfer.readings import Frozen, Outcome, validated

if TYPE_CHECKING:
    from unlabeled.transfer.material import Material

NEAR = 8
"""Neighbours in a sample's own group."""

SHARES = (0.06, 0.02, 0.2)
"""How much a sample hears from other groups, by what it hears from its own; the validation part
chooses."""

HOLDS = 0.99
"""The paper's alpha: how much of what a sample is told it passes on."""

_BLOCK = 1024


def nearest(
    x: NDArray[np.float32], y: NDArray[np.float32], count: int, same: bool
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return which rows of `y` are nearest to each row of `x`, and their squared distances.

    Args:
        x: (N, D).
        y: (M, D).
        count: k, at most M, or M - 1 where both are the same.
        same: whether `y` is `x`, whose rows are no neighbours of themselves.

    Returns:
        (N, k) each, in no order.
    """
    places, apart = [], []
    sizes = np.square(y).sum(1)
    for start in range(0, len(x), _BLOCK):
        part = x[start : start + _BLOCK]
        squared = np.square(part).sum(1)[:, None] + sizes - 2 * part @ y.T  # (B, M)
        if same:
            squared[np.arange(len(part)), start + np.arange(len(part))] = np.inf
        found = np.argpartition(squared, count - 1, axis=1)[:, :count]
        places.append(found)
        apart.append(np.maximum(np.take_along_axis(squared, found, 1), 0))
    return np.concatenate(places), np.concatenate(apart).astype(np.float32)


class Graph:
    """Who is like whom: links within groups and across them, to be weighed against each other.

    Args:
        x: (N, D) features in which near is alike.
        group: (N,) groups; None is one group of all.
    """

    def __init__(self, x: NDArray[np.float32], group: NDArray[Any] | None) -> None:
        self.size = len(x)
        names = np.zeros(len(x)) if group is None else group
        of = np.unique(names, return_inverse=True)[1]
        rows = [np.flatnonzero(of == number) for number in range(of.max() + 1)]
        self.within = self._sum(self._links(x, a, a, NEAR) for a in rows)
        others = max(1, len(rows) - 1)
        self.across = self._sum(self._links(x, a, b, 1) for a in rows for b in rows if a is not b)
        self.across *= NEAR / others
        self.parted = len(rows) > 1

    def _sum(self, links: Any) -> Any:
        from scipy.sparse import csr_matrix

        found = csr_matrix((self.size, self.size), dtype=np.float64)
        for rows, columns, values in links:
            found += csr_matrix((values, (rows, columns)), shape=found.shape)
        return found

    def _links(
        self, x: NDArray[np.float32], a: NDArray[np.int64], b: NDArray[np.int64], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return links from rows `a` to their nearest among rows `b`, each between 0 and 1."""
        same = a is b
        count = min(count, len(b) - same)
        if count < 1:
            empty = np.zeros(0, np.int64)
            return empty, empty, np.zeros(0)
        found, apart = nearest(x[a], x[b], count, same)
        usual = max(float(np.median(apart)), 1e-12)
        values = np.exp(-apart.astype(np.float64) / usual)
        return np.repeat(a, count), b[found.ravel()], values.ravel()

    def weighed(self, share: float) -> Any:
        """Return S, (N, N) sparse: links of both directions, divided by the roots of their sums."""
        from scipy.sparse import diags

        links = self.within + share * self.across
        links = links.maximum(links.T)
        roots = np.sqrt(np.maximum(np.asarray(links.sum(1)).ravel(), 1e-300))
        scale = diags(1 / roots)
        return scale @ links @ scale


def spread(
    links: Any, rows: NDArray[np.int64], y: NDArray[np.int64], num_classes: int
) -> NDArray[np.float64]:
    """Return how much of each class reaches each sample, (N, K).

    Args:
        links: S, (N, N) symmetric, eigenvalues in [-1, 1].
        rows: (L,) which samples are labelled.
        y: (L,) their classes.
        num_classes: K.
    """
    from scipy.sparse import identity
    from scipy.sparse.linalg import cg

    matrix = identity(links.shape[0], format="csr") - HOLDS * links
    told = np.zeros((links.shape[0], num_classes))
    told[rows, y] = 1 - HOLDS
    return np.stack([cg(matrix, column, rtol=1e-6, maxiter=2000)[0] for column in told.T], axis=1)


class Spread:
    """Reads by spreading labels over all samples, those of the test part among them.

    Args:
        material: the samples.
        features: of the labelled and of the test samples.
    """

    def __init__(self, material: Material, features: Frozen) -> None:
        self.material, self.features = material, features

    @cached_property
    def graph(self) -> Graph:
        """Return the graph of the samples to be drawn from and of the test part, in this order."""
        known = self.material
        parted = known.group_train is not None and known.group is not None
        group = np.concatenate([known.group_train, known.group]) if parted else None
        return Graph(np.concatenate(self.features.scaled), group)

    def __call__(self, rows: NDArray[np.int64], count: int, draw: int) -> Outcome:
        """Read; the validation part says how much is heard from other groups."""
        shares = SHARES if self.graph.parted else SHARES[:1]
        found = [self._read(rows, share) for share in shares]
        return max(found, key=lambda outcome: validated(self.material, outcome.validation))

    def _read(self, rows: NDArray[np.int64], share: float) -> Outcome:
        known, size = self.material, len(self.material.train)
        y = known.y[rows]
        reached = spread(self.graph.weighed(share), rows, y, len(known.classes))
        guess = reached.argmax(1)
        lost = reached.max(1) <= 1e-12  # no path leads there
        guess[lost] = np.bincount(y).argmax()
        asked = guess[known.validation], guess[size : size + len(known.test)]
        return Outcome(*asked, {"share": share})
