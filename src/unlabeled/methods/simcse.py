"""SimCSE: the same text under two dropouts is one pair, the other texts are its negatives.

Gao et al., "SimCSE: Simple Contrastive Learning of Sentence Embeddings", EMNLP 2021,
arXiv:2104.08821.

Equation 4: cross-entropy of finding a text's second feature among those of the batch, by cosines
divided by 0.05. Dropout is the only augmentation. It is a second stage: start from an encoder
that was trained on hidden tokens (`--init RUN/encoder`).

Departures: a feature is the mean over a document's tokens, as it is used afterwards, where the
paper trains the first token behind a layer; of each packed row the longest document is taken.
Dropout is drawn from the batch's keys.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field

from unlabeled.encoders.base import Encoder
from unlabeled.encoders.dropout import set_dropout
from unlabeled.health import projected
from unlabeled.method import Method, MethodConfig
from unlabeled.modalities.base import Modality
from unlabeled.nn.contrast import batch_nce
from unlabeled.rng import mix
from unlabeled.types import Batch, Loss


class SimCSE(Method):
    """Contrast of dropouts."""

    modalities = ("text",)
    couples_samples = True
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 3e-5,
        "batch": 64,
        "weight_decay": 0.0,
        "warmup": 0.0,
        "shape": "linear",
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """Options of SimCSE."""

        temperature: float = Field(0.05, gt=0, description="divides cosines")
        dropout: float = Field(0.1, gt=0, lt=1, description="probability of dropping a value")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        library: Any = encoder
        library.set_special_ids(modality)
        set_dropout(encoder, config.dropout)

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the mean cross-entropy of finding each text's other half, in nats."""
        x = batch["plain"][0][:, :2]
        library: Any = self.encoder
        with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
            torch.manual_seed(mix(*batch.keys.tolist()) >> 1)
            one, two = library.longest(x), library.longest(x)  # (B, D) each
        total, found = batch_nce(one, two, self.config.temperature)
        return Loss(total, {"found": found, **projected(one)})

    def chance(self, batch_size: int) -> float:
        """Return ln B: every text is as likely."""
        return math.log(batch_size)
