"""TCN: frames of a clip that are near in time look alike, far ones and those of other clips do not.

Sermanet et al., "Time-Contrastive Networks: Self-Supervised Learning from Video", ICRA 2018,
arXiv:1704.06888; the loss is the time-contrastive one of Nair et al., "R3M: A Universal Visual
Representation for Robot Manipulation", CoRL 2022, arXiv:2203.12601, equation 1.

Of each clip three frames are drawn. The first and the last must each find the middle one, by
distance, among the other end of the clip and the same moment of all other clips; the nearer frame
counts as near, whatever the time between. Features are kept small and sparse. What is learned is a
network for single pictures, such as a policy reads.

Departures: negatives are all other clips of the batch, in place of three drawn ones of which one
may be the clip itself; R3M's language loss, which needs text, is left out; a rate for short runs
(R3M's: optim.lr=1e-4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from unlabeled.device import rank
from unlabeled.encoders.base import Encoder
from unlabeled.health import projected
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_stills
from unlabeled.modalities.base import Modality
from unlabeled.nn.distance import distances, size
from unlabeled.nn.gather import gather_rows
from unlabeled.nn.moments import at, rising
from unlabeled.nn.precision import full
from unlabeled.types import Batch, Loss, View


class TCN(Method):
    """Contrast of frames by the time between them."""

    encoder: Any  # one that looks at frames apart
    modalities = ("video",)
    needs = "stills"
    couples_samples = True
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 1e-3,
        "batch": 64,
        "weight_decay": 1e-4,
        "warmup": 0.05,
    }

    class Config(MethodConfig):
        """Options of time contrast."""

        small: float = Field(1e-5, ge=0, description="weight of the features' length (L2)")
        sparse: float = Field(1e-5, ge=0, description="weight of the features' sum (L1)")
        crop: float = Field(0.4, gt=0, le=1, description="smallest share of a frame in a view")
        distort: float = Field(0.0, ge=0, description="strength of colour distortion, clips apart")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_stills("tcn", encoder, 3)
        self.config, self.encoder = config, encoder

    def views(self) -> dict[str, View]:
        """Return one crop; the frames of a clip are cut and distorted alike."""
        return {"global": View(extent=(self.config.crop, 1.0), flip=True,
                               distort=self.config.distort)}  # fmt: skip

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return -log p(middle) from both ends, equation 1, and the size of features."""
        clips = batch["global"][0]  # (B, T, C, H, W)
        picked = at(clips, rising(batch.keys, clips.shape[1], 3))
        z = full(self.encoder.embed(picked))  # (B, 3, D)
        first, middle, last = z.unbind(1)
        logits = self.logits(first, middle, last), self.logits(last, middle, first)
        own = torch.zeros(len(z), dtype=torch.int64, device=z.device)
        total = (F.cross_entropy(logits[0], own) + F.cross_entropy(logits[1], own)) / 2
        found = (logits[0].detach().argmax(1) == 0).float().mean()
        total = total + size(z, self.config.small, self.config.sparse)
        return Loss(total, {"accuracy": found, **projected(z.flatten(0, 1))})

    def logits(self, anchor: Tensor, near: Tensor, far: Tensor) -> Tensor:
        """Return minus the distances of anchors to what may be near them, (B, 1 + B).

        Args:
            anchor: (B, D).
            near: (B, D) of the same clips; the answer, in the first column.
            far: (B, D) of the same clips; in the second column. Those of other clips follow.
        """
        others = gather_rows(far)  # (B of all ranks, D); its own clip's is far itself
        inside = torch.arange(len(anchor), device=anchor.device)
        own = torch.stack([distances(anchor, near), distances(anchor, far)], 1)
        across = distances(anchor[:, None], others[None])  # (B, B of all ranks)
        across = across.scatter(1, (inside + rank() * len(anchor))[:, None], math.inf)
        return -torch.cat([own, across], 1)

    def chance(self, batch_size: int) -> float:
        """Return ln(B + 1), the loss of features that are all alike."""
        return math.log(batch_size + 1)
