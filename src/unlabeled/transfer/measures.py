"""What is measured of features without labels: names, and which way is better."""

from __future__ import annotations

WORDS = {
    "rankme": "RankMe: directions in use; more is better",
    "alpha": "alpha-ReQ: decay of the spectrum; close to 1 is better",
    "lidar": "LiDAR: directions that tell samples apart across their views; more is better",
    "learnability": "cluster learnability: how well neighbours tell the clusters; more is better",
    "alignment": (
        "alignment: mean squared distance of two views of one sample, features having length 1; "
        "less is better, though features that are all alike have 0"
    ),
    "uniformity": (
        "uniformity: logarithm of the mean of exp(-2 d\u00b2), d the distance of two samples, "
        "features having length 1; less is better: 0 is all alike, -4 about evenly spread"
    ),
}
LESS_IS_BETTER = ("loss", "alignment", "uniformity")


def worth(name: str, value: float) -> float:
    """Return a measure so that more is better: alpha by its distance from 1, losses turned.

    >>> worth("alpha", 1.25), worth("loss", 2.0), worth("rankme", 3.0)
    (-0.25, -2.0, 3.0)
    """
    if name == "alpha":
        return -abs(value - 1)
    return -value if name in LESS_IS_BETTER else value
