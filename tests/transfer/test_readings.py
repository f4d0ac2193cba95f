from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.utils.class_weight import compute_class_weight

from tests.transfer.given import known_of
from unlabeled.transfer import aims, baselines, knn, metrics, probe, targets


def blobs(count: int, dim: int, classes: int, spread: float = 0.6, seed: int = 0):
    rng = np.random.default_rng(seed)
    y = np.arange(count) % classes
    centres = np.random.default_rng(99).normal(size=(classes, dim))
    return (centres[y] * spread + rng.normal(size=(count, dim))).astype(np.float32), y


def naive_knn(train, y, query, classes, k):
    found = []
    for q in query:
        cosine = train @ q / np.linalg.norm(train, axis=1) / np.linalg.norm(q)
        share = np.zeros(classes)
        for i in np.argsort(-cosine)[:k]:
            share[y[i]] += np.exp(cosine[i] / 0.07)
        found.append(share.argmax())
    return np.array(found)


@pytest.mark.parametrize("k", [1, 5, 20, 100])
def test_knn_equals_the_naive_loop(k):
    x, y = blobs(60, 7, 4)
    queries, _ = blobs(33, 7, 4, seed=1)
    found = knn.predict(x, y, queries, 4, k)
    assert (found == naive_knn(x.astype(np.float64), y, queries, 4, min(k, 60))).all()


def test_k_is_capped_by_the_labels_and_found_without_others():
    x, y = blobs(400, 6, 4, spread=0.5)
    assert knn.choose_k(x[:4], y[:4], 4) == 1
    assert knn.choose_k(x[:24], y[:24], 4) in (1, 5)
    assert knn.choose_k(x, y, 4) > 1  # overlapping classes want more than one neighbour


@pytest.mark.parametrize(("count", "dim"), [(24, 40), (200, 12)])
@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_probe_equals_scikit_learn(count, dim, penalty):
    x, y = blobs(count, dim, 3)
    x = probe.Scaler.fit(x)(x).astype(np.float64)
    weight, bias = probe.solve(x, y, 3, np.array([penalty]), max_steps=5000, tolerance=1e-8)
    model = LogisticRegression(C=1 / penalty, tol=1e-9, max_iter=10000).fit(x, y)
    ours = x @ weight[0] + bias[0]
    theirs = model.decision_function(x)
    assert np.allclose(ours - ours.mean(1, keepdims=True), theirs, atol=2e-4)


def test_fits_solved_together_equal_fits_alone():
    x, y = blobs(80, 10, 3)
    x = x.astype(np.float64) / 10
    kept = np.stack([np.ones(80), np.arange(80) % 4 > 0]).astype(np.float64)
    both, _ = probe.solve(x, y, 3, np.array([0.1, 0.3]), kept, max_steps=4000, tolerance=1e-8)
    rows = kept[1] > 0
    alone, _ = probe.solve(x[rows], y[rows], 3, np.array([0.3]), max_steps=4000, tolerance=1e-8)
    assert np.allclose(both[1], alone[0], atol=1e-4)


def test_penalty_is_chosen_inside_the_labelled_part():
    x, y = blobs(30, 5, 3, spread=3.0)
    noise = np.random.default_rng(0).normal(size=(30, 400)).astype(np.float32)
    assert probe.fit(x[:3], y[:3], 3).penalty == probe.DEFAULT_PENALTY
    assert probe.folds(y[:3], 0) == []
    masks = probe.folds(y, 0)
    assert (np.sum(masks, axis=0) == 1).all()
    assert all(np.bincount(y[m], minlength=3).min() >= 1 for m in masks)
    scaled = probe.Scaler.fit(np.hstack([x, noise]))(np.hstack([x, noise]))
    fitted = probe.fit(scaled, y, 3)
    assert fitted.penalty in probe.PENALTIES
    assert (fitted.predict(scaled) == y).mean() > 0.9


def test_scaler_ignores_units_and_constants():
    x, _ = blobs(50, 4, 2)
    x[:, 3] = 7
    a, b = probe.Scaler.fit(x)(x), probe.Scaler.fit(x * 1000 + 5)(x * 1000 + 5)
    assert np.allclose(a, b, atol=1e-3)
    assert (a[:, 3] == 0).all()
    assert np.isclose(np.square(a).sum(1).mean(), 3 / 4, atol=1e-4)
    joint = probe.Scaler.fit(x, each=False)
    assert np.allclose(joint.scale, joint.scale[0])


