"""Same or different: how well a score of pairs tells, and who is drawn together for intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unlabeled import rng
from unlabeled.transfer.detection import at_thresholds

Floats = NDArray[np.float64]
_TRIES = 64


def equal_error(
    scores: NDArray[np.floating], same: NDArray[np.bool_], weights: NDArray[np.float32]
) -> Floats:
    """Return the rate at which as many of the same are refused as of the others accepted, (R,).

    Where both rates cross between two thresholds, the straight line between them decides, so that
    scores that are all equal err in half of the pairs.

    Args:
        scores: (P,), high where a pair seems to be the same.
        same: (P,) whether it is.
        weights: (R, P) how often a copy of the test part has each pair.

    >>> equal_error(np.ones(4), np.array([1, 0, 1, 0], bool), np.ones((1, 4), np.float32))
    array([0.5])
    """
    good, bad = at_thresholds(scores, same, weights)  # (R, T) each, highest score first
    start = np.zeros((len(weights), 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        refused = 1 - np.hstack([start, good.cumsum(1)]) / good.sum(1, keepdims=True)
        accepted = np.hstack([start, bad.cumsum(1)]) / bad.sum(1, keepdims=True)
        after = (accepted >= refused).argmax(1)[:, None]  # never 0: there all are refused
        before = np.maximum(after - 1, 0)
        r, a = (np.take_along_axis(x, before, 1)[:, 0] for x in (refused, accepted))
        r2, a2 = (np.take_along_axis(x, after, 1)[:, 0] for x in (refused, accepted))
        part = (r - a) / ((r - a) + (a2 - r2))
        found: Floats = r + part * (r2 - r)
    return found


def threshold(scores: NDArray[np.floating], same: NDArray[np.bool_]) -> float:
    """Return the score from which on pairs are called the same, where balanced accuracy is best.

    It lies in the middle between two scores; of several that are equally good the middle one is
    taken.

    >>> threshold(np.array([0.1, 0.2, 0.6, 0.9]), np.array([0, 0, 1, 1], bool))
    0.4
    """
    good, bad = (
        x[0] for x in at_thresholds(scores, same, np.ones((1, len(same)), np.float32))
    )  # fmt: skip
    values = np.unique(scores)[::-1]
    right = np.append(0, good.cumsum()) / good.sum() + 1 - np.append(0, bad.cumsum()) / bad.sum()
    ends = np.concatenate([[values[0] + 1], values, [values[-1] - 1]])
    places = np.flatnonzero(right >= right.max() - 1e-12)
    place = int(places[(len(places) - 1) // 2])
    return float((ends[place] + ends[place + 1]) / 2)


def accuracy(
    scores: NDArray[np.floating],
    same: NDArray[np.bool_],
    weights: NDArray[np.float32],
    limit: float,
) -> Floats:
    """Return the mean of the shares of the same and of the others that are called right, (R,).

    That is accuracy where there are as many of one kind as of the other.
    """
    right = (scores > limit) == same
    shares = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for kind in (same, ~same):
            shares.append((weights @ (right & kind)) / (weights @ kind))
    return np.asarray(np.mean(shares, axis=0), np.float64)


def pair_weights(
    a: NDArray[np.int64], b: NDArray[np.int64], units: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return how often each pair occurs when units are drawn again, (R, P).

    A pair of two units occurs as often as the product of their counts, one inside a unit as often
    as the unit (Snijders & Borgatti 1999, Connections 22(2):161-170): pairs that share a speaker
    are no independent witnesses.

    Args:
        a: (P,) units of one side.
        b: (P,) units of the other.
        units: (R, U) how often each unit was drawn.
    """
    return np.where(a == b, units[:, a], units[:, a] * units[:, b])


def halves(
    a: NDArray[np.int64], b: NDArray[np.int64], same: NDArray[np.bool_], count: int, seed: int
) -> NDArray[np.bool_] | None:
    """Return which units score, so that most pairs of the rarer kind lie whole on each side.

    Args:
        a: (P,) units of one side.
        b: (P,) units of the other.
        same: (P,) whether a pair is the same.
        count: U.
        seed: of the ways to halve that are tried; only pairs are counted, no score is seen.

    Returns:
        (U,) mask; None where no way leaves both kinds of pairs on both sides.
    """
    best, found = 0, None
    for turn in range(_TRIES):
        side = np.zeros(count, bool)
        side[rng.generator(rng.mix(seed, 0x5A, turn)).permutation(count)[: count // 2]] = True
        kept = [
            int((kind & (side[a] == one) & (side[b] == one)).sum())
            for one in (True, False)
            for kind in (same, ~same)
        ]
        if min(kept) > best:
            best, found = min(kept), side
    return found
