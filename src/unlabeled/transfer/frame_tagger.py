"""The deployable reader of moments: which class a recording or a log is of, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from unlabeled.data.marks import Marked, unlabelled
from unlabeled.errors import DataError, UsageError
from unlabeled.journal import read_json, write_json
from unlabeled.transfer import headed, tagging
from unlabeled.transfer.frame_clock import clock_of
from unlabeled.transfer.frame_rows import FrameRows
from unlabeled.transfer.tag_finetune import FACTS, Tuned, learned
from unlabeled.transfer.tag_frames import FRAMES, STEPS, Moments
from unlabeled.transfer.tag_readings import FrameTagger

if TYPE_CHECKING:
    from unlabeled.runs import Run

_LIMIT, _BLOCK = 1e-3, 16


def finetune(
    run: Run,
    labels: str | Path | None,
    *,
    label_column: str | None = None,
    quick: bool = False,
    frozen: bool = False,
    seed: int = 0,
) -> Tuned:
    """Train on all that is labelled but a validation part, and save the reader in RUN/finetune.

    Args:
        run: whose encoder training starts from.
        labels: as for `tagging.prepare`.
        label_column: column of the labels, where it cannot be guessed.
        quick: a short training without a search.
        frozen: whether no weight of the encoder moves: the linear probe is kept.
        seed: of the split and of training.

    Raises:
        UsageError: with the sentence to print.
    """
    form = Moments(run)
    material = tagging.for_training(form, labels, label_column, seed)
    found = learned(
        run, material, lambda: FrameTagger(run.encoder(), len(material.classes)), quick, seed,
        frozen,
    )  # fmt: skip
    _save(found, material)
    return found


def _save(found: Tuned, material: tagging.TagMaterial) -> None:
    """Write encoder, head and facts, open them again, and compare.

    Raises:
        DataError: what was written gives something else.
    """
    found.folder.mkdir(parents=True, exist_ok=True)
    headed.save(found.folder, found.model)
    record = {
        "task": material.task,
        "classes": found.classes,
        "accuracy": found.accuracy,
        "macro_f1": found.macro_f1,
        "validation": found.validation,
        "train": len(material.pool),
        "choices": found.choices,
        "notes": material.notes,
    }
    write_json(found.folder / FACTS, record)
    some = material.validation[:4]
    given, got = (material.train.at_items(m, some) for m in (found.model, _load(found.folder)))
    difference = float(np.abs(given - got).max())
    if not difference <= _LIMIT * max(1.0, float(np.abs(given).max())):
        raise DataError(
            f"What was written to {found.folder} differs from what was trained by "
            f"{difference:.2g}. Please report this."
        )


def _load(folder: Path) -> FrameTagger:
    opened = headed.load(folder)
    encoder: Any = opened.encoder
    model = FrameTagger(encoder, opened.head.out_features)
    model.head.load_state_dict(opened.head.state_dict())
    return model.eval()


@dataclass(frozen=True)
class Labelled:
    """What is said of a stretch of a recording or an episode.

    Args:
        start: in seconds or steps.
        end: where the next begins.
        label: its class.
        score: mean probability of the class over its tokens.
    """

    start: float
    end: float
    label: str
    score: float


def is_reader(task: Any) -> bool:
    """Say whether the task of what lies in RUN/finetune is to label moments."""
    return task in (FRAMES, STEPS)


class MomentReader:
    """Labels the moments of recordings or logs with what `finetune` left in a run.

    Args:
        run: that was fine-tuned.

    Raises:
        UsageError: it has no such reader.
    """

    def __init__(self, run: Run) -> None:
        folder = run.folder / "finetune"
        facts = read_json(folder / FACTS)
        if not is_reader(facts.get("task")):
            raise UsageError(
                f"{run.folder} has no reader of moments yet. Make one with "
                f"`unlabeled finetune {run.folder} --labels SPANS --task tagging`."
            )
        self.classes = [str(name) for name in facts["classes"]]
        self._model, self._modality = _load(folder), Moments(run).modality
        self._clock = clock_of(self._model.encoder, self._modality)

    def __call__(self, source: Any) -> Iterator[tuple[str, list[Labelled] | DataError]]:
        """Yield each recording or episode of a source with what is said of it, or why nothing."""
        every, bad = unlabelled(source, self.classes)
        yield from ((name, DataError(reason)) for name, reason in bad)
        for start in range(0, len(every), _BLOCK):
            part = every.take(np.arange(start, min(start + _BLOCK, len(every))))
            yield from self._block(part)

    def _block(self, part: Marked) -> Iterator[tuple[str, list[Labelled] | DataError]]:
        rows = FrameRows(part, self._modality, self._clock, every=True)
        reasons = dict(rows.bad)
        chances = np.zeros((0, len(self.classes)), dtype=np.float32)
        if len(rows.labels):
            logits = torch.from_numpy(rows.at_items(self._model))
            chances = logits.softmax(1).numpy()
        for number, whole in enumerate(part.wholes):
            broken = next(
                (r for i, _ in whole.parts if (r := reasons.get(part.source.name(i)))), ""
            )
            if broken:
                yield whole.name, DataError(broken)
                continue
            items = rows.items_of(np.array([number]))
            length = float(part.lengths[number])
            yield whole.name, self._joined(rows.moment[items], chances[items], length)

    def _joined(
        self, moments: NDArray[np.float64], chances: NDArray[np.float32], length: float
    ) -> list[Labelled]:
        """Join neighbours of one class; borders lie half way between the middles of tokens."""
        said = chances.argmax(1)
        edges = np.concatenate(
            [[0.0], (moments[1:] + moments[:-1]) / 2, [max(length, moments[-1])]]
        )
        starts = np.flatnonzero(np.diff(said, prepend=-1))
        stops = [*starts[1:], len(said)]
        return [
            Labelled(
                float(edges[a]), float(edges[b]), self.classes[said[a]],
                float(chances[a:b, said[a]].mean()),
            )
            for a, b in zip(starts.tolist(), stops, strict=True)
        ]  # fmt: skip