def test_sparse_probe_learns():
    x, y = blobs(120, 30, 3, spread=1.0)
    sparse = csr_matrix(np.where(x > 0, x, 0) / 10)
    model, penalty = baselines.fit_sparse(sparse, y, 0)
    assert penalty in (1e-3, 1e-2, 1e-1, 1.0)
    assert (model.predict(sparse) == y).mean() > 0.9


def test_metrics_equal_scikit_learn():
    rng = np.random.default_rng(0)
    y, guess = rng.integers(0, 4, 50), rng.integers(0, 4, 50)
    assert metrics.accuracy(guess, y) == pytest.approx(accuracy_score(y, guess))
    assert metrics.macro_f1(guess, y, 4) == pytest.approx(f1_score(y, guess, average="macro"))
    assert metrics.headline(np.array([0, 0, 1]), 2) == "accuracy"
    assert metrics.headline(np.array([0] * 9 + [1]), 2) == "macro_f1"


def test_large_images_come_in_small_batches():
    from unlabeled.transfer.features import Inputs

    found = Inputs.__new__(Inputs)
    found.modality, found.indices = SimpleNamespace(name="image"), np.arange(300)
    for edge, most in ((32, 256), (128, 256), (224, 83), (4096, 1)):
        found._plain = torch.empty(1, 300, 3, edge, edge, device="meta")
        parts = found.batches(256)
        assert max(map(len, parts)) == most
        assert np.concatenate(parts).tolist() == list(range(300))


def test_balanced_weights_are_those_of_scikit_learn():
    rng = np.random.default_rng(3)
    y = np.repeat([0, 1, 2], [80, 14, 6])
    x = (rng.normal(size=(100, 4)) + 0.8 * y[:, None]).astype(np.float32)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y)
    assert probe.class_weights(y, 3) == pytest.approx(expected)
    found = probe.fit(x, y, 3, weighting="balanced")
    oracle = LogisticRegression(C=1 / found.penalty, class_weight="balanced", tol=1e-8)
    chances = oracle.fit(x, y).predict_proba(x)
    said = found.scores(x)
    said = np.exp(said - said.max(1, keepdims=True))
    assert said / said.sum(1, keepdims=True) == pytest.approx(chances, abs=0.01)


def test_weights_are_chosen_where_classes_are_rare_and_only_there():
    rng = np.random.default_rng(0)
    y = (np.arange(400) < 40).astype(np.int64)
    x = (rng.normal(size=(400, 3)) + 0.5 * y[:, None]).astype(np.float32)
    plain, chosen = (probe.fit(x, y, 2, weighting=how) for how in ("none", None))
    assert (plain.balanced, chosen.balanced) == (False, True)
    scores = [metrics.macro_f1(one.predict(x), y, 2) for one in (plain, chosen)]
    assert scores[1] > scores[0]
    assert not probe.fit(x[:80], y[:80], 2, weighting=None).balanced


def test_a_network_weighs_classes_and_labels_as_asked():
    y = np.repeat([0, 1], [90, 10])
    known = known_of(y, y[:4], 0)
    known.validation = known.pool = np.arange(100)
    rows = np.arange(100)
    assert aims.imbalanced(known, rows)
    assert not aims.imbalanced(known, rows[80:])
    logits = torch.randn(100, 2)
    found = aims.aim_of(known, rows, balanced=True).loss(logits, torch.from_numpy(y))
    each = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y), reduction="none")
    assert float(found) == pytest.approx(float((each[:90].mean() + each[90:].mean()) / 2))
    table = np.zeros((100, 2), np.float32)
    table[:5, 0], table[50:, 1], table[90:, 0] = 1, 1, np.nan
    assert targets.positive_weights(table) == pytest.approx([85 / 5, 1])
    known.task, known.targets = "multi", table
    assert aims.imbalanced(known, rows)
    several = aims.aim_of(known, rows, balanced=True)
    cells = torch.from_numpy(table)
    mask = ~torch.isnan(cells)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, cells.nan_to_num(), pos_weight=torch.tensor([17.0, 1.0]), reduction="none"
    )[mask].mean()
    assert float(several.loss(logits, cells)) == pytest.approx(float(expected))
