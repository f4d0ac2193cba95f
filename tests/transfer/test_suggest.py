"""Which samples are asked for next: whole groups without a label first, then what is doubtful."""

from __future__ import annotations

import numpy as np
import pytest

from unlabeled.transfer.suggest import WAYS, Known, choose, fitting, typical

SIZES = (60, 40, 30, 20)


@pytest.fixture(scope="module")
def groups():
    """Four clouds far from one another, of different sizes: features (N, D) and their cloud."""
    random = np.random.default_rng(0)
    member = np.repeat(np.arange(4), SIZES)
    x = 10 * np.eye(4, 8)[member] + random.normal(size=(len(member), 8))
    return x.astype(np.float32), member


def test_groups_without_a_label_come_first_and_the_largest_of_them(groups):
    x, member = groups
    labelled = np.zeros(len(x), bool)
    labelled[[0, 1, 100]] = True  # of the first and of the third cloud
    # Seven labels in all, so seven clusters; two of them would be enough to see who is without.
    rows = typical(Known(x, labelled), 4, 0)
    assert {1, 3} <= set(member[rows].tolist())
    none = typical(Known(x, np.zeros(len(x), bool)), 4, 0)
    assert member[none].tolist() == [0, 1, 2, 3]


def test_the_typical_one_is_nearest_to_its_neighbours(groups):
    x, member = groups
    known = Known(x, np.zeros(len(x), bool))
    for row in typical(known, 4, 0):
        of_cloud = np.flatnonzero(member == member[row])
        apart = np.linalg.norm(known.unit[of_cloud][:, None] - known.unit[of_cloud], axis=2)
        near = min(20, len(of_cloud) // 2)
        mean = np.sort(apart, axis=1)[:, 1 : near + 1].mean(axis=1)
        assert of_cloud[mean.argmin()] == row


@pytest.mark.parametrize("way", list(WAYS))
def test_what_is_chosen_has_no_label_and_comes_once(groups, way):
    x, member = groups
    labelled = np.arange(len(x)) % 3 == 0
    rows = choose(Known(x, labelled, member), 70, way)
    assert len(set(rows.tolist())) == 70
    assert not labelled[rows].any()
    assert len(choose(Known(x, labelled, member), 10**6, way)) == (~labelled).sum()
    assert (rows == choose(Known(x, labelled, member), 70, way)).all()


def test_the_doubtful_lie_between_the_classes():
    random = np.random.default_rng(1)
    x = random.normal(size=(600, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    labelled = np.arange(len(x)) < 100
    rows = choose(Known(x, labelled, y), 20, "doubtful")
    others = np.abs(x[~labelled, 0])
    assert np.abs(x[rows, 0]).mean() < 0.4 * others.mean()
    spread = np.linalg.norm(x[rows, 1:] - x[rows, 1:].mean(0), axis=1).mean()
    assert spread > 0.8 * np.linalg.norm(x[:, 1:] - x[:, 1:].mean(0), axis=1).mean()


def test_few_labels_ask_for_typical_ones_and_many_for_doubtful_ones(groups):
    x, member = groups
    assert fitting(Known(x, np.zeros(len(x), bool))) == "typical"
    assert fitting(Known(x, np.arange(len(x)) < 30, member)) == "typical"  # of one class
    labelled = np.zeros(len(x), bool)
    labelled[::4] = True
    assert fitting(Known(x, labelled, member)) == "typical"  # 38 of 4 classes
    labelled[::3] = True
    assert fitting(Known(x, labelled, member)) == "doubtful"
    assert fitting(Known(x, labelled)) == "typical"  # no classes: numbers, several a sample


def test_typical_ones_find_all_classes_where_chance_does_not(groups):
    x, member = groups
    none = Known(x, np.zeros(len(x), bool))
    assert len(set(member[choose(none, 4, "typical")])) == 4
    drawn = [len(set(member[choose(none, 4, "random", seed)])) for seed in range(20)]
    assert np.mean(drawn) < 3.5
