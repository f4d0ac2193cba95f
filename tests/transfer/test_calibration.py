import numpy as np
import pytest

from unlabeled.transfer import calibration
from unlabeled.transfer.calibration import BINS, bins, error, floor, of_draws, sureness

RNG = np.random.default_rng(0)


def test_the_error_is_the_weighted_gap_of_bins():
    """Ten at 0.95 of which 8 are right, thirty at 0.55 of which 18 are: gaps of 0.15 and 0.05."""
    sure = np.repeat([0.95, 0.55], [10, 30])
    right = np.concatenate([np.arange(10) < 8, np.arange(30) < 18])
    assert error(sure, right) == pytest.approx(0.25 * 0.15 + 0.75 * 0.05)
    assert bins(sure, right) == [
        {"sureness": 0.55, "accuracy": 0.6, "count": 30},
        {"sureness": 0.95, "accuracy": 0.8, "count": 10},
    ]
    assert error(np.ones(8), np.arange(8) < 6) == pytest.approx(0.25)  # all or nothing
    assert error(np.zeros(3), np.zeros(3, bool)) == 0


def test_the_diagram_is_that_of_scikit_learn():
    from sklearn.calibration import calibration_curve

    sure = RNG.random(2000)
    right = RNG.random(2000) < sure**2
    share, mean = calibration_curve(right, sure, n_bins=BINS)
    found = bins(sure, right)
    assert [b["accuracy"] for b in found] == pytest.approx(share, abs=1e-4)
    assert [b["sureness"] for b in found] == pytest.approx(mean, abs=1e-4)
    weights = np.array([b["count"] for b in found]) / 2000
    assert error(sure, right) == pytest.approx((weights * abs(share - mean)).sum())


def test_the_floor_is_what_chance_alone_makes():
    """n fair coins in one bin: E|heads / n - 1/2| = 2^-n C(n - 1, n / 2 - 1), which is 0.0625..."""
    from math import comb

    count = 40
    expected = comb(count - 1, count // 2 - 1) / 2**count
    found = np.mean([floor(np.full(count, 0.5), seed) for seed in range(40)])
    assert found == pytest.approx(expected, rel=0.04)
    assert floor(np.ones(9)) == 0


def test_answers_that_are_as_sure_as_they_should_be_are_at_the_floor():
    parts = []
    for _ in range(20):
        sure = RNG.random(500)
        parts.append((sure, RNG.random(500) < sure))
    found = of_draws(parts)
    assert found["error"] == pytest.approx(found["floor"], rel=0.1)
    assert (found["draws"], found["samples"]) == (20, 500)
    assert sum(b["count"] for b in found["bins"]) == 10_000
    boasting = of_draws([(np.sqrt(sure), right) for sure, right in parts])
    gap = 2 / 3 - 1 / 2  # the mean of sqrt(u) - u
    assert boasting["error"] == pytest.approx(gap, abs=0.01)
    assert boasting["sureness"] - boasting["accuracy"] == pytest.approx(gap, abs=0.01)


def test_sureness_is_the_softmax_of_the_likeliest():
    logits = RNG.normal(size=(50, 7)).astype(np.float32) * 30
    shares = np.exp(logits - logits.max(1, keepdims=True).astype(np.float64))
    expected = (shares / shares.sum(1, keepdims=True)).max(1)
    np.testing.assert_allclose(sureness(logits), expected)
    assert calibration.error(sureness(logits), np.ones(50, bool)) < 1
