"""What the outputs of a kept network mean, by the form of the labels that it learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from unlabeled.errors import UsageError
from unlabeled.transfer import ordinal

TASKS = ("single", "multi", "ordinal", "regression")


@dataclass(frozen=True)
class Meaning:
    """How outputs are read.

    Args:
        task: one of `TASKS`.
        classes: names of classes, labels or grades; none where outputs are numbers.
        scale: what a number's output is multiplied with, where the head could not take it up.
        mean: what is then added.
    """

    task: str
    classes: tuple[str, ...]
    scale: float = 1.0
    mean: float = 0.0

    @staticmethod
    def of_record(record: Mapping[str, Any]) -> Meaning:
        """Return what a ``classes.json`` says; older ones are of one class a sample."""
        names = tuple(str(name) for name in record.get("classes", ()))
        task = str(record.get("task", "single"))
        scale, mean = float(record.get("scale", 1.0)), float(record.get("mean", 0.0))
        return Meaning(task, names, scale, mean)

    def chances(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities, (N, K): of each class or grade, or of each label by itself.

        Raises:
            UsageError: outputs are numbers.
        """
        if self.task == "regression":
            raise UsageError("A number has no probabilities. Ask for predictions instead.")
        if self.task == "single":
            return np.asarray(softmax(logits, axis=1), np.float32)
        above: NDArray[np.float64] = expit(logits.astype(np.float64))
        if self.task == "multi":
            return above.astype(np.float32)
        # Each step may turn its own way, so that what is above a grade may seem above the next.
        edges = np.pad(np.minimum.accumulate(above, axis=1), ((0, 0), (1, 1)))
        edges[:, 0] = 1
        return np.asarray(-np.diff(edges, axis=1), np.float32)

    def predict(self, logits: NDArray[np.float32]) -> list[Any]:
        """Return of each sample its class or grade, its list of labels, or its number."""
        if self.task == "regression":
            return [float(x) for x in logits[:, 0].astype(np.float64) * self.scale + self.mean]
        if self.task == "multi":
            return [
                [name for name, x in zip(self.classes, row, strict=True) if x > 0] for row in logits
            ]
        if self.task == "ordinal":
            return [self.classes[grade] for grade in ordinal.decide(logits)]
        return [self.classes[int(place)] for place in logits.argmax(axis=1)]

    def header(self, column: str = "") -> list[str]:
        """Return the columns of a table of predictions, beside the samples' names.

        Args:
            column: of the labels that were learned, where there are several; else the first is
                called ``label``, as `evaluate` reads it back.
        """
        others = {"multi": [f"p_{name}" for name in self.classes], "regression": []}
        beside = others.get(self.task, ["score"])
        return [column, *(f"{column}_{name}" for name in beside)] if column else ["label", *beside]

    def cells(self, logits: NDArray[np.float32]) -> list[list[str]]:
        """Return the rows of a table of predictions: a label, and how likely it is."""
        said = self.predict(logits)
        if self.task == "regression":
            return [[f"{x:.6g}"] for x in said]
        chances = self.chances(logits)
        if self.task == "multi":
            return [
                ["|".join(labels), *(f"{x:.4f}" for x in row)]
                for labels, row in zip(said, chances, strict=True)
            ]
        place = {name: i for i, name in enumerate(self.classes)}
        return [
            [label, f"{row[place[label]]:.4f}"] for label, row in zip(said, chances, strict=True)
        ]
