"""Labels that are likely wrong: confident learning on what a linear probe says out of sample.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021,
arXiv:1911.00068: how often a class is taken for another where the answer is surer than usual for
that class says how many labels are wrong, and the least believed of those are named. The counting
is cleanlab's; the answers are those of a probe on frozen features that never saw the sample, nor a
near-duplicate of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from unlabeled import rng
from unlabeled.errors import UsageError
from unlabeled.transfer import probe

FOLDS = 5
"""Parts that are answered by a probe of the others; classes with fewer labels are not judged."""
PLANTED = 0.05
"""Share of labels that are made wrong on purpose, to see whether such are found."""

LIFT = 3.0
"""How much oftener a label made wrong must be named than any label is, to name labels at all."""
_ONE_FOLD_ABOVE = 2000

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class WrongLabels:
    """What was found.

    Args:
        rows: (n,) of the labels that are likely wrong, the least believed first.
        likely: (n,) the class that the probe gives instead.
        given: (n,) the chance that the probe gives to the label.
        instead: (n,) the chance of the likely class.
        accuracy: share of labels that the probe agrees with out of sample.
        recall: share found of `PLANTED` labels that were made wrong on purpose.
        flagged: share of all labels that were named then, which is what chance would find.
    """

    rows: Rows
    likely: Rows
    given: NDArray[np.float64]
    instead: NDArray[np.float64]
    accuracy: float
    recall: float
    flagged: float

    @property
    def trusted(self) -> bool:
        """Return whether wrong labels are named often enough more than others to be shown."""
        return self.recall >= LIFT * self.flagged


def check() -> None:
    """Refuse where cleanlab is missing.

    Raises:
        UsageError: says how to install it.
    """
    try:
        import cleanlab  # noqa: F401
    except ImportError:
        raise UsageError(
            "Finding wrong labels needs the package cleanlab: pip install 'unlabeled[inspect]'. "
            "Without --labels, copies and outliers are found without it."
        ) from None


def find(
    features: NDArray[np.float32], y: Rows, num_classes: int, groups: Rows, seed: int = 0
) -> WrongLabels:
    """Find labels that are likely wrong, and try on planted ones how well that works here.

    Args:
        features: (N, D).
        y: (N,) classes, each of at least `FOLDS` samples.
        num_classes: K.
        groups: (N,) samples of one group are never on both sides of a fold.
        seed: of the folds and of what is planted.
    """
    scaled = probe.Scaler.fit(features)(features)
    out = folds(y, groups, seed)
    penalty = choose_penalty(scaled, y, num_classes, out)
    chances = answers(scaled, y, num_classes, out, penalty)
    rows = suspects(y, chances)
    spoilt, planted = plant(y, num_classes, PLANTED, seed)
    named = suspects(spoilt, answers(scaled, spoilt, num_classes, out, penalty))
    return WrongLabels(
        rows,
        chances[rows].argmax(axis=1),
        chances[rows, y[rows]],
        chances[rows].max(axis=1),
        accuracy=float((chances.argmax(axis=1) == y).mean()),
        recall=float(planted[named].sum() / max(1, planted.sum())),
        flagged=len(named) / len(y),
    )


def choose_penalty(
    scaled: NDArray[np.float32], y: Rows, num_classes: int, out: list[NDArray[np.bool_]]
) -> float:
    """Return the L2 penalty under which samples left out are likeliest, since chances count."""
    tried = out if len(y) <= _ONE_FOLD_ABOVE else out[:1]
    penalties = np.tile(np.array(probe.PENALTIES), len(tried))
    kept = np.repeat(~np.stack(tried), len(probe.PENALTIES), axis=0).astype(np.float32)
    fits = probe.solve(scaled, y, num_classes, penalties, kept, max_steps=200, tolerance=1e-3)
    gained = np.zeros(len(probe.PENALTIES))
    for j, (weight, bias) in enumerate(zip(*fits, strict=True)):
        mask = tried[j // len(gained)]
        chance = softmax(scaled[mask] @ weight + bias, axis=1)[np.arange(mask.sum()), y[mask]]
        gained[j % len(gained)] += np.log(np.maximum(chance, 1e-12)).sum()
    return probe.PENALTIES[int(gained.argmax())]


def answers(
    scaled: NDArray[np.float32],
    y: Rows,
    num_classes: int,
    out: list[NDArray[np.bool_]],
    penalty: float,
) -> NDArray[np.float64]:
    """Return the chance of each class by probes that did not see the sample, (N, K).

    Args:
        scaled: (N, D), by `probe.Scaler`.
        y: (N,) classes.
        num_classes: K.
        out: (N,) masks of the rows that each probe does not see.
        penalty: of the weights of all of them.
    """
    kept = (~np.stack(out)).astype(np.float32)
    fits = probe.solve(scaled, y, num_classes, np.full(len(out), penalty), kept)
    found = np.zeros((len(y), num_classes))
    for mask, weight, bias in zip(out, *fits, strict=True):
        found[mask] = softmax(scaled[mask] @ weight + bias, axis=1)
    return found


def folds(y: Rows, groups: Rows, seed: int) -> list[NDArray[np.bool_]]:
    """Return masks of the rows left out, whole groups at a time, classes about as in all."""
    from sklearn.model_selection import StratifiedGroupKFold

    count = min(FOLDS, len(np.unique(groups)))
    if count < 2:
        raise UsageError(
            "All labelled samples are of one group or copies of one another; wrong labels cannot "
            "be told."
        )
    cut = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    found = []
    for _, out in cut.split(np.zeros(len(y)), y, groups):
        mask = np.zeros(len(y), bool)
        mask[out] = True
        found.append(mask)
    return found


def suspects(y: Rows, chances: NDArray[np.float64]) -> Rows:
    """Return which labels are likely wrong, the least believed first, (n,)."""
    from cleanlab.filter import find_label_issues

    found = find_label_issues(y, chances, return_indices_ranked_by="self_confidence", n_jobs=1)
    return np.asarray(found, np.int64)


def plant(y: Rows, num_classes: int, share: float, seed: int) -> tuple[Rows, NDArray[np.bool_]]:
    """Make some labels wrong, each by another class at random.

    Returns:
        The labels, (N,), and which are wrong, (N,).
    """
    draws = rng.generator(rng.mix(seed, 0xBAD))
    wrong = np.zeros(len(y), bool)
    wrong[draws.permutation(len(y))[: round(share * len(y))]] = True
    away = draws.integers(1, num_classes, size=len(y))
    return np.where(wrong, (y + away) % num_classes, y), wrong
