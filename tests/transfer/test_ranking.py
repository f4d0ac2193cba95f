"""Retrieval and pairs: figures against scikit-learn and closed forms, and rules of fairness."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score
from sklearn.metrics import roc_curve as theirs

from unlabeled.transfer import likeness, ranking, verification
from unlabeled.transfer.detection import auroc
from unlabeled.transfer.retrieval_study import Asked, answered
from unlabeled.transfer.stats import item_weights


def given(count: int = 40, levels: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return scores with many ties, and what belongs to each query."""
    rng = np.random.default_rng(0)
    return rng.integers(0, levels, (count, 30)).astype(float), rng.random((count, 30)) < 0.3


def test_average_precision_is_scikit_learns_with_ties_and_without():
    for levels in (3, 6, 10**6):
        scores, right = given(levels=levels)
        found = ranking.per_query(scores, right)[:, 0]
        expected = [average_precision_score(y, s) for y, s in zip(right, scores, strict=True)]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_recall_at_k_is_the_mean_over_all_orders_of_equals():
    scores, right = given(8, 4)
    found = ranking.per_query(scores, right)[:, 1:]
    rng, counted = np.random.default_rng(1), np.zeros((8, 3))
    for _ in range(4000):
        order = np.argsort(-scores + 0.5 * rng.random(scores.shape), axis=1)
        hits = np.take_along_axis(right, order, 1).cumsum(1)
        counted += hits[:, [k - 1 for k in ranking.AT]] > 0
    np.testing.assert_allclose(found, counted / 4000, atol=0.03)


def test_features_that_are_all_alike_find_what_chance_finds():
    right = np.zeros((1, 20), bool)
    right[0, :4] = True
    found = ranking.per_query(np.zeros((1, 20)), right)[0]
    none = [math.comb(16, k) / math.comb(20, k) for k in ranking.AT]
    np.testing.assert_allclose(found, [4 / 20, *(1 - x for x in none)])
    assert np.isnan(ranking.per_query(np.zeros((1, 5)), np.zeros((1, 5), bool))).all()


def asked(y: np.ndarray, *mates: np.ndarray) -> Asked:
    own = np.arange(len(y))
    labels = (y[:, None] == np.unique(y)[None]).astype(np.float32)
    return Asked(labels, np.stack([own, *mates], 1), own.astype(np.str_))


def test_a_query_is_not_answered_by_itself_its_copy_or_its_group():
    rng = np.random.default_rng(0)
    y, x = np.repeat(np.arange(6), 10), rng.normal(size=(60, 5))
    rows = likeness.unit(x)
    found = answered(rows, asked(y))
    cosines = rows @ rows.T
    for query in (0, 17, 59):
        others = np.arange(60) != query
        expected = average_precision_score(y[others] == y[query], cosines[query][others])
        assert found[query, 0] == pytest.approx(expected)
    group = np.arange(60) // 2  # a group's two samples are nearly the same
    twins = likeness.unit(np.repeat(x[::2], 2, 0) + 1e-3 * x)
    assert answered(twins, asked(y))[:, 1].mean() == 1
    assert answered(twins, asked(y, group))[:, 1].mean() < 0.5


def test_mean_over_queries_in_copies_by_hand():
    values = np.array([[1.0], [0.0], [0.5]])
    weights = np.array([[1, 1, 1], [2, 0, 1]], np.float32)
    np.testing.assert_allclose(ranking.means(values, weights), [[0.5, 2.5 / 3]])


def pairs(seed: int, count: int = 300, round_to: int = 9) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    same = rng.random(count) < 0.4
    return np.round(rng.normal(size=count) + same, round_to), same


