"""What a network is trained on and what its outputs mean, by the form of the labels.

A network has one output a class (single), a label (multi) or a step between grades (ordinal: is
the sample above this grade?), and one for a number, which is trained on standardised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from unlabeled.transfer import metrics, ordinal, targets
from unlabeled.transfer.probe import Probe, class_weights


class Labelled(Protocol):
    """Samples with their labels, whatever the form."""

    y: NDArray[np.int64]
    validation: NDArray[np.int64]
    classes: list[str]
    targets: NDArray[np.float32] | None
    task: str


class Aim(Protocol):
    """What one training is about.

    Attributes:
        wanted: (L, ...) what the outputs of the labelled samples are compared with.
    """

    wanted: NDArray[Any]

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return what is minimised, of outputs (B, K) in fp32 and the part of `wanted`."""

    def guess(self, logits: NDArray[np.float32]) -> NDArray[Any]:
        """Return what outputs mean, as scores compare it."""

    def gain(self, logits: NDArray[np.float32]) -> float:
        """Return how good outputs on the validation part are; the likelihood breaks ties."""


def outputs(task: str, classes: list[str]) -> int:
    """Return how many outputs a network has for a task.

    >>> outputs("ordinal", ["low", "mid", "high"]), outputs("regression", ["0 to 1", "1 to 2"])
    (2, 1)
    """
    return len(output_names(task, classes))


def output_names(task: str, classes: list[str]) -> list[str]:
    """Return what each output is about.

    >>> output_names("ordinal", ["low", "mid", "high"])
    ['above low', 'above mid']
    """
    above = [f"above {name}" for name in classes[:-1]]
    return {"regression": ["value"], "ordinal": above}.get(task, list(classes))


def aim_of(known: Labelled, rows: NDArray[np.int64], balanced: bool = False) -> Aim:
    """Return the aim of a training on some labelled samples.

    Args:
        known: the samples.
        rows: (L,) those that are labelled.
        balanced: whether each class or grade, and both answers about a label, weigh the same.
    """
    return _AIMS.get(known.task, Classes)(known, rows, balanced)


def imbalanced(known: Labelled, rows: NDArray[np.int64]) -> bool:
    """Say whether weights of classes could make a difference (`metrics.IMBALANCE`)."""
    if known.task == "multi" and known.targets is not None:
        weights = targets.positive_weights(known.targets[rows])
        return bool((np.abs(np.log(weights)) > np.log(metrics.IMBALANCE)).any())
    if known.task not in ("single", "ordinal"):
        return False
    return metrics.headline(known.y[rows], len(known.classes)) == "macro_f1"


class Classes:
    """One class a sample: cross-entropy."""

    def __init__(self, known: Labelled, rows: NDArray[np.int64], balanced: bool) -> None:
        self.wanted: NDArray[Any] = known.y[rows]
        self.truth, self.num_classes = known.y[known.validation], len(known.classes)
        self.weights = class_weights(self.wanted, self.num_classes) if balanced else None

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy; each sample by the weight of its class."""
        return functional.cross_entropy(logits, target, _on(self.weights, logits))

    def guess(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the likeliest class."""
        found: NDArray[np.int64] = logits.argmax(axis=1).astype(np.int64)
        return found

    def gain(self, logits: NDArray[np.float32]) -> float:
        """Return accuracy, or macro F1 where classes are imbalanced."""
        y, scaled = self.truth, logits.astype(np.float64)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        likely = scaled[np.arange(len(y)), y] - np.log(np.exp(scaled).sum(axis=1))
        found = metrics.single(self.guess(logits), y, self.num_classes)
        return found + 1e-4 * float(np.exp(likely.mean()))


