"""A study's material where features are given and no sample is read."""

from __future__ import annotations

import numpy as np

from unlabeled.transfer.material import Material


def known_of(y: np.ndarray, y_test: np.ndarray, checked: int) -> Material:
    """Return material whose first `checked` samples validate and whose others may be drawn."""
    rows = np.arange(len(y))
    names = [str(i) for i in range(int(y.max()) + 1)]
    return Material(None, y, rows[checked:], rows[:checked], None, y_test, None, names)