@pytest.mark.parametrize("round_to", [9, 0])
def test_equal_error_is_where_the_curve_of_scikit_learn_crosses(round_to):
    scores, same = pairs(0, round_to=round_to)
    accepted, hit, _ = theirs(same, scores, drop_intermediate=False)
    expected = brentq(lambda x: 1 - x - interp1d(accepted, hit)(x), 0, 1)
    one = np.ones((1, len(same)), np.float32)
    assert verification.equal_error(scores, same, one)[0] == pytest.approx(expected, abs=1e-9)
    assert auroc(scores, same, one)[0] == pytest.approx(roc_auc_score(same, scores))
    weights = item_weights(len(same), 0, count=3)  # a copy is the table with its rows repeated
    for row in weights[1:]:
        again = np.repeat(np.arange(len(same)), row.astype(int))
        found = verification.equal_error(scores, same, row[None])[0]
        twice = np.ones((1, len(again)), np.float32)
        assert found == pytest.approx(
            verification.equal_error(scores[again], same[again], twice)[0]
        )


def test_equal_error_of_two_gaussians_is_in_closed_form():
    rng = np.random.default_rng(0)
    same = np.arange(40_000) % 2 == 0
    scores = rng.normal(size=40_000) + 2 * same  # the rate is Phi(-1)
    found = verification.equal_error(scores, same, np.ones((1, 40_000), np.float32))[0]
    assert found == pytest.approx(0.1587, abs=0.005)


def test_threshold_is_the_best_of_all_and_accuracy_scikit_learns():
    scores, same = pairs(3, 80, 1)
    limit = verification.threshold(scores, same)
    tried = [balanced_accuracy_score(same, scores > t) for t in np.arange(-4, 5, 0.05) + 0.025]
    assert balanced_accuracy_score(same, scores > limit) == pytest.approx(max(tried))
    other, truth = pairs(4, 80, 1)
    weights = np.stack([np.ones(80), np.arange(80) % 3]).astype(np.float32)
    found = verification.accuracy(other, truth, weights, limit)
    for row, weight in zip(found, weights, strict=True):
        expected = balanced_accuracy_score(truth, other > limit, sample_weight=weight)
        assert row == pytest.approx(expected)


def test_pairs_of_units_that_were_drawn_twice_count_so():
    units = np.array([[1, 1, 1], [2, 0, 1]], np.float32)
    a, b = np.array([0, 0, 1, 0]), np.array([0, 2, 2, 1])
    np.testing.assert_array_equal(
        verification.pair_weights(a, b, units), [[1, 1, 1, 1], [2, 2, 0, 0]]
    )


def test_intervals_of_pairs_cover_the_truth_where_speakers_are_few():
    """Scores of pairs hang on their speakers: drawing pairs again would be far too sure."""
    rng, truth, inside, narrow = np.random.default_rng(0), 0.5, 0, 0
    for turn in range(60):
        voice = rng.normal(size=24)  # how loud a speaker is decides all
        a, b = rng.integers(0, 24, (2, 400))
        same = rng.permutation(np.arange(400) % 2 == 0)
        scores = voice[a] + voice[b]
        weights = verification.pair_weights(a, b, item_weights(24, turn, count=200))
        drawn = auroc(scores, same, weights)
        low, high = np.nanquantile(drawn[1:], (0.025, 0.975))
        inside += low <= truth <= high
        width = np.subtract(
            *np.quantile(auroc(scores, same, item_weights(400, turn, count=200)), (0.975, 0.025))
        )
        narrow += width < high - low
    assert inside >= 54
    assert narrow >= 40


def test_halves_share_no_unit_and_hold_both_kinds():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 12, (2, 200))
    side = verification.halves(a, b, a == b, 12, 0)
    for one in (True, False):
        whole = (side[a] == one) & (side[b] == one)
        assert (whole & (a == b)).any()
        assert (whole & (a != b)).any()
    nothing = np.zeros(3, np.int64)
    assert verification.halves(nothing, nothing, np.array([True, False, True]), 1, 0) is None


def test_the_way_that_gained_most_is_chosen_and_without_figures_the_default():
    gained = {("features", way): g for way, g in zip(likeness.WAYS, (0.2, 0.5, 0.4), strict=True)}
    assert likeness.best(gained) == {"features": "standardised"}
    nothing = dict.fromkeys(gained, float("nan"))
    assert likeness.best(nothing) == {"features": likeness.DEFAULT}
