"""A classifier on disk: in its library's own format, opened again and compared."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from unlabeled.errors import DataError, UsageError
from unlabeled.journal import read_json, write_json
from unlabeled.kinds import strings
from unlabeled.nn import packing
from unlabeled.transfer import aims, headed
from unlabeled.transfer.meaning import TASKS, Meaning
from unlabeled.transfer.training import Classifier, scores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unlabeled.runs import Run
    from unlabeled.transfer.features import Inputs

CLASSES, COLUMNS = "classes.json", "columns"
_LIMIT = 1e-3
_PROBLEMS = {"multi": "multi_label_classification", "ordinal": "multi_label_classification",
             "regression": "regression"}  # fmt: skip
"""What transformers calls tasks; a grade is a set of steps that it is above."""


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


def for_text(
    encoder: Any, modality: Any, classes: list[str], seed: int, task: str = "single"
) -> TextClassifier:
    """Put the library's classification head on a text encoder.

    BERT's pooler begins as the identity; a random one would hide what was learned.
    """
    from transformers import AutoModelForSequenceClassification

    config = copy.deepcopy(encoder.model.config)
    config._attn_implementation = None
    names = aims.output_names(task, classes)
    config.num_labels = len(names)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: i for i, name in enumerate(names)}
    config.pad_token_id = int(modality.pad_id or 0)
    config.problem_type = _PROBLEMS.get(task, "single_label_classification")
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


def in_own_unit(model: nn.Module, scale: float, mean: float) -> bool:
    """Let the last layer give numbers in their own unit instead of standardised ones.

    Returns:
        Whether it could: a head without a bias cannot take up the mean.
    """
    body = getattr(model, "body", "encoder.")
    last: Any = [
        part
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and not name.startswith(body)
    ][-1]
    if last.bias is None:
        return False
    with torch.no_grad():
        last.weight.mul_(scale)
        last.bias.mul_(scale).add_(mean)
    return True


def save(
    run: Run, folder: Path, model: nn.Module, record: Mapping[str, Any], inputs: Inputs
) -> None:
    """Write a classifier, open it again, and compare.

    Args:
        run: whose encoder it has.
        folder: where it shall lie.
        model: views -> outputs.
        record: what ``classes.json`` shall hold: task, classes and what a person should know.
        inputs: samples to compare on.

    Raises:
        DataError: what was written gives something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / headed.HEAD).unlink(missing_ok=True)  # of a classifier of another form
    names = aims.output_names(record["task"], record["classes"])
    if isinstance(model, TextClassifier):
        model.full.config.architectures = [type(model.full).__name__]
        model.full.save_pretrained(str(folder))
    else:
        assert isinstance(model, Classifier)
        if hasattr(model.encoder, "blueprint"):
            _save_timm(folder, model, names)
        else:
            headed.save(folder, model)
    write_json(folder / CLASSES, dict(record))
    rows = np.arange(min(8, len(inputs)))
    again = load(run, folder)[0]
    given, got = (scores(one, inputs, rows) for one in (model, again))
    difference = float(np.abs(given - got).max())
    if not difference <= _LIMIT * max(1.0, float(np.abs(given).max())):
        raise DataError(
            f"The classifier written to {folder} differs from the trained one by "
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


def load(run: Run, folder: Path | None = None) -> tuple[nn.Module, Meaning]:
    """Return the classifier of a run, in eval mode, and what its outputs mean.

    Args:
        run: the run.
        folder: where it lies; `Run.classifier` if absent.

    Raises:
        UsageError: the run has none.
    """
    folder = folder or run.classifier
    record = read_json(folder / CLASSES)
    if not isinstance(record.get("classes"), list):
        raise UsageError(
            f"{run.folder} has no classifier yet. Make one with "
            f"`unlabeled finetune {run.folder} --labels FILE`."
        )
    meaning = Meaning.of_record(record)
    if meaning.task == "lot":
        raise UsageError(
            f"The classifier in {folder} reads many recordings together. "
            f"`unlabeled predict {run.folder} DATA` uses it."
        )
    if meaning.task == COLUMNS:
        raise UsageError(
            f"{folder} holds a classifier for each of {', '.join(record['columns'])}. `unlabeled "
            f"predict {run.folder} DATA` uses all, Classifier.from_run(RUN, COLUMN) in Python one, "
            "and `unlabeled finetune --label-column COLUMN` makes one that can be exported."
        )
    if meaning.task not in TASKS:
        raise UsageError(
            f"{folder} tags words or moments, transcribes or acts; it has no class for a whole "
            f"sample. `unlabeled predict {run.folder} DATA` uses it."
        )
    if (folder / headed.HEAD).exists():
        return headed.load(folder).eval(), meaning
    if strings(run.config.data.kind):
        from transformers import AutoModelForSequenceClassification

        full = AutoModelForSequenceClassification.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True
        )
        return TextClassifier(full).eval(), meaning
    names = aims.output_names(meaning.task, list(meaning.classes))
    return _load_timm(folder, len(names)).eval(), meaning


def _load_timm(folder: Path, num_outputs: int) -> Classifier:
    from unlabeled.encoders import vision

    encoder = vision.load(folder)
    model = Classifier(encoder, encoder.dim, num_outputs)
    state = load_file(folder / "model.safetensors")
    name = encoder.model.pretrained_cfg["classifier"]
    with torch.no_grad():
        model.head.weight.copy_(state[f"{name}.weight"])
        model.head.bias.copy_(state[f"{name}.bias"])
    return model
