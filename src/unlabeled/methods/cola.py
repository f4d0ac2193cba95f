"""COLA: two segments of a recording find each other among those of all recordings of the batch.

Saeed, Grangier & Zeghidour, "Contrastive Learning of General-Purpose Audio Representations",
ICASSP 2021, arXiv:2010.10915.

Nothing is distorted: what two stretches of one recording share (who speaks, what sounds, where) is
what is learned, so it suits speakers, instruments and places rather than words. How alike two
projections are is measured by a learned bilinear form, which the authors found better than the
cosine; a segment is looked for among the second segments only, in one direction, as in theirs.

Departures: segments are a share of a recording, not 960 ms, so that short ones have two; the
encoder is whatever reads recordings, on log-mel images of any number of bands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from unlabeled.device import rank
from unlabeled.encoders.base import Encoder
from unlabeled.health import projected
from unlabeled.method import Method, MethodConfig
from unlabeled.modalities.base import Modality
from unlabeled.nn.gather import gather_rows
from unlabeled.nn.precision import full, no_autocast
from unlabeled.types import Batch, Loss, View


class COLA(Method):
    """Contrastive learning of segments by bilinear similarity."""

    modalities = ("audio",)
    couples_samples = True
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 1e-3,
        "batch": 256,
        "weight_decay": 0.01,
        "warmup": 0.05,
    }

    class Config(MethodConfig):
        """Options of COLA."""

        segment: float = Field(0.5, gt=0, le=1, description="share of a recording in a segment")
        out_dim: int = Field(512, gt=0, description="width of a projection")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.projector = nn.Sequential(
            nn.Linear(encoder.dim, config.out_dim), nn.LayerNorm(config.out_dim), nn.Tanh()
        )
        self.bilinear = nn.Parameter(torch.empty(config.out_dim, config.out_dim))
        nn.init.normal_(self.bilinear, std=0.05)

    def views(self) -> dict[str, View]:
        """Return two segments of equal length, as they are."""
        share = self.config.segment
        return {"global": View(count=2, extent=(share, share))}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Find the second segment of each recording among all second segments (section 2)."""
        both = batch["global"].flatten(0, 1)  # BatchNorm sees both segments
        one, two = full(self.projector(self.encoder(both))).chunk(2)  # (B, out_dim) each
        scores = self.similarities(one, gather_rows(two))  # (B, all B)
        right = rank() * len(one) + torch.arange(len(one), device=scores.device)
        found = (scores.argmax(1) == right).float().mean()
        return Loss(F.cross_entropy(scores, right), {"found": found, **projected(one)})

    def similarities(self, one: Tensor, two: Tensor) -> Tensor:
        """Return the bilinear similarity of all pairs, (B, D), (K, D) -> (B, K)."""
        with no_autocast(one):
            return one @ self.bilinear.to(one.dtype) @ two.T

    def chance(self, batch_size: int) -> float:
        """Return ln B: every second segment is as likely."""
        return math.log(batch_size)
