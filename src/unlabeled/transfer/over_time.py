"""What the kept checkpoints of a run are worth: features in the course of training.

Pre-training knows no labels, so nearest neighbours are asked here, after it. Checkpoints of several
moments are there where a run was told to keep them (``loop.save_steps``, ``loop.keep``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled import checkpoint, rng
from unlabeled.errors import DataError
from unlabeled.transfer import knn, quality
from unlabeled.transfer.features import of_inputs
from unlabeled.transfer.metrics import accuracy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unlabeled.runs import Run
    from unlabeled.transfer.material import Material

LEAST, MOST = 3, 8
"""Checkpoints below which nothing is asked (a run keeps two unless told), and most of them."""
MOST_SAMPLES = 1000
"""Labelled ones, and as many of the test part."""


def chosen(folder: Path) -> list[Path]:
    """Return the checkpoints that are looked at: evenly spaced, the first and the last among them.

    Args:
        folder: RUN/checkpoints.
    """
    found = checkpoint.steps(folder)
    if len(found) < LEAST:
        return []
    places = np.linspace(0, len(found) - 1, min(MOST, len(found))).round().astype(int)
    return [found[place] for place in places]


def measure(run: Run, material: Material, counts: Sequence[int], seed: int) -> list[dict[str, Any]]:
    """Return k-NN accuracy, RankMe and uniformity at each moment; empty with few checkpoints.

    Args:
        run: whose checkpoints they are; one that is damaged is told in the notes.
        material: the samples; k-NN needs one class each.
        counts: labels per class of the study, of which the most that 1,000 samples hold are used.
        seed: of the study; its first draw is taken.
    """
    fitting = [c for c in counts if c * len(material.classes) <= MOST_SAMPLES] or list(counts[:1])
    rows = material.drawn(fitting[-1], 0, seed)
    order = rng.generator(rng.mix(seed, len(material.test), 0x71E)).permutation(len(material.test))
    asked = np.sort(order[:MOST_SAMPLES])
    found = []
    for path in chosen(run.folder / "checkpoints"):
        try:
            saved = checkpoint.read(path)
            encoder = run.method(saved).exported()
        except DataError as error:
            material.notes.append(f"Left out of what k-NN says over time: {error}")
            continue
        test = of_inputs(encoder, material.test, rows=asked)
        one: dict[str, Any] = {"step": saved.step, "knn": None, "labels_per_class": None}
        if material.task == "single":
            train = of_inputs(encoder, material.train, rows=rows)
            one["knn"] = round(_nearest(material, train, rows, test, asked), 4)
            one["labels_per_class"] = fitting[-1]
        one["rankme"] = round(quality.rankme(test), 4)
        one["uniformity"] = round(quality.uniformity(test), 4)
        found.append(one)
    return found


def _nearest(
    material: Material,
    train: NDArray[np.float32],
    rows: NDArray[np.int64],
    test: NDArray[np.float32],
    asked: NDArray[np.int64],
) -> float:
    """Return the accuracy of nearest neighbours; k is chosen among the labelled samples."""
    y, num_classes = material.y[rows], len(material.classes)
    k = knn.choose_k(train, y, num_classes)
    said = knn.predict(train, y, test, num_classes, k)
    return accuracy(said, material.y_test[asked])
