"""What an encoder and plain features know together, where each knows half."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from tests.transfer.given import known_of
from unlabeled.transfer import targets
from unlabeled.transfer.arms import ARMS, OURS, RIVALS
from unlabeled.transfer.baselines import Plain
from unlabeled.transfer.joined import Joined, beside
from unlabeled.transfer.readings import Frozen


def halves(count: int, seed: int):
    """Return features of two bits, one each, and their four classes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(4, size=count)
    noise = rng.normal(size=(2, count, 5)).astype(np.float32)
    noise[0, :, 0] += 3 * (y % 2)
    noise[1, :, 0] += 3 * (y // 2)
    return noise[0], noise[1] * 100, y  # in other units, which must not matter


@pytest.fixture
def parts():
    a, b, y = halves(400, 0)
    c, d, y_test = halves(500, 1)
    known = known_of(y, y_test, checked=100)
    noise = np.random.default_rng(2).normal(size=(900, 5)).astype(np.float32)
    ours = Frozen(known, lambda: Plain(a, c, whiten=True))
    plain = {
        "chance": Frozen(known, lambda: Plain(noise[:400], noise[400:], whiten=True)),
        "other": Frozen(known, lambda: Plain(b, d, whiten=True)),
    }
    return known, ours, plain, y_test


def test_joined_features_know_what_both_know(parts):
    known, ours, plain, y_test = parts
    rows = known.pool[:80]
    alone = (ours.probe(rows, 20, 0).test == y_test).mean()
    found = Joined(known, ours, plain)(rows, 20, 0)
    assert alone < 0.55
    assert (found.test == y_test).mean() > 0.8
    assert found.choices["with"] == "other"


def test_blocks_are_of_equal_size_whatever_their_units(parts):
    _, ours, plain, _ = parts
    both = beside(ours, plain["other"])
    size = np.square(both.train).mean(axis=0)
    assert both.train.shape == (400, 10)
    assert np.isclose(size[:5].sum(), size[5:].sum(), rtol=1e-4)


def test_sparse_features_join_without_being_filled_in(parts):
    known, ours, plain, y_test = parts
    positive = {part: np.maximum(getattr(plain["other"].features, part), 0) / 500
                for part in ("train", "test")}  # fmt: skip
    sparse = Frozen(known, lambda: Plain(*(csr_matrix(x) for x in positive.values())))
    both = beside(ours, sparse)
    assert both.train.format == "csr"
    assert both.train.shape == (400, 10)
    found = Joined(known, ours, {"tfidf": sparse})(known.pool[:80], 20, 0)
    assert (found.test == y_test).mean() > 0.7


def test_numbers_are_read_by_ridge(parts):
    known, ours, plain, y_test = parts
    known.targets, known.task = known.y.astype(np.float32), "regression"
    found = Joined(known, ours, plain)(known.pool, 75, 0)
    assert targets.score(found.test, y_test.astype(np.float32), "r2") > 0.6
    assert found.choices["with"] == "other"


def test_the_choice_is_made_on_validation_and_not_on_test(parts):
    known, ours, plain, _ = parts
    before = Joined(known, ours, plain)(known.pool[:40], 10, 0)
    known.y_test = np.zeros_like(known.y_test)
    assert Joined(known, ours, plain)(known.pool[:40], 10, 0).choices == before.choices


def test_the_table_says_who_is_judged_and_why():
    assert {"knn", "probe", "joined", "finetune"} <= set(OURS)
    assert {"scratch", "untrained", "untrained_joined", "pca"} <= set(RIVALS)
    assert all(arm.how and arm.title for arm in ARMS.values())
