"""A few steps on a few samples, thrown away: how large a run is and how long it takes."""

from __future__ import annotations

import resource
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unlabeled.config import RunConfig, TextConfig
from unlabeled.data.find import Source
from unlabeled.data.read import Pool
from unlabeled.loop import seconds_per_step
from unlabeled.modalities.base import Modality
from unlabeled.plan import Plan
from unlabeled.prepare import Prepared, keep_examples
from unlabeled.runs import build_method, build_modality

FEW = 2048
"""At most so many samples are looked at."""


@dataclass(frozen=True)
class Trial:
    """What was measured.

    Args:
        encoder: parameters of what is kept.
        trained: parameters of all that is trained, heads included.
        memory: bytes, peak of the process (or of the GPU).
        seconds: of one step.
        steps: of the whole run.
    """

    encoder: int
    trained: int
    memory: int
    seconds: float
    steps: int


def trial(planned: Plan) -> Trial:
    """Build the run of a plan and take a few steps."""
    config = planned.config
    with tempfile.TemporaryDirectory(prefix="unlabeled-") as folder:
        samples, modality = _samples(config, planned.source, Path(folder))
        data = Prepared(samples, modality, torch.zeros(0))
        method = build_method(config, modality)
        encoder = sum(p.numel() for p in method.exported().parameters())
        trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
        del method
        longer = config.loop.model_copy(update={"steps": max(100, config.loop.steps)})
        seconds = seconds_per_step(config.model_copy(update={"loop": longer}), data)
    if planned.seconds is not None:
        steps = max(1, int(0.95 * planned.seconds / seconds))
    else:
        steps = config.loop.steps
    return Trial(encoder, trained, _peak(), seconds, steps)


def _samples(config: RunConfig, source: Source, folder: Path) -> tuple[Any, Modality]:
    few = np.unique(np.linspace(0, len(source) - 1, min(FEW, len(source))).astype(np.int64))
    if isinstance(config.modality, TextConfig):
        from unlabeled.data.text import prepare_text

        rows, _, text, _ = prepare_text(Few(source, few), config.modality, folder, 0, 0.0)
        return Pool(rows, text, np.arange(len(rows)), 0.0), text
    modality = build_modality(config, folder)
    pool = Pool(source, modality, few, 1.0)
    keep_examples(pool, modality)
    return pool, modality


def _peak() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Few:
    """Some samples of a source, as a source.

    Args:
        source: all samples.
        indices: (N,) which of them.
    """

    def __init__(self, source: Source, indices: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        self.source, self.indices = source, indices
        self.kind, self.fingerprint = source.kind, source.fingerprint

    def __len__(self) -> int:
        """Return N."""
        return len(self.indices)

    def name(self, index: int) -> str:
        """Return the printable name of a sample."""
        return self.source.name(int(self.indices[index]))

    def payload(self, index: int, epoch: int = 0) -> Any:
        """Return the encoded sample."""
        return self.source.payload(int(self.indices[index]), epoch)
