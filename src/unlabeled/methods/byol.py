"""BYOL: predict, from one view, what a slow teacher says of the other; no negatives.

Grill et al., "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning", NeurIPS
2020, arXiv:2006.07733.

Departures: the loss is the mean over both directions, half of the authors' sum; widths are a
quarter of theirs (hidden_dim=4096 out_dim=256) and the teacher is faster (momentum=0.996), as is
usual for small data; saturation is jittered as much as brightness. The optimiser is SGD; theirs
is optim.name=lars optim.lr=0.2 a batch of 256 with optim.weight_decay=1.5e-6. The teacher's
BatchNorms collect their own statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.health import projected
from unlabeled.method import Method, MethodConfig
from unlabeled.modalities.base import Modality
from unlabeled.nn.ema import ema_update, frozen_copy
from unlabeled.nn.heads import perceptron
from unlabeled.nn.precision import full
from unlabeled.schedule import cosine
from unlabeled.types import Batch, Loss, View


class BYOL(Method):
    """A student that predicts its own slow average."""

    couples_samples = True  # BatchNorm in the projector
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "sgd",
        "lr": 0.12,
        "lr_rule": "linear",
        "batch": 256,
        "weight_decay": 5e-4,
        "momentum": 0.9,
        "warmup": 0.05,
    }

    class Config(MethodConfig):
        """Options of BYOL."""

        hidden_dim: int = Field(1024, gt=0, description="width inside projector and predictor")
        out_dim: int = Field(128, gt=0, description="width of a projection")
        momentum: float = Field(0.99, ge=0, le=1, description="of the teacher at first; then 1")
        crop: float = Field(0.2, gt=0, le=1, description="smallest share of an image in a view")
        distort: float = Field(0.5, ge=0, description="colour distortion")
        grey: float = Field(0.2, ge=0, le=1, description="probability of removing colour")
        solarize: float = Field(0.2, ge=0, le=1, description="of solarising the second view")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        c = self.config = config
        self.encoder = encoder
        self.projector = perceptron(encoder.dim, c.hidden_dim, c.out_dim, 2)
        self.predictor = perceptron(c.out_dim, c.hidden_dim, c.out_dim, 2)
        self.teacher, self.teacher_projector = frozen_copy(encoder), frozen_copy(self.projector)

    def views(self) -> dict[str, View]:
        """Return two crops, distorted unlike each other."""
        c = self.config
        look = View(2, (c.crop, 1.0), 1.0, True, c.distort, c.grey, (1.0, 0.1), (0.0, c.solarize))
        return {"global": look}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Compare each view's prediction with the teacher's projection of the other (Eq. 2)."""
        images = batch["global"]  # (2, B, C, H, W)
        with torch.no_grad():
            heard = [full(self.teacher_projector(self.teacher(x))) for x in images]
        told = [self.projector(self.encoder(x)) for x in images]  # (B, out_dim) each
        guesses = [full(self.predictor(z)) for z in told]
        agreement = (_agree(guesses[0], heard[1]) + _agree(guesses[1], heard[0])) / 2
        return Loss(2 - 2 * agreement, {"agreement": agreement.detach(), **projected(told[0])})

    def after_step(self, progress: float) -> None:
        """Move the teacher towards the student."""
        momentum = cosine(self.config.momentum, 1.0, progress)
        ema_update(self.teacher, self.encoder, momentum)
        ema_update(self.teacher_projector, self.projector, momentum)

    def exported(self) -> nn.Module:
        """Return the student, as the authors do."""
        return self.encoder


def _agree(guess: Tensor, target: Tensor) -> Tensor:
    return F.cosine_similarity(guess, target, dim=-1).mean()
