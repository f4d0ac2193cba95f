"""The deployable tagger: trained on all tagged sentences, saved in its library's own format."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unlabeled.data.tags import Tagged
from unlabeled.errors import DataError, UsageError
from unlabeled.journal import read_json, write_json
from unlabeled.transfer import tag_form, tag_roster, tagging
from unlabeled.transfer.metrics import accuracy, macro_f1
from unlabeled.transfer.roster import FIRST_LAYER
from unlabeled.transfer.tag_features import NetFeatures
from unlabeled.transfer.tag_readings import TagProbe, TrainedTags, start_from
from unlabeled.transfer.trained_on import document_length
from unlabeled.transfer.words import WordInputs

if TYPE_CHECKING:
    from unlabeled.runs import Run

FACTS = "classes.json"
_LIMIT = 1e-3


class TextTagger(nn.Module):
    """The library's own model for tagging tokens, fed with our rows.

    Args:
        full: a model of `AutoModelForTokenClassification`.
    """

    def __init__(self, full: Any) -> None:
        super().__init__()
        self.full = full
        self.body = f"full.{full.base_model_prefix}."

    @property
    def head(self) -> nn.Linear:
        """Return the layer that gives scores."""
        found = getattr(self.full, "classifier", None) or self.full.score
        assert isinstance(found, nn.Linear)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of tags, (B, 2, T) -> (B, T, K)."""
        real = (x[:, 1] >= 0).long()
        scores: Tensor = self.full(input_ids=x[:, 0], attention_mask=real).logits
        return scores


@dataclass(frozen=True)
class Tuned:
    """A tagger and how good it is on sentences that it was not trained on.

    Args:
        model: rows (B, 2, T) -> scores (B, T, K), in eval mode.
        classes: K names of tags.
        accuracy: share of words, on the validation part, which also chose the training.
        macro_f1: on the same.
        validation: words in the validation part.
        choices: rate and length of training.
        folder: where it lies.
        notes: what of the labels was left out, and what they cover.
    """

    model: nn.Module
    classes: list[str]
    accuracy: float
    macro_f1: float
    validation: int
    choices: dict[str, Any]
    folder: Path
    notes: Sequence[str] = ()


def finetune(
    run: Run,
    labels: str | Path | None,
    *,
    label_column: str | None = None,
    quick: bool = False,
    seed: int = 0,
) -> Tuned:
    """Train a tagger on all sentences but a validation part, and save it in RUN/finetune.

    Args:
        run: whose encoder training starts from.
        labels: as for `tagging.prepare`.
        label_column: column of the tags, where it cannot be guessed.
        quick: a short training without a search.
        seed: of the split and of training.

    Raises:
        UsageError: with the sentence to print.
    """
    material = tagging.for_training(tag_form.form_of(run), labels, label_column, seed)
    found = learned(
        run, material, lambda: _on_top(run.encoder(), run.modality(), material.classes, seed),
        quick, seed,
    )  # fmt: skip
    _save(run, found, material)
    return found


def learned(
    run: Run,
    material: tagging.TagMaterial,
    make: Callable[[], Any],
    quick: bool,
    seed: int,
    frozen: bool = False,
) -> Tuned:
    """Train on what is labelled, from the head of the linear probe, and score the validation part.

    Args:
        run: whose encoder training starts from.
        material: what is labelled.
        make: makes the pre-trained network with a head of its own.
        quick: a short training without a search.
        seed: of training.
        frozen: whether nothing is trained but the probe.
    """
    probe = TagProbe(material, NetFeatures(material, run.encoder))

    def start(rows: NDArray[np.int64], draw: int) -> nn.Module:
        model: nn.Module = make()
        start_from(cast("nn.Linear", model.head), probe.fitted(rows))
        return model

    if frozen:
        outcome, model = probe(material.pool, 0, 0), start(material.pool, 0)
    else:
        base = {"lowest": FIRST_LAYER}
        arm = TrainedTags(material, start, tag_roster.search_of(quick), base, seed, keep=True)
        outcome = arm(material.pool, 0, 0)
        assert arm.kept is not None
        model = arm.kept
    expected = material.expected
    return Tuned(
        model.cpu().eval(),
        material.classes,
        accuracy(outcome.validation, expected),
        macro_f1(outcome.validation, expected, len(material.classes)),
        len(expected),
        outcome.choices,
        run.folder / "finetune",
        material.notes,
    )


