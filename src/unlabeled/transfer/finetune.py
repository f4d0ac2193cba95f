"""The deployable classifier: trained on all labels, saved in its library's own format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from unlabeled.data.label_columns import columns_in, read_for_task
from unlabeled.data.label_forms import check_task
from unlabeled.data.labels import Labels, Source
from unlabeled.errors import DataError, UsageError
from unlabeled.kinds import strings
from unlabeled.transfer import aims, kept, leaks, metrics, parted, splits, targets, trained_on
from unlabeled.transfer.features import Inputs, said_bad
from unlabeled.transfer.kept import CLASSES, load
from unlabeled.transfer.material import Material
from unlabeled.transfer.part import Part
from unlabeled.transfer.readings import Frozen, Outcome, Trained, validated
from unlabeled.transfer.training import Classifier

if TYPE_CHECKING:
    from unlabeled.runs import Run

__all__ = ["CLASSES", "Finetuned", "finetune", "load", "material_of"]

WORDS = {
    "label_f1": "F1 over labels {:.3f}",
    "quadratic_kappa": "quadratic-weighted kappa {:.3f}",
    "r2": "explained variance {:.3f}",
}
"""What a score is called, by its metric."""


@dataclass(frozen=True)
class Finetuned:
    """A classifier and how good it is on labelled samples that it was not trained on.

    Args:
        model: views -> outputs (B, K), in eval mode.
        classes: K names; of numbers the slices that validation was balanced by.
        accuracy: on the validation part, which also chose the recipe (so slightly too high);
            None: neither classes nor grades.
        macro_f1: on the same; None: not one class a sample.
        validation: samples in the validation part.
        choices: rate, view and length of training.
        folder: where it lies.
        balanced: accuracy averaged over classes, where these are imbalanced.
        notes: what a sceptic should know.
        task: the form of the labels.
        score: F1 over labels, kappa or explained variance on the same; None: one class a sample.
        mae: mean absolute error of grades or numbers on the same.
    """

    model: nn.Module
    classes: list[str]
    accuracy: float | None
    macro_f1: float | None
    validation: int
    choices: dict[str, Any]
    folder: Path
    balanced: float | None = None
    notes: tuple[str, ...] = ()
    task: str = "single"
    score: float | None = None
    mae: float | None = None

    @property
    def said(self) -> str:
        """Say how good it is, in the words of its task."""
        if self.score is None:
            return f"accuracy {self.accuracy:.3f}, macro F1 {self.macro_f1:.3f}"
        found = WORDS[targets.METRICS[self.task]].format(self.score)
        if self.mae is None:
            return found
        unit = " grades" if self.task == "ordinal" else ""
        return f"{found}, mean absolute error {self.mae:.3g}{unit}"

    @property
    def beside(self) -> list[str]:
        """Say what accuracy hides where classes are imbalanced, and which samples had no label."""
        notes = [f"Note: {note}" for note in self.notes]
        if self.balanced is None:
            return notes
        return [
            f"balanced accuracy {self.balanced:.3f}: the largest class has over three times the "
            "samples of the smallest, so accuracy alone misleads",
            *notes,
        ]


def finetune(
    run: Run,
    labels: str | Path | None = None,
    *,
    label_column: str | None = None,
    quick: bool = False,
    seed: int = 0,
    task: str | None = None,
    frozen: bool = False,
    class_weights: str | None = None,
) -> Finetuned:
    """Train a classifier on all labels but a validation part, and save it in `Run.classifier`.

    Args:
        run: whose encoder training starts from.
        labels: as for `evaluate`.
        label_column: name of the label column, where it cannot be guessed.
        quick: a short training without a search.
        seed: of the split and of training.
        task: ``single``, ``multi``, ``ordinal`` or ``regression``; None finds it from the labels.
        frozen: no weight of the encoder is moved: the linear reading alone, as `evaluate` has it.
        class_weights: ``none``, or ``balanced``: rare classes weigh as much as common ones; None
            chooses, on validation or inside the labels, where classes are imbalanced.

    Raises:
        UsageError: with the sentence to print.
    """
    material = material_of(run, labels, label_column, seed, task)
    _check_weights(class_weights, material.task, frozen)
    memory = None if run.memory is None else (run.memory, "encoder")
    read = Frozen.of_encoder(material, lambda: parted.as_read(run.encoder()), class_weights, memory)
    if frozen:
        model, outcome = _linear(run, material, read)
    else:
        model, outcome = _trained(run, material, read, quick, seed, class_weights)
    scale, mean = 1.0, 0.0
    aim = aims.aim_of(material, material.pool)
    if isinstance(aim, aims.Number) and not frozen:
        taken = kept.in_own_unit(model, aim.scale, aim.mean)
        scale, mean = (1.0, 0.0) if taken else (aim.scale, aim.mean)
    found = _judged(run, material, model, outcome)
    classes = [] if material.task == "regression" else found.classes
    record = {
        "task": material.task,
        "classes": classes,
        "accuracy": found.accuracy,
        "macro_f1": found.macro_f1,
        "balanced_accuracy": found.balanced,
        "score": found.score,
        "mae": found.mae,
        "scale": scale,
        "mean": mean,
        "validation": found.validation,
        "train": len(material.pool),
        "choices": found.choices,
    }
    kept.save(run, found.folder, found.model, record, material.train)
    return found


def _check_weights(given: str | None, task: str, frozen: bool) -> None:
    if given is None:
        return
    if given not in ("none", "balanced"):
        raise UsageError(
            f"class weights '{given}': there are none and balanced; left out, they are chosen."
        )
    if task == "regression" or (frozen and task == "ordinal"):
        what = "numbers have no classes" if task == "regression" else "a cumulative link has none"
        raise UsageError(f"class weights {given}: {what}; leave them out.")


def _trained(
    run: Run,
    material: Material,
    read: Frozen,
    quick: bool,
    seed: int,
    class_weights: str | None,
) -> tuple[nn.Module, Outcome]:
    """Train a network that begins at its linear reading; text at its library's own head."""
    from unlabeled.transfer.roster import FIRST_LAYER, search_of

    num_outputs = aims.outputs(material.task, material.classes)

    def start(rows: NDArray[np.int64], draw: int) -> nn.Module:
        encoder = run.encoder()
        if strings(run.config.data.kind):
            return kept.for_text(encoder, run.modality(), material.classes, seed, material.task)
        encoder = parted.as_read(encoder)
        model = Classifier(encoder, encoder.dim, num_outputs)
        model.start_from(read.head(rows, draw), read.scaler)
        return model

    base = {"lowest": FIRST_LAYER, "frozen_statistics": True}
    search = search_of(run, quick, ways=True)
    if class_weights is not None:
        search = replace(search, weightings=(class_weights,))
    arm = Trained(material, start, search, base, seed, keep=True)
    outcome = arm(material.pool, 0, 0)
    assert arm.kept is not None
    return arm.kept.cpu().eval(), outcome


