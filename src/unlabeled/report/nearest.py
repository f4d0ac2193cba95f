"""Which samples lie nearest to which, by the cosine of their features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unlabeled import rng

NUM_QUERIES, NUM_WORST, NUM_NEAR = 12, 4, 6


def choose(features: NDArray[np.float32], seed: int) -> list[tuple[int, list[tuple[int, float]]]]:
    """Choose queries and find their neighbours.

    Eight queries are drawn; the last four are those whose nearest neighbour is farthest.

    Args:
        features: (N, D), N >= 2.
        seed: of the draw.

    Returns:
        For each query its row and (row, cosine) of its neighbours, nearest first.
    """
    cosines = similarities(features)
    np.fill_diagonal(cosines, -np.inf)
    count = len(cosines)
    order = rng.generator(rng.mix(seed, 0x9E4)).permutation(count).tolist()
    lonely = np.argsort(cosines.max(1)).tolist()[: min(NUM_WORST, count // 3)]
    drawn = [row for row in order if row not in lonely][: NUM_QUERIES - len(lonely)]
    found = []
    for query in [*drawn, *lonely]:
        near = np.argsort(-cosines[query])[: min(NUM_NEAR, count - 1)]
        found.append((query, [(int(row), float(cosines[query, row])) for row in near]))
    return found


def similarities(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosines of all pairs after removing the mean feature, (N, N)."""
    centred = features - features.mean(0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.maximum(lengths, 1e-12)
    return np.asarray(unit @ unit.T, np.float32)


def plane(features: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return t-SNE coordinates, (N, D) -> (N, 2); few samples are laid out by PCA."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        width = min(32, *features.shape)
        reduced = PCA(width, random_state=seed).fit_transform(features.astype(np.float64))
        if len(features) < 30:
            padded = np.pad(reduced, ((0, 0), (0, 2)))
            return np.asarray(padded[:, :2], np.float32)
        perplexity = min(30, len(features) // 4)
        model = TSNE(2, perplexity=perplexity, init="pca", max_iter=500, random_state=seed)
        return np.asarray(model.fit_transform(reduced), np.float32)


def spectrum(features: NDArray[np.float32]) -> list[float]:
    """Return the share of the variance along each main direction, descending; they sum to 1.

    Args:
        features: (N, D); at most min(N - 1, D) directions can have any.
    """
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    variance = np.square(np.linalg.svd(centred, compute_uv=False))[: max(1, len(features) - 1)]
    found: list[float] = (variance / max(float(variance.sum()), 1e-30)).tolist()
    return found
