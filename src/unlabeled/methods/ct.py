"""CT: two encoders that begin alike must agree on a text and disagree on different ones.

Carlsson et al., "Semantic Re-tuning with Contrastive Tension", ICLR 2021,
https://openreview.net/forum?id=Ov_sMNau-PF; in-batch form of sentence-transformers
(https://doi.org/10.18653/v1/D19-1410), with the other texts of the batch as negatives.

The mean cross-entropy of finding a text's feature of the second encoder by its feature of the
first, and the other way round; cosines are multiplied by a scale of 20 that is learned. It is a
second stage: start from an encoder that was trained on hidden tokens (`--init RUN/encoder`). The
second encoder is kept.

Departures: a feature is the mean over a document's tokens; of each packed row the longest document
is taken. Dropout, drawn from the batch's keys, is what tells the two encoders apart: without it
their gradients would stay the same.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.encoders.dropout import set_dropout
from unlabeled.health import projected
from unlabeled.method import Method, MethodConfig
from unlabeled.modalities.base import Modality
from unlabeled.nn.contrast import both_ways
from unlabeled.rng import mix
from unlabeled.types import Batch, Loss


class CT(Method):
    """Contrastive tension."""

    modalities = ("text",)
    couples_samples = True
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 1e-5,
        "batch": 64,
        "weight_decay": 0.0,
        "warmup": 0.0,
        "shape": "linear",
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """Options of contrastive tension."""

        scale: float = Field(20.0, gt=0, description="of cosines at the start")
        dropout: float = Field(0.1, gt=0, lt=1, description="probability of dropping a value")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        library: Any = encoder
        library.set_special_ids(modality)
        set_dropout(encoder, config.dropout)
        self.other: Any = copy.deepcopy(encoder)
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.scale)))

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the mean cross-entropy of both directions, in nats."""
        x = batch["plain"][0][:, :2]
        with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
            torch.manual_seed(mix(*batch.keys.tolist()) >> 1)
            one, two = self.features(x)  # (B, D) each
        scale = self.log_scale.exp()
        total, found = both_ways(one, two, scale)
        return Loss(total, {"found": found, "scale": scale.detach(), **projected(two)})

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first and the second encoder's features of rows, (B, D) each."""
        library: Any = self.encoder
        return self.other.longest(x), library.longest(x)

    def chance(self, batch_size: int) -> float:
        """Return ln B: every text is as likely."""
        return math.log(batch_size)
