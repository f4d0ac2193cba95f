"""The study in worlds whose answer is known; `bench/study.py` does it a hundred times."""

import pytest
from bench import study


@pytest.mark.slow
def test_a_planted_saving_is_inside_its_interval_and_nothing_is_claimed_of_noise():
    tallies = study.coverage(100, "knn", 60)
    for at in (1, 5, 10, 50):
        assert tallies[at].held >= 90, at
    for arm in ("noise", "all"):
        assert study.claims(100, {"knn": arm, "scratch": arm}, "knn") <= 5
