"""A figure with its interval, and ours beside the best of the others, in copies of the test part.

A copy weighs the samples of the test part anew (see `stats.item_weights`); the first of all copies
is the test part itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Name = TypeVar("Name", bound=Hashable)


def interval(copies: Floats) -> tuple[float, float]:
    """Return the 95 % interval of a figure, (R,); copies without one (NaN) are left out."""
    low, high = np.nanquantile(copies[1:], (0.025, 0.975))
    return float(low), float(high)


def spanned(name: str, copies: Floats) -> dict[str, float]:
    """Return a figure with its 95 % interval over copies, (R,), as fields of a row."""
    low, high = interval(copies)
    return {name: float(copies[0]), f"{name}_low": low, f"{name}_high": high}


def compared(ours: Floats, others: Mapping[Name, Floats]) -> tuple[Name, dict[str, float]]:
    """Compare a figure of ours with the best of the others, in every copy of the test part.

    The rival is the best on the test part, which favours it.

    Args:
        ours: (R,).
        others: by name, (R,).

    Returns:
        The name of the rival; and how much ours is above it, with the 95 % interval.
    """
    rival = max(others, key=lambda name: float(others[name][0]))
    gain = ours - others[rival]
    low, high = interval(gain)
    return rival, {"gain": float(gain[0]), "low": low, "high": high}


def sentence(ours: str, rival: str, found: Mapping[str, float]) -> str:
    """Say how far ours is above or below the best of the others.

    >>> sentence("AUROC 0.900", "PCA", {"gain": -0.02, "low": -0.05, "high": 0.01})[:51]
    'AUROC 0.900, 0.020 below the best of the others (PC'
    """
    word = "above" if found["gain"] >= 0 else "below"
    sure = "" if found["low"] > 0 or found["high"] < 0 else ": not told apart"
    return (
        f"{ours}, {abs(found['gain']):.3f} {word} the best of the others ({rival}; 95 % interval "
        f"of the difference {found['low']:+.3f} to {found['high']:+.3f}){sure}"
    )