def _linear(run: Run, material: Material, read: Frozen) -> tuple[nn.Module, Outcome]:
    """Put the linear reading of the frozen feature on the encoder; numbers in their own unit."""
    encoder = parted.as_read(run.encoder())
    model = Classifier(encoder, encoder.dim, aims.outputs(material.task, material.classes))
    model.start_from(read.fitted(material.pool, 0), read.scaler)
    outcome = read.probe(material.pool, 0, 0)
    return model.cpu().eval(), Outcome(
        outcome.validation, outcome.test, outcome.choices | {"way": "frozen"}
    )


def _judged(run: Run, material: Material, model: nn.Module, outcome: Outcome) -> Finetuned:
    """Score what the validation part was said to be."""
    guess, expected, classes = outcome.validation, material.expected, material.classes
    single, graded = material.task == "single", material.task == "ordinal"
    return Finetuned(
        model,
        classes,
        metrics.accuracy(guess, expected) if single or graded else None,
        metrics.macro_f1(guess, expected, len(classes)) if single else None,
        len(expected),
        outcome.choices,
        run.classifier,
        _balanced(guess, expected, len(classes)) if single else None,
        tuple(material.notes),
        material.task,
        None if single else validated(material, guess),
        targets.mean_error(guess, expected) if graded or material.task == "regression" else None,
    )


def _read(
    run: Run, labels: str | Path | None, label_column: str | None, task: str | None
) -> tuple[Source, Labels]:
    """Read the labels of one classifier."""
    data = run.config.data
    several = columns_in(label_column, labels if labels is not None else data.path)
    if len(several) > 1 and check_task(task) != "multi":
        raise UsageError(
            f"{label_column} are several columns, and a classifier learns one: {several[0]}. With "
            "the task multi-label they are the labels of one classifier; `unlabeled finetune "
            f"--label-column {label_column}` trains one for each."
        )
    return read_for_task(
        labels, run.source(), table=data.path, column=data.column, label_column=label_column,
        task=task,
    )  # fmt: skip


def material_of(
    run: Run,
    labels: str | Path | None,
    label_column: str | None,
    seed: int,
    task: str | None = None,
) -> Material:
    """Return all labelled samples; a part of them is for validation, none for a test.

    Raises:
        UsageError: the labels do not fit the task, or are too few.
        DataError: none of the samples can be read.
    """
    data = run.config.data
    part = Part(*_read(run, labels, label_column, task))
    inputs = Inputs(
        part.source, part.labels.indices, run.modality(), trained_on.document_length(run)
    )
    notes = splits.said_of(part.labels, scored=False)
    notes += said_bad(inputs.bad, "labelled samples")
    part = part.take(np.isin(part.labels.indices, inputs.indices))
    y = part.labels.y
    if not len(y):
        raise DataError(f"No labelled {data.kind} can be read.")
    part, _ = leaks.together(leaks.look(part))
    mask = splits.validation(part, seed)
    if not mask.any():
        raise UsageError(
            f"{len(y)} labels are too few: at least 2 of a class are needed, one to learn from "
            "and one to check with."
        )
    return Material(
        inputs,
        y,
        np.flatnonzero(~mask),
        np.flatnonzero(mask),
        Inputs(
            part.source, part.labels.indices[:1], run.modality(), trained_on.document_length(run)
        ),
        y[:1],
        None,
        part.labels.classes,
        notes=notes,
        targets=part.labels.targets,
        targets_test=None if part.labels.targets is None else part.labels.targets[:1],
        task=part.labels.task,
        group_train=part.labels.group,
    )


def _balanced(guess: Any, expected: NDArray[np.int64], num_classes: int) -> float | None:
    """Return balanced accuracy where accuracy misleads (see `metrics.IMBALANCE`)."""
    if metrics.headline(expected, num_classes) == "accuracy":
        return None
    return metrics.balanced_accuracy(guess, expected)