def _on_top(encoder: Any, modality: Any, classes: list[str], seed: int) -> TextTagger:
    """Put the library's head for tokens on a text encoder.

    Raises:
        UsageError: the library has none for this family.
    """
    from transformers import AutoModelForTokenClassification

    config = copy.deepcopy(encoder.model.config)
    config._attn_implementation = None
    config.num_labels = len(classes)
    config.id2label = dict(enumerate(classes))
    config.label2id = {name: i for i, name in enumerate(classes)}
    config.pad_token_id = int(modality.pad_id or 0)
    if not hasattr(config, "classifier_dropout"):
        config.classifier_dropout = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            full = AutoModelForTokenClassification.from_config(config)
        except ValueError:
            raise UsageError(
                f"transformers has no class that tags words for {encoder.family}; pre-train "
                "another family, such as encoder.name=hf:bert-mini. `unlabeled evaluate` reads "
                "words with any."
            ) from None
    base = getattr(full, full.base_model_prefix)
    base.load_state_dict(encoder.model.state_dict(), strict=False)
    return TextTagger(full)


def _save(run: Run, found: Tuned, material: tagging.TagMaterial) -> None:
    """Write the tagger, open it again, and compare.

    Raises:
        DataError: what was written gives something else.
    """
    assert isinstance(found.model, TextTagger)
    found.folder.mkdir(parents=True, exist_ok=True)
    found.model.full.config.architectures = [type(found.model.full).__name__]
    found.model.full.save_pretrained(str(found.folder))
    text: Any = run.modality()
    text.tokenizer.save_pretrained(str(found.folder))
    record = {
        "task": tag_form.TASK,
        "classes": found.classes,
        "accuracy": found.accuracy,
        "macro_f1": found.macro_f1,
        "validation": found.validation,
        "train": len(material.pool),
        "choices": found.choices,
    }
    write_json(found.folder / FACTS, record)
    rows = np.arange(min(8, len(material.y)))
    given, got = (material.train.at_items(m, rows) for m in (found.model, load(found.folder)))
    difference = float(np.abs(given - got).max())
    if not difference <= _LIMIT * max(1.0, float(np.abs(given).max())):
        raise DataError(
            f"The tagger written to {found.folder} differs from the trained one by "
            f"{difference:.2g}. Please report this."
        )


def load(folder: Path) -> TextTagger:
    """Open a tagger that `finetune` left, in eval mode."""
    from transformers import AutoModelForTokenClassification

    full = AutoModelForTokenClassification.from_pretrained(
        str(folder), local_files_only=True, use_safetensors=True
    )
    return TextTagger(full).eval()


class Tagger:
    """Names the tags of words with the tagger of a run.

    Attributes:
        classes: names of the tags.
    """

    def __init__(self, run: Run) -> None:
        folder = run.folder / "finetune"
        facts = read_json(folder / FACTS)
        if facts.get("task") != tag_form.TASK:
            raise UsageError(
                f"{run.folder} has no tagger yet. Make one with "
                f"`unlabeled finetune {run.folder} --labels FILE --task tagging`."
            )
        self.classes = [str(name) for name in facts["classes"]]
        self._modality, self._length = run.modality(), document_length(run)
        self._model = load(folder)

    def __call__(self, sentences: Sequence[list[str]]) -> Iterator[tuple[list[str], list[float]]]:
        """Yield the tag of every word of each sentence, and its probability."""
        none = np.zeros(sum(map(len, sentences)), dtype=np.int64)
        inputs = WordInputs(Tagged(list(sentences), none, self.classes), self._modality,
                            self._length)  # fmt: skip
        if not len(none):
            yield from (([], []) for _ in sentences)
            return
        logits = torch.from_numpy(inputs.at_items(self._model))
        chances, best = logits.softmax(1).max(1)
        for start, stop in zip(inputs.starts, inputs.starts[1:], strict=False):
            said = best[start:stop].tolist()
            yield [self.classes[i] for i in said], chances[start:stop].tolist()


def is_tagger(folder: Path) -> bool:
    """Say whether what lies in RUN/finetune tags words."""
    return read_json(folder / FACTS).get("task") == tag_form.TASK
