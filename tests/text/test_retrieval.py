"""Ranks, BM25 and whitening, against formulas and scikit-learn."""

from __future__ import annotations

from math import log, log2
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import ndcg_score

from unlabeled.errors import UsageError
from unlabeled.transfer import retrieval
from unlabeled.transfer.whitening import Whitening


def test_ranks_are_those_of_the_definitions() -> None:
    scores = np.array([[0.9, 0.8, 0.1], [0.3, 0.2, 0.1]])
    found = retrieval.ranked(scores, [{1}, {0, 2}])
    assert found["recall@1"] == pytest.approx((0 + 0.5) / 2)
    assert found["recall@5"] == 1
    assert found["MRR"] == pytest.approx((1 / 2 + 1) / 2)
    second = (1 + 1 / log2(4)) / (1 + 1 / log2(3))
    assert found["nDCG@10"] == pytest.approx((1 / log2(3) + second) / 2)
    draws = np.random.default_rng(0)
    scores, truth = draws.random((20, 30)), draws.random((20, 30)) < 0.2
    truth[:, 0] = True
    found = retrieval.ranked(scores, [set(np.flatnonzero(row).tolist()) for row in truth])
    assert found["nDCG@10"] == pytest.approx(ndcg_score(truth, scores, k=10))


def test_features_that_are_all_alike_find_nothing() -> None:
    found = retrieval.ranked(np.zeros((5, 100)), [{n} for n in range(5)])
    assert found["recall@10"] == 0
    assert found["MRR"] < 0.03


def test_bm25_is_its_formula() -> None:
    documents = ["the cat sat on the mat", "a dog", "the dog and the cat and the bird"]
    found = retrieval.bm25(["cat dog cat"], documents)[0]
    lengths = [6, 2, 8]
    mean = sum(lengths) / 3

    def part(times: int, known: int, length: int) -> float:
        idf = log(1 + (3 - known + 0.5) / (known + 0.5))
        return idf * times * 2.2 / (times + 1.2 * (1 - 0.75 + 0.75 * length / mean))

    cat, dog = (1, 0, 1), (0, 1, 1)
    expected = [2 * part(cat[i], 2, lengths[i]) + part(dog[i], 2, lengths[i]) for i in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert retrieval.tfidf(["bird"], documents)[0].argmax() == 2


def test_whitening_is_that_of_principal_components() -> None:
    draws = np.random.default_rng(0)
    pool = (draws.normal(size=(500, 6)) @ draws.normal(size=(6, 6)) + 5).astype(np.float32)
    white = Whitening.fit(pool)
    other = PCA(whiten=True).fit(pool)
    x = (draws.normal(size=(20, 6)) * 3).astype(np.float32)
    found, expected = white(x), other.transform(x)
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found, expected * signs, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(np.cov(white(pool).T), np.eye(6), atol=2e-3)
    np.testing.assert_allclose(x @ white.matrix + white.bias, found, rtol=1e-3, atol=1e-3)


def test_directions_that_no_document_shows_are_left_out() -> None:
    flat = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    flat[:, 5:] = 1
    assert Whitening.fit(flat).matrix.shape == (8, 5)
    assert Whitening.fit(flat[:4]).matrix.shape[1] == 3
    with pytest.raises(UsageError, match="at least two"):
        Whitening.fit(flat[:1])


def test_tables_of_queries(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("query,document\nx,a\nx,b\ny,a\n")
    table = retrieval.read(tmp_path / "q.csv")
    assert (table.queries, table.documents) == (["x", "y"], ["a", "b"])
    assert table.relevant == [{0, 1}, {0}]
    (tmp_path / "one.csv").write_text("query,document\nx,a\ny,a\n")
    with pytest.raises(UsageError, match="nothing to choose"):
        retrieval.read(tmp_path / "one.csv")
    (tmp_path / "no.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="query,document"):
        retrieval.read(tmp_path / "no.csv")


def test_a_linear_layer_follows_the_pooling(tmp_path: Path) -> None:
    import json

    from safetensors.numpy import load_file

    from unlabeled.export import sentence

    white = Whitening.fit(np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32))
    sentence.write(tmp_path, 8, 16)
    sentence.add_dense(tmp_path, white.matrix, white.bias)
    modules = json.loads((tmp_path / "modules.json").read_text())
    assert [one["type"].rpartition(".")[2] for one in modules] == [
        "Transformer",
        "Pooling",
        "Dense",
    ]
    parts = load_file(tmp_path / modules[2]["path"] / "model.safetensors")
    x = np.ones((3, 8), np.float32)
    found = x @ parts["linear.weight"].T + parts["linear.bias"]
    np.testing.assert_allclose(found, white(x), rtol=1e-4, atol=1e-4)
