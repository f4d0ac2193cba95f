"""Are suggested labels worth more than random ones? Label curves of both, on real features.

    python bench/suggest.py RUN --train TABLE --test TABLE --budgets 10,20,50,100,200,500

Each repetition takes another random part of the training table as the unlabelled pool. Labels are
asked for in rounds: each budget is reached from the one before. The linear probe of a study is fit
on the labels that were chosen (no class is balanced, none is known before), and scored on the test
table. Printed is the mean accuracy of each way, and its gain over random choice in the same pool
with a 95 % interval over repetitions. ``spread`` stands
here alone, because it was not worth it: always the farthest from all labels (k-centre greedy; Sener
and Savarese, 2018, arXiv:1708.00489).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from unlabeled.api import Encoder
from unlabeled.data.find import find
from unlabeled.data.labels import read_labelled
from unlabeled.transfer import probe
from unlabeled.transfer.features import Inputs, of_inputs
from unlabeled.transfer.suggest import Known, at_random, doubtful, typical

FIRST = 20
"""Labels below which nothing can be doubted yet: the first are typical ones."""


def spread(known: Known, count: int, seed: int) -> NDArray[np.int64]:
    """Choose by k-centre greedy."""
    x, labelled = known.unit, known.labelled.copy()
    near = np.full(len(x), np.inf, np.float32)
    for row in np.flatnonzero(labelled):
        near = np.minimum(near, distances(x[row], x))
    rows: list[int] = []
    for _ in range(count):
        first = np.isinf(near).all()
        row = int(
            distances(x.mean(0), x).argmin() if first else np.where(labelled, -1, near).argmax()
        )
        rows.append(row)
        labelled[row] = True
        near = np.minimum(near, distances(x[row], x))
    return np.array(rows, np.int64)


def distances(one: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return distances of one vector to unit vectors, (N,)."""
    return np.sqrt(np.maximum(1 + one @ one - 2 * (x @ one), 0))


def doubt(known: Known, count: int, seed: int) -> NDArray[np.int64]:
    """Choose typical samples first, doubtful ones after."""
    way = doubtful if known.labelled.sum() >= FIRST and known.classes > 1 else typical
    return way(known, count, seed)


WAYS: dict[str, Callable[[Known, int, int], NDArray[np.int64]]] = {
    "random": at_random,
    "typical": typical,
    "doubtful": doubt,
    "spread": spread,
}


def read(
    encoder: Encoder, path: str, labels_of: str | None, most: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return features (N, D) and classes (N,) of up to `most` labelled samples."""
    source, labels = read_labelled(labels_of or path, find(path, encoder.kind), table=path)
    if len(labels) > most:
        labels = labels.take(np.sort(np.random.default_rng(0).permutation(len(labels))[:most]))
    inputs = Inputs(source, labels.indices, encoder.modality, encoder.length)
    kept = np.isin(labels.indices, inputs.indices)
    return of_inputs(encoder.network, inputs), labels.y[kept]


def score(both: tuple[NDArray, ...], x: NDArray, y: NDArray, rows: NDArray[np.int64]) -> float:
    """Return the accuracy of the linear probe of some labels on the test table."""
    scaler = probe.Scaler.fit(x)
    known, seen = np.unique(y[rows], return_inverse=True)
    fitted = probe.fit(scaler(x[rows]), seen.astype(np.int64), len(known), 0)
    return float((known[fitted.predict(scaler(both[2]))] == both[3]).mean())


def repetition(both: tuple[NDArray, ...], budgets: list[int], size: int, seed: int) -> NDArray:
    """Return the accuracy of each way at each budget, (W, B), in one random pool."""
    pool = np.random.default_rng(seed).permutation(len(both[0]))[:size]
    x, y = both[0][pool], both[1][pool]
    found = np.zeros((len(WAYS), len(budgets)))
    for i, way in enumerate(WAYS.values()):
        labelled = np.zeros(len(x), bool)
        for j, budget in enumerate(budgets):
            labelled[way(Known(x, labelled, y), budget - int(labelled.sum()), seed)] = True
            found[i, j] = score(both, x, y, np.flatnonzero(labelled))
    return found


def main() -> None:
    """Print the curves."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--train", required=True)
    parser.add_argument("--labels", help="labels of --train, where they are in another file")
    parser.add_argument("--test", required=True)
    parser.add_argument("--budgets", default="10,20,50,100,200,500")
    parser.add_argument("--size", type=int, default=3000, help="samples of a pool")
    parser.add_argument("--most", type=int, default=8000, help="samples that are read")
    parser.add_argument("--repetitions", type=int, default=10)
    given = parser.parse_args()
    budgets = [int(word) for word in given.budgets.split(",")]
    encoder = Encoder.from_pretrained(given.run)
    train = read(encoder, given.train, given.labels, given.most)
    both = (*train, *read(encoder, given.test, None, 2000))
    runs = [repetition(both, budgets, given.size, seed) for seed in range(given.repetitions)]
    found = np.stack(runs)  # (R, W, B)
    gain = found - found[:, :1]
    half = stats.t.ppf(0.975, len(found) - 1) * gain.std(0, ddof=1) / np.sqrt(len(found))
    print("labels   ", "  ".join(f"{b:>18}" for b in budgets))
    for i, way in enumerate(WAYS):
        cells = [
            f"{found[:, i, j].mean():.3f} {gain[:, i, j].mean():+.3f} ±{half[i, j]:.3f}"
            for j in range(len(budgets))
        ]
        print(f"{way:<9}", "  ".join(f"{cell:>18}" for cell in cells))


if __name__ == "__main__":
    main()
