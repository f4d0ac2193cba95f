"""Labels that are spread over samples without labels, against scikit-learn and a planted case."""

from __future__ import annotations

import numpy as np

from unlabeled.transfer.spread import HOLDS, Graph, nearest, spread


def voices(seed: int = 0, takes: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points of 4 words by 5 voices; voices differ more than words, words alike in each."""
    rng = np.random.default_rng(seed)
    words = rng.standard_normal((4, 6))
    bend = [np.eye(6) + 0.25 * rng.standard_normal((6, 6)) for _ in range(5)]
    x = np.stack([w @ b for b in bend for w in words for _ in range(takes)])
    x += 0.1 * rng.standard_normal(x.shape)
    y = np.tile(np.repeat(np.arange(4), takes), 5)
    return x.astype(np.float32), y, np.repeat(np.arange(5), 4 * takes).astype(str)


def test_neighbours_are_those_of_all_distances() -> None:
    x, _, _ = voices()
    whole = np.square(x[:, None] - x[None]).sum(-1) + np.diag(np.full(len(x), np.inf))
    places, apart = nearest(x, x, 3, same=True)
    np.testing.assert_allclose(np.sort(apart, 1), np.sort(whole, 1)[:, :3], atol=1e-4)
    assert not (places == np.arange(len(x))[:, None]).any()
    places, apart = nearest(x[:7], x[7:], 2, same=False)
    np.testing.assert_allclose(np.sort(apart, 1), np.sort(whole[:7, 7:], 1)[:, :2], atol=1e-4)


def test_spreading_equals_scikit_learn() -> None:
    from sklearn.semi_supervised import LabelSpreading

    x, y, group = voices()
    graph = Graph(x, group)
    links = graph.within + 0.06 * graph.across
    links = links.maximum(links.T).toarray()
    told = np.full(len(x), -1)
    rows = np.array([np.flatnonzero(y == k)[0] for k in range(4)])
    told[rows] = y[rows]
    theirs = LabelSpreading(kernel=lambda a, b: links, alpha=HOLDS, max_iter=20_000, tol=1e-12)
    theirs.fit(x, told)
    ours = spread(graph.weighed(0.06), rows, y[rows], 4)
    ours /= ours.sum(1, keepdims=True)
    np.testing.assert_allclose(ours, theirs.label_distributions_, atol=1e-4)


def test_one_label_a_word_names_the_words_of_all_voices() -> None:
    x, y, group = voices()
    rows = np.array([np.flatnonzero(y == k)[0] for k in range(4)])  # all by one voice
    parted = spread(Graph(x, group).weighed(0.06), rows, y[rows], 4).argmax(1)
    whole = spread(Graph(x, None).weighed(0.0), rows, y[rows], 4).argmax(1)
    heard = group != group[0]
    assert (parted == y)[heard].mean() > (whole == y)[heard].mean() + 0.1
    assert (parted == y).mean() > 0.85


def test_a_group_of_one_has_links_to_others_only() -> None:
    x, _, group = voices(takes=2)
    group[-1] = "alone"
    graph = Graph(x, group)
    assert graph.within[-1].nnz == 0
    assert graph.across[-1].nnz == 5
    assert np.isfinite(graph.weighed(0.06).toarray()).all()
