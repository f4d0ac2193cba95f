"""Real samples of a run, and what our own code makes of them: what an export must equal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlabeled.errors import DataError
from unlabeled.export import sounds
from unlabeled.kinds import rows, strings
from unlabeled.runs import Run
from unlabeled.types import PLAIN

COUNT = 8


@dataclass(frozen=True)
class Reference:
    """Inputs and the outputs expected for them.

    Args:
        pixels: (B, C, H, W) normalised images; None for text.
        texts: B texts; empty for images.
        output: (B, D) features, or (B, K) logits of a classifier.
        length: tokens at which texts are cut; 0 for images.
        sounds: samples of B recordings; empty for other kinds.
        logs: B arrays (T, C) as they were recorded; empty for other kinds.
    """

    pixels: Tensor | None
    texts: tuple[str, ...]
    output: NDArray[np.float32]
    length: int = 0
    sounds: tuple[NDArray[np.float32], ...] = ()
    logs: tuple[NDArray[np.float32], ...] = ()

    def __len__(self) -> int:
        """Return B."""
        return len(self.output)


def reference(run: Run, model: Any, count: int = COUNT) -> Reference:
    """Put real samples of the run's data through our own code.

    Args:
        run: where the samples come from.
        model: takes what the modality makes, in eval mode: an encoder or a classifier.
        count: how many samples, >= 1.
    """
    items = payloads(run, count)
    modality: Any = run.modality()
    if strings(modality.name):
        texts = tuple(str(payload) for payload in items)
        length = int(run.config.modality.length)  # type: ignore[union-attr]
        ids = modality.encode_documents(texts, length)
        return Reference(None, texts, _run(model, ids), length)
    if modality.name == "audio":
        given, waves = sounds.heard(modality, items)
        return Reference(None, (), _run(model, given), sounds=tuple(waves))
    raws = [modality.read(payload) for payload in items]
    rng = np.random.default_rng(0)
    cuts = torch.stack([modality.cut(raw, PLAIN, rng) for raw in raws], dim=1)  # (1, B, ...)
    pixels = modality.distort(cuts, PLAIN, torch.zeros(len(raws), dtype=torch.int64))[0]
    if rows(modality.name):
        return Reference(None, (), _run(model, pixels), logs=tuple(raws))
    return Reference(pixels, (), _run(model, pixels))


def _run(model: Any, batch: Tensor) -> NDArray[np.float32]:
    with torch.inference_mode():
        return model(batch).float().numpy()  # type: ignore[no-any-return]


def payloads(run: Run, count: int) -> list[Any]:
    """Return the first readable samples, spread over the data.

    Raises:
        DataError: none can be read.
    """
    source, modality = run.source(), run.modality()
    step = max(1, len(source) // count)
    found: list[Any] = []
    for index in [*range(0, len(source), step), *range(len(source))]:
        if len(found) == count:
            break
        try:
            payload = source.payload(index)
            if strings(modality.name):
                payload = str(payload)
                if not payload.strip():
                    continue
            else:
                modality.read(payload)
        except DataError:
            continue
        found.append(payload)
    if not found:
        raise DataError(f"No sample of {run.config.data.path} can be read; nothing to compare.")
    return found
