"""The unsupervised reading: clusters of features, compared with the classes that people see.

What self-supervised features add over plain ones is seen here without a single label being
learned from: the classes are only used to count.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.transfer.knn import normalise

MOST = 2000


def kmeans(x: NDArray[np.float32], count: int, seed: int = 0) -> NDArray[np.int64]:
    """Return the cluster of each row by k-means (best of 3 starts), (N,)."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct points than clusters is no mistake here
        found = KMeans(min(count, len(x)), n_init=3, max_iter=100, random_state=seed).fit(x)
    member: NDArray[np.int64] = found.labels_.astype(np.int64)
    return member


def agglomerative(x: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return the cluster of each row by Ward's agglomeration, (N,)."""
    from sklearn.cluster import AgglomerativeClustering
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        found = AgglomerativeClustering(min(count, len(x)), linkage="ward").fit_predict(x)
    member: NDArray[np.int64] = found.astype(np.int64)
    return member


def agreement(member: NDArray[np.int64], y: NDArray[np.int64]) -> dict[str, float]:
    """Return how far clusters agree with classes: NMI, ARI, and purity by the best matching.

    NMI is normalised by the mean of both entropies; ARI is 0 for chance. Accuracy names each
    cluster after at most one class so that most samples fit (Hungarian method).
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    table = np.zeros((int(member.max()) + 1, int(y.max()) + 1), dtype=np.int64)
    np.add.at(table, (member, y), 1)
    rows, columns = linear_sum_assignment(-table)
    return {
        "nmi": round(float(normalized_mutual_info_score(y, member)), 4),
        "ari": round(float(adjusted_rand_score(y, member)), 4),
        "accuracy": round(float(table[rows, columns].sum() / len(y)), 4),
    }


def read(features: Any, y: NDArray[np.int64], whiten: bool, seed: int = 0) -> dict[str, Any]:
    """Cluster features into as many clusters as there are classes, in two ways.

    Args:
        features: (N, D), dense or sparse.
        y: (N,) classes, for counting only.
        whiten: whether rows are scaled to length 1 (encoders), or taken as they are.
        seed: of k-means and of which samples are taken where there are many.

    Returns:
        ``kmeans`` and ``agglomerative`` with their NMI, ARI and accuracy.
    """
    rows = np.arange(len(y))
    if len(rows) > MOST:
        rows = rows[:: -(-len(rows) // MOST)]
    x = features[rows]
    x = np.asarray(x.todense() if hasattr(x, "todense") else x, dtype=np.float32)
    x = normalise(x - x.mean(axis=0)) if whiten else x
    count = len(np.unique(y[rows]))
    return {
        "kmeans": agreement(kmeans(x, count, seed), y[rows]),
        "agglomerative": agreement(agglomerative(x, count), y[rows]),
    }
