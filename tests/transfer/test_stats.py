import math

import numpy as np
import pytest
from scipy import stats as reference

from unlabeled.transfer import label_curve, stats, verdict
from unlabeled.transfer.label_curve import Row
from unlabeled.transfer.metrics import macro_f1


def test_interval_without_doubt_in_items_is_the_t_interval():
    scores = np.array([0.6, 0.7, 0.65, 0.72])
    found = stats.interval(np.repeat(scores[:, None], 50, axis=1))
    low, high = reference.t.interval(0.95, 3, scores.mean(), scores.std(ddof=1) / 2)
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high)


def test_interval_without_doubt_in_draws_is_the_binomial_one():
    y = np.zeros(400, dtype=np.int64)
    guess = (np.arange(400) >= 300).astype(np.int64)[None].repeat(3, axis=0)
    found = stats.interval(stats.resample(guess, y, "accuracy", stats.item_weights(400, 0)))
    half = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    assert found.mean == 0.75
    assert found.high - found.mean == pytest.approx(half, rel=0.1)


def test_one_draw_gets_no_interval():
    found = stats.interval(np.full((1, 10), 0.5))
    assert (found.low, found.high, found.n) == (None, None, 1)


def test_copies_of_the_test_part_are_scored_exactly():
    rng = np.random.default_rng(1)
    y, guess = rng.integers(0, 3, 40), rng.integers(0, 3, (2, 40))
    weights = stats.item_weights(40, 3, count=20)
    assert (weights.sum(1) == 40).all()
    for metric in ("accuracy", "macro_f1"):
        found = stats.resample(guess, y, metric, weights)
        for row in range(2):
            for copy in range(21):
                items = np.repeat(np.arange(40), weights[copy].astype(int))
                g, t = guess[row, items], y[items]
                expected = (g == t).mean() if metric == "accuracy" else macro_f1(g, t, 3)
                assert found[row, copy] == pytest.approx(expected, abs=1e-6)


def test_groups_come_and_go_together():
    weights = stats.item_weights(6, 0, np.array(list("aabbcc")), count=30)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 4] == weights[:, 5]).all()


def test_labels_needed_by_interpolation_in_log_labels():
    counts, curve = np.array([1.0, 10.0, 100.0]), np.array([[0.2], [0.4], [0.8]])
    needed = [stats.needed(counts, curve, np.array([t]))[0] for t in (0.1, 0.2, 0.3, 0.6, 0.9)]
    assert needed == [0.0, 1.0, pytest.approx(math.sqrt(10)), pytest.approx(10**1.5), math.inf]


def flat(value: float, draws: int = 3) -> np.ndarray:
    return np.full((draws, 11), value)


def test_labels_saved_is_censored_and_says_so():
    curve = [flat(0.3), flat(0.5), flat(0.7)]
    exact = stats.labels_saved([1, 10, 100], flat(0.5), curve, 1, 0)
    assert (exact.ratio, exact.low, exact.high) == pytest.approx((10, 10, 10))
    assert exact.censored == ""
    never = stats.labels_saved([1, 10, 100], flat(0.9), curve, 10, 0)
    assert (never.ratio, never.high, never.censored) == (10, None, "at_least")
    assert "never reached" in verdict.wording(never)
    worse = stats.labels_saved([1, 10, 100], flat(0.2), curve, 10, 0)
    assert (worse.ratio, worse.low, worse.censored) == (0.1, None, "at_most")
    assert "at most 0.1x" in verdict.wording(worse)


def planted(factor: float, seed: int, items: int = 1500, draws: int = 5) -> verdict.Evidence:
    """Two readings on one test part; the rival needs `factor` times the labels."""
    rng = np.random.default_rng(seed)
    counts, y = [1, 5, 10, 50, 100, 500], np.zeros(items, dtype=np.int64)
    hard = rng.random(items)  # an item is right where skill exceeds its hardness, nearly

    def skill(labels: float) -> float:
        return 0.25 + 0.11 * math.log(labels * 1.0)

    rows, guesses = {}, {}
    for name, boost in (("probe", factor), ("scratch", 1.0)):
        for count in counts:
            for draw in range(draws):
                right = (
                    hard + 0.1 * rng.normal(size=items) < skill(count * boost) + rng.normal() * 0.01
                )
                key = (name, count, draw)
                guesses[key] = (~right).astype(np.int64)
                score = float(right.mean())
                rows[key] = Row(*key, score, score, score, validation=score)
    return verdict.collect(rows, guesses, y, "accuracy", 0)


def test_a_known_saving_is_recovered_inside_its_interval():
    inside = 0
    for seed in range(8):
        found = verdict.judge(planted(4.0, seed))
        saving = found["labels_saved"]["scratch"]
        assert saving["ours"] == 50
        assert saving["ratio"] == pytest.approx(4.0, rel=0.25)
        inside += saving["low"] <= 4.0 <= saving["high"]
        assert found["grade"] == "helped"
        assert "helped" in found["verdict"]
    assert inside >= 6  # 95 % intervals from 5 draws


