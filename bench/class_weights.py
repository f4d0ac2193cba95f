"""Does it pay to weigh rare classes like common ones, when labels are as unbalanced as the world?

    python bench/class_weights.py RUN --labels FILE [--draws 20]

Labels are drawn so that class sizes fall evenly on the log scale from the most common class to the
rarest, which class is which changing with the draw; the test part is all other labelled samples,
thinned to the same proportions. The linear probe of frozen features is fitted three times on the
same labels: without weights, with balanced ones, and with what is chosen inside the labels (what
`evaluate` and `finetune --frozen` do). Printed are macro F1, balanced accuracy and accuracy, means
over draws, and the paired differences from no weights with 95 % t-intervals.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from unlabeled import rng
from unlabeled.api import Encoder
from unlabeled.data.labels import read_labelled
from unlabeled.runs import Run
from unlabeled.transfer import metrics, probe

WAYS = {"none": "none", "balanced": "balanced", "chosen": None}
RATIOS, LARGEST = (4, 10, 50), (20, 200)


def long_tail(
    y: NDArray[np.int64], largest: int, ratio: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows to learn from and rows to score on, of the same proportions of classes."""
    drawn, classes = rng.generator(seed), int(y.max()) + 1
    share = ratio ** (-np.arange(classes) / (classes - 1))
    train, test = [], []
    rest = min(np.bincount(y)) - largest
    for label, part in zip(drawn.permutation(classes), share, strict=True):
        rows = drawn.permutation(np.flatnonzero(y == label))
        count = max(1, round(largest * part))
        train.append(rows[:count])
        test.append(rows[count : count + max(1, round(rest * part))])
    return np.concatenate(train), np.concatenate(test)


def scores(
    x: NDArray[np.float32], y: NDArray[np.int64], largest: int, ratio: int, seed: int
) -> NDArray[np.float64]:
    """Return macro F1, balanced accuracy and accuracy of each weighting, (3, 3)."""
    train, test = long_tail(y, largest, ratio, seed)
    scaler, classes = probe.Scaler.fit(x[train]), int(y.max()) + 1
    rows = []
    for way in WAYS.values():
        fitted = probe.fit(scaler(x[train]), y[train], classes, seed, way)
        said = fitted.predict(scaler(x[test]))
        rows.append(
            (
                metrics.macro_f1(said, y[test], classes),
                metrics.balanced_accuracy(said, y[test]),
                metrics.accuracy(said, y[test]),
            )
        )
    return np.array(rows)


def main() -> None:
    """Print a line for each size, ratio and weighting."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--labels", required=True)
    parser.add_argument("--draws", type=int, default=20)
    asked = parser.parse_args()
    run = Run.open(asked.run)
    source, labels = read_labelled(asked.labels, run.source(), table=run.config.data.path)
    encoder = Encoder.from_pretrained(asked.run)
    x = encoder.features([source.payload(int(i)) for i in labels.indices])
    print("largest class, ratio: weighting  macro F1  balanced accuracy  accuracy")
    for largest in LARGEST:
        for ratio in RATIOS:
            every = [scores(x, labels.y, largest, ratio, seed) for seed in range(asked.draws)]
            found = np.stack(every)  # (draws, weightings, scores)
            wide = stats.t.ppf(0.975, asked.draws - 1) / np.sqrt(asked.draws)
            for place, way in enumerate(WAYS):
                told = "  ".join(f"{value:.3f}" for value in found[:, place].mean(axis=0))
                gaps = found[:, place] - found[:, 0]
                ends = "  ".join(
                    f"{gap:+.3f} ±{wide * spread:.3f}"
                    for gap, spread in zip(gaps.mean(0), gaps.std(0, ddof=1), strict=True)
                )
                print(f"{largest}, {ratio}: {way:9} {told}" + (f"   ({ends})" if place else ""))


if __name__ == "__main__":
    main()
