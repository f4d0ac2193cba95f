"""What codes tell of labels, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from unlabeled.transfer.code_quality import tells


def test_it_equals_mutual_information_by_scikit_learn() -> None:
    from sklearn.metrics import homogeneity_score, mutual_info_score

    rng = np.random.default_rng(0)
    label = rng.integers(0, 7, 3000)
    code = np.where(rng.random(3000) < 0.4, 10 + label, rng.integers(0, 30, 3000))
    found = tells(code, label)
    shares = np.bincount(label) / 3000
    whole = -(shares * np.log(shares)).sum()
    assert found["pnmi"] == pytest.approx(mutual_info_score(label, code) / whole, abs=1e-4)
    assert found["pnmi"] == pytest.approx(homogeneity_score(label, code), abs=1e-4)


def test_purities_by_hand() -> None:
    found = tells(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 1]))
    assert found["label_purity"] == pytest.approx((2 + 2 + 1) / 6, abs=1e-4)
    assert found["code_purity"] == pytest.approx((2 + 2) / 6, abs=1e-4)
    assert tells(np.zeros(8, int), np.arange(8) % 2)["pnmi"] == 0.0
