"""Agreement of what is measured without labels with labels, within data sets."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from unlabeled.transfer import agreement
from unlabeled.transfer.agreement import Point, correlation, within

RNG = np.random.default_rng(0)


def points(n: int, follows: float, shift: float = 0.0) -> list[Point]:
    """Return networks whose measure follows the score, as far as `follows` says."""
    scores = RNG.random(n)
    noise = RNG.random(n)
    return [
        Point(str(i), {"rankme": 100 * shift + follows * s + (1 - follows) * e}, s + shift)
        for i, (s, e) in enumerate(zip(scores, noise, strict=True))
    ]


def test_the_correlation_is_that_of_scipy_with_ties_and_turned_measures():
    rows = [(1.4, 0.1), (1.0, 0.3), (0.9, 0.2), (0.6, 0.2), (1.1, 0.2)]
    found = correlation([Point(str(i), {"alpha": a}, s) for i, (a, s) in enumerate(rows)], "alpha")
    expected = spearmanr([-abs(a - 1) for a, _ in rows], [s for _, s in rows]).statistic
    assert found == pytest.approx(expected)
    losses = [Point(str(i), {"loss": -s}, s) for i, (_, s) in enumerate(rows)]
    assert correlation(losses, "loss") == pytest.approx(1)


def test_too_few_or_equal_networks_say_nothing():
    assert correlation(points(3, 1.0), "rankme") is None
    assert (
        correlation([Point("a", {"rankme": 1.0}, s) for s in (0.1, 0.2, 0.3, 0.4)], "rankme")
        is None
    )
    assert within({"a": points(3, 1.0)}) == {}


def test_sets_are_never_compared_with_one_another():
    """Where sets differ much more than networks, a pooled correlation would be near 1."""
    sets = {str(k): points(40, 0.0, shift=5.0 * k) for k in range(5)}
    found = within(sets, copies=300)["rankme"]
    assert abs(found.mean) < 0.25
    assert found.low < 0 < found.high
    assert not found.shown
    assert found.points == 200
    assert found.mean == pytest.approx(np.mean(list(found.by_set.values())))


def test_a_measure_that_follows_labels_is_shown_on_three_sets_and_not_on_two():
    sets = {str(k): points(12, 0.8) for k in range(3)}
    assert within(sets, copies=300)["rankme"].shown
    del sets["0"]
    assert not within(sets, copies=300)["rankme"].shown


def test_points_of_one_network_are_drawn_together():
    """Ten copies of each network do not make the interval narrower."""
    once = {str(k): points(6, 0.5) for k in range(3)}
    often = {key: [p for p in found for _ in range(10)] for key, found in once.items()}
    narrow, wide = (within(sets, copies=400)["rankme"] for sets in (often, once))
    assert narrow.high - narrow.low == pytest.approx(wide.high - wide.low, abs=0.05)


def test_a_kept_row_becomes_a_point():
    row = {"network": "mae", "steps": 10, "rankme": 3.0, "k-NN": 0.5, "probe": 0.4}
    assert agreement.of_row(row, "probe") == Point("mae", {"rankme": 3.0}, 0.4)


def test_moments_of_one_training_are_compared_with_each_other_alone():
    """Within each network the measure rises with the score; between networks it falls."""
    rows = [Point(str(n), {"rankme": m - 10.0 * n, "loss": -m}, m + 10.0 * n)
            for n in range(4) for m in (0.0, 1.0, 2.0)]  # fmt: skip
    found = agreement.along({"a": rows, "b": rows, "c": rows[:2]}, copies=50)
    assert found["rankme"].mean == pytest.approx(1)
    assert found["loss"].mean == pytest.approx(1)
    assert (found["rankme"].points, set(found["rankme"].by_set)) == (8, {"a", "b"})
    assert within({"a": rows}, copies=50)["rankme"].mean < 0
