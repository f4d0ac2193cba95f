"""MoCo: find the other view of a sample among it and a queue of thousands of earlier ones.

He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020,
arXiv:1911.05722; Chen et al., "Improved Baselines with Momentum Contrastive Learning",
arXiv:2003.04297 (MoCo v2: perceptron, stronger distortion, cosine).

Departures: temperature, momentum and queue are those of the authors' CIFAR demonstration
(theirs for ImageNet: queue=65536 momentum=0.999 temperature=0.2), the rate is four times their
0.03, as in other comparisons on CIFAR-10. Instead of shuffling samples between devices, each rank
cuts its batch into `groups`, once in order for the queries and once shuffled for the keys, so
that BatchNorm gives the two views of a sample different statistics and cannot tell by them which
key belongs to a query. Encoders without BatchNorm are not cut up. The queue need not be a
multiple of the batch. The teacher's BatchNorms collect their own statistics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.health import projected
from unlabeled.method import Method, MethodConfig
from unlabeled.modalities.base import Modality
from unlabeled.nn.contrast import queue_nce
from unlabeled.nn.ema import ema_update, frozen_copy
from unlabeled.nn.queue import Queue
from unlabeled.rng import uniform
from unlabeled.types import Batch, Loss, View


class MoCo(Method):
    """Contrastive learning with a momentum encoder and a queue."""

    synchronised = False  # a group's own statistics are the point
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
        """Options of MoCo."""

        temperature: float = Field(0.1, gt=0, description="sharpness; 0.2 for large images")
        momentum: float = Field(0.99, ge=0, le=1, description="of the teacher")
        queue: int = Field(4096, ge=1, description="K, earlier samples to tell a view from")
        groups: int = Field(4, ge=1, description="parts of a batch with their own BatchNorm")
        hidden_dim: int = Field(512, gt=0, description="width inside the projector")
        out_dim: int = Field(128, gt=0, description="width of a projection")
        crop: float = Field(0.2, gt=0, le=1, description="smallest share of an image in a view")
        distort: float = Field(0.5, ge=0, description="colour distortion")
        grey: float = Field(0.2, ge=0, le=1, description="probability of removing colour")
        blur: float = Field(0.5, ge=0, le=1, description="probability of blurring")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        c = self.config = config
        self.encoder = encoder
        self.projector = nn.Sequential(
            nn.Linear(encoder.dim, c.hidden_dim), nn.ReLU(), nn.Linear(c.hidden_dim, c.out_dim)
        )
        self.teacher, self.teacher_projector = frozen_copy(encoder), frozen_copy(self.projector)
        self.queue = Queue(c.queue, c.out_dim)
        normed = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in encoder.modules())
        self.groups = c.groups if normed else 1

    def views(self) -> dict[str, View]:
        """Return two strongly distorted crops."""
        c = self.config
        return {"global": View(2, (c.crop, 1.0), 1.0, True, c.distort, c.grey, (c.blur,))}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Contrast the first view with the teacher's second one and with the queue (Eq. 1)."""
        one, two = batch["global"]  # (B, C, H, W) each
        shuffled = uniform(batch.keys, 1, salt=1)[:, 0].argsort()
        query = self.projector(self._grouped(self.encoder, one))  # (B, out_dim)
        with torch.no_grad():
            heard = self._grouped(self.teacher, two[shuffled])
            key = self.teacher_projector(heard)[shuffled.argsort()]
        total, found = queue_nce(query, key, self.queue.rows, self.config.temperature)
        self.queue.hear(key)
        return Loss(total, {"found": found, **projected(query)})

    def _grouped(self, encoder: nn.Module, x: Tensor) -> Tensor:
        """Encode images in groups of two or more, each with its own BatchNorm statistics."""
        groups = max(1, min(self.groups, len(x) // 2))
        return torch.cat([encoder(part) for part in x.tensor_split(groups)])

    def after_step(self, progress: float) -> None:
        """Push the keys of this step, and move the teacher before it makes the next ones."""
        self.queue.move()
        ema_update(self.teacher, self.encoder, self.config.momentum)
        ema_update(self.teacher_projector, self.projector, self.config.momentum)

    def chance(self, batch_size: int) -> float:
        """Return ln(1 + K): every key is as likely."""
        return math.log(1 + self.config.queue)
