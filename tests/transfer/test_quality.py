import math

import numpy as np
import pytest

from unlabeled.health import read_features
from unlabeled.transfer import clusters, quality

RNG = np.random.default_rng(0)


def test_rankme_is_the_one_of_the_health_monitor():
    import torch

    x = RNG.normal(size=(200, 12)) @ np.diag(np.linspace(0.1, 2, 12))
    expected = read_features(torch.from_numpy(x)).effective_rank
    assert quality.rankme(x) == pytest.approx(expected, rel=1e-4)


def test_alpha_is_the_exponent_that_was_planted():
    """Rows whose covariance has eigenvalues i^-a exactly."""
    for a in (0.5, 1.0, 2.0):
        basis, _ = np.linalg.qr(RNG.normal(size=(400, 40)))
        basis -= basis.mean(0)
        basis, _ = np.linalg.qr(basis)
        x = basis * np.arange(1, 41) ** (-a / 2)
        assert quality.alpha_req(x) == pytest.approx(a, abs=0.01)


def test_lidar_counts_the_directions_that_tell_samples_apart():
    """Samples differ in 3 of 10 directions, views in all: three directions; more blur, fewer."""
    samples = np.zeros((300, 1, 10))
    samples[:, 0, :3] = 20 * np.linalg.qr(RNG.normal(size=(300, 3)))[0] * math.sqrt(300)
    views = samples + RNG.normal(size=(300, 8, 10))
    assert quality.lidar(views) == pytest.approx(3, abs=0.1)
    views[:, :, 2] += 200 * RNG.normal(size=(300, 8))
    assert quality.lidar(views) == pytest.approx(2, abs=0.1)


def test_lidar_equals_lda_by_inverse_square_root():
    """Eqs. 1 to 3 of the paper written out: eigenvalues of S_w^-1/2 S_b S_w^-1/2."""
    x = RNG.normal(size=(40, 5, 6)) + 2 * RNG.normal(size=(40, 1, 6))
    means = x.mean(1)
    within = np.einsum("nvd,nve->de", x - means[:, None], x - means[:, None]) / (40 * 4)
    within += np.eye(6) * quality._RIDGE * np.trace(within) / 6
    between = np.cov(means.T)
    values, vectors = np.linalg.eigh(within)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    expected = quality.entropy_rank(np.linalg.eigvalsh(root @ between @ root))
    assert quality.lidar(x) == pytest.approx(expected, rel=1e-6)


def test_alignment_is_the_mean_squared_distance_of_two_views():
    """Views at an angle t on a circle are 2 - 2 cos t apart; lengths do not count."""
    for angle in (0.0, 0.3, math.pi):
        turned = np.array([[1.0, 0.0], [math.cos(angle), math.sin(angle)]])
        views = np.stack([turned, 7 * turned[::-1]])
        assert quality.alignment(views) == pytest.approx(2 - 2 * math.cos(angle), abs=1e-12)
    views = RNG.normal(size=(5, 4, 3))
    unit = views / np.linalg.norm(views, axis=2, keepdims=True)
    pairs = [((x[i] - x[j]) ** 2).sum() for x in unit for i in range(4) for j in range(i)]
    assert quality.alignment(views) == pytest.approx(np.mean(pairs))


def test_uniformity_has_its_closed_forms():
    """All alike: 0. Orthogonal: exp(-2 * 2). Two opposite points: -8. The sphere: 0F1(D/2; 4)."""
    from scipy.special import hyp0f1, i0

    assert quality.uniformity(np.ones((9, 5))) == pytest.approx(0)
    assert quality.uniformity(3 * np.eye(6)) == pytest.approx(-4)
    assert quality.uniformity(np.array([[1.0, 0], [-2.0, 0]])) == pytest.approx(-8)
    angles = 2 * np.pi * np.arange(500) / 500  # the mean over pairs is that over the circle
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    whole = (500 * i0(4) * math.exp(-4) - 1) / 499
    assert quality.uniformity(circle) == pytest.approx(math.log(whole))
    sphere = RNG.normal(size=(1500, 16))
    assert quality.uniformity(sphere) == pytest.approx(-4 + math.log(hyp0f1(8, 4)), abs=0.01)


def test_clusters_are_learned_where_there_are_any():
    y = np.arange(400) % 5
    there = (6 * np.eye(5)[y] + RNG.normal(size=(400, 5))).astype(np.float32)
    nothing = RNG.normal(size=(400, 60)).astype(np.float32)
    assert quality.learnability(there, clusters=5) > 0.95
    assert quality.learnability(nothing, clusters=5) < 0.75


def test_agreement_is_the_rank_correlation():
    found = quality.agreement(
        [{"rankme": r, "alpha": a} for r, a in ((1.0, 3.0), (2.0, 1.1), (3.0, 0.0))],
        [0.1, 0.2, 0.3],
    )  # fmt: skip
    assert found["rankme"] == pytest.approx(1)
    less = quality.agreement([{"uniformity": -u} for u in (1.0, 2.0, 3.0)], [0.1, 0.2, 0.3])
    assert less["uniformity"] == pytest.approx(1)
    assert found["alpha"] == pytest.approx(0.5)
    assert quality.agreement([{"rankme": 1.0}] * 2, [0.1, 0.2]) == {}


def test_clusters_are_compared_with_classes_by_known_indices():
    y = np.array([0, 0, 0, 1, 1, 1])
    same = clusters.agreement(np.array([1, 1, 1, 0, 0, 0]), y)
    assert same == {"nmi": 1.0, "ari": 1.0, "accuracy": 1.0}
    assert clusters.agreement(np.zeros(6, dtype=np.int64), y)["nmi"] == 0
    mixed = clusters.agreement(np.array([0, 0, 1, 1, 0, 1]), y)
    assert mixed["accuracy"] == pytest.approx(4 / 6, abs=1e-4)
    assert mixed["ari"] < 0.1


def test_both_ways_of_clustering_find_planted_classes():
    y = np.arange(300) % 3
    x = (5 * np.eye(3)[y] + RNG.normal(size=(300, 3))).astype(np.float32)
    found = clusters.read(x, y, whiten=False)
    assert found["kmeans"]["nmi"] > 0.9
    assert found["agglomerative"]["ari"] > 0.9