def test_no_saving_is_no_clear_difference():
    grades = [verdict.judge(planted(1.0, seed))["grade"] for seed in range(8)]
    assert grades.count("helped") <= 1
    assert grades.count("no_clear_difference") >= 6


def test_harm_is_said():
    found = verdict.judge(planted(0.25, 0))
    assert found["grade"] == "did_not_help"
    assert found["verdict"].startswith("Pre-training did not help")
    assert found["labels_saved"]["scratch"]["ratio"] < 0.5


def test_plain_features_that_are_better_are_named():
    evidence = planted(0.25, 1)
    rename = {"scratch": "pca", "probe": "probe"}
    rows = {(rename[n], c, d): row for (n, c, d), row in evidence.rows.items()}
    scores = {(rename[n], c, d): s for (n, c, d), s in evidence.scores.items()}
    found = verdict.judge(verdict.Evidence(rows, scores, 0))
    assert "plain features are better: PCA + LR beats linear probe" in found["verdict"]


def test_the_rival_that_is_named_is_one_that_is_ahead_beyond_doubt():
    gaps = {
        "tfidf": stats.Interval(-0.17, -0.39, 0.05, 3),
        "lsa": stats.Interval(-0.14, -0.2, -0.08, 3),
    }
    given = verdict.grade(gaps)
    assert given == "did_not_help"
    said = verdict.sentence(given, "probe", gaps, {})
    assert "LSA + LR beats linear probe by 14.0 points (95 % interval 8.0 to 20.0)" in said


def test_one_draw_claims_nothing():
    found = verdict.judge(planted(4.0, 0, draws=1))
    assert found["grade"] == "no_clear_difference"
    assert "from scratch, of which only one draw was made" in found["verdict"]


def without(evidence: verdict.Evidence, *keys: verdict.Key) -> verdict.Evidence:
    """Leave rows out, as a time limit does."""
    rows = {key: row for key, row in evidence.rows.items() if key not in keys}
    return verdict.Evidence(rows, {key: evidence.scores[key] for key in rows}, 0)


def test_a_count_with_one_draw_does_not_undo_what_the_others_tell():
    last = [("scratch", 500, draw) for draw in range(1, 5)]
    part = verdict.difference(without(planted(4.0, 0), *last), "probe", "scratch")
    whole = verdict.difference(
        without(planted(4.0, 0), *last, ("scratch", 500, 0)), "probe", "scratch"
    )
    assert part is not None
    assert part == whole
    assert part.low is not None
    assert part.low > 0


def test_what_is_unclear_is_named_not_what_was_beaten():
    near, far = planted(1.0, 1), planted(8.0, 1)
    rename = {"scratch": "untrained", "probe": "probe"}
    scores = {**far.scores}
    rows = {**far.rows}
    for name, count, draw in near.scores:
        if name == "scratch":  # a rival as good as ours, less by chance
            key = (rename[name], count, draw)
            scores[key] = far.scores["probe", count, draw]
            rows[key] = near.rows[name, count, draw]
    found = verdict.judge(verdict.Evidence(rows, scores, 0))
    assert found["grade"] == "no_clear_difference"
    assert "untrained + LR" in found["verdict"]
    assert "from scratch" not in found["verdict"]


def test_draws_are_balanced_nested_and_repeatable():
    y = np.arange(300) % 3
    pool = np.arange(30, 300)
    few = label_curve.draw(y, pool, 5, 2, seed=7)
    many = label_curve.draw(y, pool, 20, 2, seed=7)
    assert np.bincount(y[few]).tolist() == [5, 5, 5]
    assert set(few) <= set(many)
    assert set(many) <= set(pool)
    assert (few == label_curve.draw(y, pool, 5, 2, seed=7)).all()
    assert set(few) != set(label_curve.draw(y, pool, 5, 3, seed=7))


def test_held_out_part_is_stratified_and_keeps_groups():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    group = rng.integers(0, 40, 200).astype(str)
    out = label_curve.hold_out(y, 0.25, 200, 0, group)
    assert 0.2 < out.mean() < 0.4
    assert not set(group[out]) & set(group[~out])
    assert set(y[out]) == set(y[~out]) == {0, 1, 2}
    assert label_curve.hold_out(np.array([0, 1, 1]), 0.2, 3, 0).tolist()[0] is False
    nobody = np.full(len(y), "", dtype=np.str_)  # samples of no group are not one group
    alone = label_curve.hold_out(y, 0.25, 200, 0, nobody)
    assert (alone == label_curve.hold_out(y, 0.25, 200, 0)).all()
    assert label_curve.hold_out(y, 0.5, 30, 0).sum() == pytest.approx(30, abs=2)


@pytest.mark.parametrize("seed", range(8))
def test_a_group_that_holds_the_whole_of_a_class_is_not_held_out(seed):
    y = np.array([0, 1] * 30 + [2, 2, 2, 0])  # the last patient alone has the rare finding
    group = np.array([f"patient {row // 4}" for row in range(60)] + ["rare"] * 4)
    out = label_curve.hold_out(y, 0.4, 64, seed, group)
    assert {0, 1, 2} <= set(y[~out])
    assert 0.2 < out.mean() < 0.6
