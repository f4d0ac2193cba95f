"""DINO: a student guesses, from any crop, what its slow teacher says of the large crops.

Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021,
arXiv:2104.14294.

Departures: fewer prototypes and local crops, for small data (the authors': out_dim=65536
num_local=8 hidden_dim=2048); gradients are clipped together, not per parameter. The teacher's
BatchNorms, where an encoder or the head (`norm_head`) has any, follow the authors' code: in
training they use and collect the statistics of what the teacher sees; they are not averaged from
the student's. `balance=sinkhorn` takes DINOv2's (arXiv:2304.07193) balanced targets.

The centre moves in `after_step`, from the teacher's scores that it adds up in training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from unlabeled.encoders.base import Encoder
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_tiles
from unlabeled.modalities.base import Modality
from unlabeled.nn.centre import Balance
from unlabeled.nn.crops import multi_crop
from unlabeled.nn.distill import distill
from unlabeled.nn.ema import ema_update, frozen_copy
from unlabeled.nn.groups import hold
from unlabeled.nn.heads import PrototypeHead
from unlabeled.schedule import cosine, ramp
from unlabeled.types import Batch, Loss, View


class DINO(Method):
    """Self-distillation without labels."""

    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 5e-4,
        "lr_rule": "linear",
        "batch": 128,
        "weight_decay": 0.04,
        "weight_decay_end": 0.4,
        "warmup": 0.1,
        "final_lr": 0.002,
        "clip": 3.0,
    }

    class Config(MethodConfig):
        """Options of DINO."""

        out_dim: int = Field(2048, gt=1, description="prototypes; 65536 for a million images")
        hidden_dim: int = Field(512, gt=0, description="width inside the head")
        bottleneck_dim: int = Field(256, gt=0, description="width that meets the prototypes")
        norm_head: bool = Field(False, description="BatchNorm in the head; couples samples")
        learn_norms: bool = Field(False, description="let the lengths of prototypes be learned")
        balance: Literal["centre", "sinkhorn"] = Field("centre", description="of prototypes")
        frozen_last: float = Field(
            0.01, ge=0, le=1, description="share of the run in which prototypes stay"
        )
        momentum: float = Field(0.996, ge=0, le=1, description="of the teacher at first; then 1")
        temperature: float = Field(0.1, gt=0, description="of the student")
        teacher_temperature: float = Field(0.07, gt=0, description="after the warm-up")
        first_temperature: float = Field(0.04, gt=0, description="of the teacher at first")
        temperature_warmup: float = Field(
            0.3, ge=0, le=1, description="share of the run until teacher_temperature"
        )
        centre_momentum: float = Field(0.9, ge=0, le=1, description="of the centre")
        num_local: int = Field(4, ge=0, description="small crops a sample")
        local_size: float = Field(0.5, gt=0, le=1, description="edge of small crops")
        split: float = Field(0.4, gt=0, lt=1, description="share that parts small from large crops")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        encoder.open_branches()  # as the authors' ResNets (torchvision's) begin: features to teach
        for view in self.views().values():
            require_tiles(encoder, modality, view)
        self.head = PrototypeHead(
            encoder.dim,
            config.hidden_dim,
            config.bottleneck_dim,
            config.out_dim,
            learn_norms=config.learn_norms,
            norm=config.norm_head,
        )
        self.teacher, self.teacher_head = frozen_copy(encoder), frozen_copy(self.head)
        self.balance = Balance(config.out_dim, config.balance, config.centre_momentum)
        self.couples_samples = config.norm_head or config.balance == "sinkhorn"  # type: ignore[misc]

    def views(self) -> dict[str, View]:
        """Return two large crops, distorted unlike each other, and small ones."""
        return multi_crop(self.config.num_local, self.config.local_size, self.config.split)

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Cross-entropy between the teacher's and the student's different views."""
        c, size = self.config, len(batch)
        with torch.no_grad():
            heard = self.teacher_head(self.teacher(batch["global"].flatten(0, 1)))
        features = [self.encoder(batch[kind].flatten(0, 1)) for kind in self.views()]
        scores = self.head(torch.cat(features)).unflatten(0, (-1, size))  # (V, B, K)
        temperature = ramp(
            c.first_temperature, c.teacher_temperature, progress, c.temperature_warmup
        )
        targets = self.balance(heard, temperature).unflatten(0, (2, size))
        found = distill(targets, scores, c.temperature)
        return Loss(found.loss, found.parts())

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the centre by what all ranks heard, and the teacher by what was learned."""
        self.balance.move()
        momentum = cosine(self.config.momentum, 1.0, progress)
        ema_update(self.teacher, self.encoder, momentum)
        ema_update(self.teacher_head, self.head, momentum)

    def exported(self) -> nn.Module:
        """Return the teacher, which is the better encoder throughout training."""
        return self.teacher

    def param_groups(self) -> list[dict[str, Any]]:
        """Hold the prototypes still at first, so that features settle before they do."""
        last = [p for p in self.head.prototypes.parameters() if p.requires_grad]
        return hold(super().param_groups(), last, self.config.frozen_last)

    def num_prototypes(self) -> int:
        """Return K."""
        return self.config.out_dim

    def chance(self, batch_size: int) -> float:
        """Return ln K: all prototypes are as likely."""
        return math.log(self.config.out_dim)
