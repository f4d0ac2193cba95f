"""The deployable classifier: trained on all labels, saved in its library's own format."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from unlabeled.data.label_forms import form_of
from unlabeled.data.labels import read_labelled
from unlabeled.errors import DataError, UsageError
from unlabeled.journal import read_json, write_json
from unlabeled.kinds import strings
from unlabeled.nn import packing
from unlabeled.transfer import headed, leaks, parted, splits, trained_on
from unlabeled.transfer.features import Inputs
from unlabeled.transfer.material import Material
from unlabeled.transfer.metrics import accuracy, balanced_accuracy, headline, macro_f1
from unlabeled.transfer.readings import Frozen, Trained
from unlabeled.transfer.training import Classifier, scores

if TYPE_CHECKING:
    from unlabeled.runs import Run

CLASSES = "classes.json"
_LIMIT = 1e-3


@dataclass(frozen=True)
class Finetuned:
    """A classifier and how good it is on labelled samples that it was not trained on.

    Args:
        model: views -> logits (B, K), in eval mode.
        classes: K names.
        accuracy: on the validation part, which also chose the recipe (so slightly too high).
        macro_f1: on the same.
        validation: samples in the validation part.
        choices: rate, view and length of training.
        folder: where it lies.
        balanced: accuracy averaged over classes, where these are imbalanced.
        notes: what a sceptic should know.
    """

    model: nn.Module
    classes: list[str]
    accuracy: float
    macro_f1: float
    validation: int
    choices: dict[str, Any]
    folder: Path
    balanced: float | None = None
    notes: tuple[str, ...] = ()

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


class TextClassifier(nn.Module):
    """The library's own model for classifying sequences, fed with our rows.

    Args:
        full: a model of `AutoModelForSequenceClassification`.
    """

    def __init__(self, full: Any) -> None:
        super().__init__()
        self.full = full
        self.body = f"full.{full.base_model_prefix}."

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (B, 2, T) -> (B, K): the mean over a document's windows, by tokens."""
        rows, owner, sizes = packing.unfold(x)
        real = rows[:, 1] >= 0
        # GPT-2's head reads the last token that is not this one.
        ids = rows[:, 0].masked_fill(~real, self.full.config.pad_token_id or 0)
        logits = self.full(input_ids=ids, attention_mask=real.long()).logits
        return packing.refold(logits, owner, sizes, len(x))


def finetune(
    run: Run,
    labels: str | Path | None = None,
    *,
    label_column: str | None = None,
    quick: bool = False,
    seed: int = 0,
) -> Finetuned:
    """Train a classifier on all labels but a validation part, and save it in RUN/finetune.

    Args:
        run: whose encoder training starts from.
        labels: as for `evaluate`.
        label_column: name of the label column, where it cannot be guessed.
        quick: a short training without a search.
        seed: of the split and of training.

    Raises:
        UsageError: with the sentence to print.
    """
    from unlabeled.transfer.roster import FIRST_LAYER, search_of

    material = material_of(run, labels, label_column, seed)
    frozen = Frozen.of_encoder(material, lambda: parted.as_read(run.encoder()))
    classes = material.classes

    def start(rows: NDArray[np.int64], draw: int) -> nn.Module:
        encoder = run.encoder()
        if strings(run.config.data.kind):
            return _for_text(encoder, run.modality(), classes, seed)
        encoder = parted.as_read(encoder)
        model = Classifier(encoder, encoder.dim, len(classes))
        model.start_from(frozen.fitted(rows, draw), frozen.scaler)
        return model

    base = {"lowest": FIRST_LAYER, "frozen_statistics": True}
    arm = Trained(material, start, search_of(run, quick, ways=True), base, seed, keep=True)
    outcome = arm(material.pool, 0, 0)
    assert arm.kept is not None
    expected = material.y[material.validation]
    found = Finetuned(
        arm.kept.cpu().eval(),
        classes,
        accuracy(outcome.validation, expected),
        macro_f1(outcome.validation, expected, len(classes)),
        len(expected),
        outcome.choices,
        run.folder / "finetune",
        _balanced(outcome.validation, expected, len(classes)),
        tuple(material.notes),
    )
    _save(run, found, material)
    return found


def material_of(
    run: Run, labels: str | Path | None, label_column: str | None, seed: int
) -> Material:
    """Return all labelled samples; a part of them is for validation, none for a test.

    Raises:
        UsageError: the labels are not one class a sample, or too few.
        DataError: none of the samples can be read.
    """
    data = run.config.data
    part = splits.Part(
        *read_labelled(
            labels,
            run.source(),
            table=data.path,
            column=data.column,
            label_column=label_column,
        )
    )
    inputs = Inputs(
        part.source, part.labels.indices, run.modality(), trained_on.document_length(run)
    )
    notes = [part.labels.missing] if part.labels.missing else []
    if inputs.bad:
        name, reason = inputs.bad[0]
        notes.append(f"{len(inputs.bad)} labelled samples cannot be read (first: {name}: {reason})")
    kept = np.flatnonzero(np.isin(part.labels.indices, inputs.indices))
    part = part.take(kept)
    if form_of(part.labels) != "single":
        raise UsageError(
            "These labels are several a sample, or numbers; finetune makes classifiers of one "
            "class a sample. `unlabeled evaluate` reads them; give a column of classes with "
            "--label-column."
        )
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
        group_train=part.labels.group,
    )


