"""NNCLR: the nearest neighbour of one view, among earlier samples, finds the other view.

Dwibedi et al., "With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of
Visual Representations", ICCV 2021, arXiv:2104.14548.

Departures: a smaller queue and narrower heads for small data (the authors': queue=98304
hidden_dim=2048 predictor_dim=4096 out_dim=256). The last BatchNorm of the projector has no scale
and shift: what follows it is a unit vector. The queue holds random rows until it is filled. On
several ranks the other samples of all ranks are candidates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from unlabeled.encoders.base import Encoder
from unlabeled.health import projected
from unlabeled.method import Method, MethodConfig
from unlabeled.modalities.base import Modality
from unlabeled.nn.contrast import batch_nce
from unlabeled.nn.heads import perceptron
from unlabeled.nn.queue import Queue
from unlabeled.types import Batch, Loss, View


class NNCLR(Method):
    """Contrastive learning with neighbours as positives."""

    couples_samples = True
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
        """Options of NNCLR."""

        temperature: float = Field(0.1, gt=0, description="sharpness")
        queue: int = Field(4096, ge=1, description="earlier samples that may be neighbours")
        hidden_dim: int = Field(512, gt=0, description="width inside the projector")
        predictor_dim: int = Field(1024, gt=0, description="width inside the predictor")
        out_dim: int = Field(128, gt=0, description="width of a projection")
        crop: float = Field(0.2, gt=0, le=1, description="smallest share of an image in a view")
        distort: float = Field(0.5, ge=0, description="colour distortion")
        grey: float = Field(0.2, ge=0, le=1, description="probability of removing colour")
        blur: float = Field(0.5, ge=0, le=1, description="probability of blurring")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        c = self.config = config
        self.encoder = encoder
        self.projector = perceptron(encoder.dim, c.hidden_dim, c.out_dim, 3, norm=True)
        self.predictor = perceptron(c.out_dim, c.predictor_dim, c.out_dim, 2)
        self.queue = Queue(c.queue, c.out_dim)

    def views(self) -> dict[str, View]:
        """Return two strongly distorted crops."""
        c = self.config
        return {"global": View(2, (c.crop, 1.0), 1.0, True, c.distort, c.grey, (c.blur,))}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Let each view's neighbour find the other view's prediction (Eq. 3, both ways)."""
        images = batch["global"].flatten(0, 1)  # (2B, C, H, W): BatchNorm sees both views
        told = self.projector(self.encoder(images))  # (2B, out_dim)
        guesses = self.predictor(told).chunk(2)
        neighbours = self.queue.nearest(told).chunk(2)
        one, found = self._find(neighbours[0], guesses[1])
        two, _ = self._find(neighbours[1], guesses[0])
        first = told.chunk(2)[0]
        self.queue.hear(first)
        return Loss((one + two) / 2, {"found": found, **projected(first)})

    def _find(self, neighbours: Tensor, guesses: Tensor) -> tuple[Tensor, Tensor]:
        return batch_nce(neighbours, guesses, self.config.temperature)

    def after_step(self, progress: float) -> None:
        """Push the first views of this step."""
        self.queue.move()

    def chance(self, batch_size: int) -> float:
        """Return ln B: every sample of the batch is as likely."""
        return math.log(batch_size)