class Several:
    """Several labels a sample: binary cross-entropy over the cells that are known."""

    def __init__(self, known: Labelled, rows: NDArray[np.int64], balanced: bool) -> None:
        assert known.targets is not None
        self.wanted: NDArray[Any] = known.targets[rows]
        self.truth = known.targets[known.validation]
        self.positive = targets.positive_weights(self.wanted) if balanced else None

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean over known cells; labels that are there by their weight."""
        return targets.loss(logits, target, _on(self.positive, logits))

    def guess(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return 1 where a label is likelier than not."""
        return (logits > 0).astype(np.int64)

    def gain(self, logits: NDArray[np.float32]) -> float:
        """Return F1 over labels."""
        found = targets.score(self.guess(logits), self.truth, "label_f1")
        return found + _tie(targets.loss(*_tensors(logits, self.truth)))


class Grades:
    """A grade a sample: for each step between grades, whether the sample is above it.

    The head begins as the cumulative link model (`ordinal`), whose steps share one direction;
    afterwards each step may turn its own way (Niu et al., 2016, doi:10.1109/CVPR.2016.532).
    """

    def __init__(self, known: Labelled, rows: NDArray[np.int64], balanced: bool) -> None:
        num_grades = len(known.classes)
        self.wanted: NDArray[Any] = ordinal.steps_of(known.y[rows], num_grades)
        self.truth = known.y[known.validation]
        self.steps = ordinal.steps_of(self.truth, num_grades)
        self.weights = class_weights(known.y[rows], num_grades) if balanced else None

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the binary cross-entropy of the steps; each sample by the weight of its grade."""
        weights = _on(self.weights, logits)
        if weights is None:
            return targets.loss(logits, target)
        weight = weights[target.sum(dim=1).long()][:, None]  # (B, 1)
        return functional.binary_cross_entropy_with_logits(logits, target, weight)

    def guess(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the rounded mean grade."""
        return ordinal.decide(logits)

    def gain(self, logits: NDArray[np.float32]) -> float:
        """Return the quadratic-weighted kappa."""
        found = targets.score(self.guess(logits), self.truth, "quadratic_kappa")
        return found + _tie(targets.loss(*_tensors(logits, self.steps)))


class Number:
    """A number a sample, standardised: the squared error.

    Attributes:
        scale: deviation of the labelled samples' numbers, never 0.
        mean: their mean.
    """

    def __init__(self, known: Labelled, rows: NDArray[np.int64], balanced: bool) -> None:
        assert known.targets is not None
        given = known.targets[rows]
        self.scale, self.mean = float(given.std()) or 1.0, float(given.mean())
        self.wanted: NDArray[Any] = ((given - self.mean) / self.scale).astype(np.float32)
        self.truth = known.targets[known.validation]

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared error in deviations."""
        return targets.loss(logits, target)

    def guess(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return numbers in their own unit."""
        return (logits[:, 0] * self.scale + self.mean).astype(np.float32)

    def gain(self, logits: NDArray[np.float32]) -> float:
        """Return the share of variance that is explained."""
        found = targets.score(self.guess(logits), self.truth, "r2")
        aim = ((self.truth - self.mean) / self.scale).astype(np.float32)
        return found + _tie(functional.mse_loss(*_tensors(logits[:, 0], aim)))

    def begun(self, head: Probe) -> Probe:
        """Return a linear reading of numbers as one of standardised ones."""
        return Probe(head.weight / self.scale, (head.bias - self.mean) / self.scale, head.penalty)


_AIMS: dict[str, Callable[[Labelled, NDArray[np.int64], bool], Aim]] = {
    "multi": Several, "regression": Number, "ordinal": Grades,
}  # fmt: skip


def _tensors(*parts: NDArray[Any]) -> tuple[Tensor, Tensor]:
    one, other = (torch.from_numpy(np.asarray(part, np.float32)) for part in parts)
    return one, other


def _on(weights: NDArray[np.float32] | None, like: Tensor) -> Tensor | None:
    return None if weights is None else torch.from_numpy(weights).to(like.device)


def _tie(loss: Tensor) -> float:
    return 1e-4 * float(torch.exp(-loss))