def _balanced(guess: Any, expected: NDArray[np.int64], num_classes: int) -> float | None:
    """Return balanced accuracy where accuracy misleads (see `metrics.IMBALANCE`)."""
    if headline(expected, num_classes) == "accuracy":
        return None
    return balanced_accuracy(guess, expected)


def _for_text(encoder: Any, modality: Any, classes: list[str], seed: int) -> TextClassifier:
    """Put the library's classification head on a text encoder.

    BERT's pooler begins as the identity; a random one would hide what was learned.
    """
    from transformers import AutoModelForSequenceClassification

    config = copy.deepcopy(encoder.model.config)
    config._attn_implementation = None
    config.num_labels = len(classes)
    config.id2label = dict(enumerate(classes))
    config.label2id = {name: i for i, name in enumerate(classes)}
    config.pad_token_id = int(modality.pad_id or 0)
    config.problem_type = "single_label_classification"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        full = AutoModelForSequenceClassification.from_config(config)
    base = getattr(full, full.base_model_prefix)
    base.load_state_dict(encoder.model.state_dict(), strict=False)
    pooler = getattr(getattr(base, "pooler", None), "dense", None)
    if isinstance(pooler, nn.Linear):
        with torch.no_grad():
            pooler.weight.copy_(torch.eye(len(pooler.weight)))
            pooler.bias.zero_()
    return TextClassifier(full)


def _save(run: Run, found: Finetuned, material: Material) -> None:
    """Write the classifier, open it again, and compare.

    Raises:
        DataError: what was written gives something else.
    """
    found.folder.mkdir(parents=True, exist_ok=True)
    if isinstance(found.model, TextClassifier):
        found.model.full.config.architectures = [type(found.model.full).__name__]
        found.model.full.save_pretrained(str(found.folder))
    else:
        assert isinstance(found.model, Classifier)
        if hasattr(found.model.encoder, "blueprint"):
            _save_timm(found.folder, found.model, found.classes)
        else:
            headed.save(found.folder, found.model)
    record = {
        "classes": found.classes,
        "accuracy": found.accuracy,
        "macro_f1": found.macro_f1,
        "balanced_accuracy": found.balanced,
        "validation": found.validation,
        "train": len(material.pool),
        "choices": found.choices,
    }
    write_json(found.folder / CLASSES, record)
    rows = np.arange(min(8, len(material.train)))
    again, _ = load(run)
    given, got = (scores(model, material.train, rows) for model in (found.model, again))
    difference = float(np.abs(given - got).max())
    if not difference <= _LIMIT * max(1.0, float(np.abs(given).max())):
        raise DataError(
            f"The classifier written to {found.folder} differs from the trained one by "
            f"{difference:.2g}. Please report this."
        )


def _save_timm(folder: Path, model: Classifier, classes: list[str]) -> None:
    from unlabeled.encoders import timm_folder

    encoder: Any = model.encoder
    network = copy.deepcopy(encoder.model)
    network.reset_classifier(len(classes))
    with torch.no_grad():
        network.get_classifier().weight.copy_(model.head.weight)
        network.get_classifier().bias.copy_(model.head.bias)
    timm_folder.write(folder, network, encoder.blueprint)
    path = folder / "config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content |= {"num_classes": len(classes), "label_names": classes}
    content["pretrained_cfg"]["num_classes"] = len(classes)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load(run: Run) -> tuple[nn.Module, list[str]]:
    """Return the classifier of a run, in eval mode, and its classes.

    Raises:
        UsageError: the run has none.
    """
    folder = run.folder / "finetune"
    classes = read_json(folder / CLASSES).get("classes")
    if not isinstance(classes, list):
        raise UsageError(
            f"{run.folder} has no classifier yet. Make one with "
            f"`unlabeled finetune {run.folder} --labels FILE`."
        )
    if read_json(folder / CLASSES).get("task") == "lot":
        raise UsageError(
            f"The classifier in {folder} reads many recordings together. "
            f"`unlabeled predict {run.folder} DATA` uses it."
        )
    if read_json(folder / CLASSES).get("task") in ("tagging", "transcript", "action"):
        raise UsageError(
            f"{folder} tags words, transcribes or acts; it has no class for a whole sample. "
            f"`unlabeled predict {run.folder} DATA` uses it."
        )
    if strings(run.config.data.kind):
        from transformers import AutoModelForSequenceClassification

        full = AutoModelForSequenceClassification.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True
        )
        return TextClassifier(full).eval(), [str(name) for name in classes]
    model = headed.load(folder) if (folder / headed.HEAD).exists() else _load_timm(folder, classes)
    return model.eval(), [str(name) for name in classes]


def _load_timm(folder: Path, classes: list[str]) -> Classifier:
    from unlabeled.encoders import vision

    encoder = vision.load(folder)
    model = Classifier(encoder, encoder.dim, len(classes))
    state = load_file(folder / "model.safetensors")
    name = encoder.model.pretrained_cfg["classifier"]
    with torch.no_grad():
        model.head.weight.copy_(state[f"{name}.weight"])
        model.head.bias.copy_(state[f"{name}.bias"])
    return model
