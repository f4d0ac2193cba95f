"""Barlow Twins: two views agree in every dimension, and no dimension repeats another.

Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", ICML 2021,
arXiv:2103.03230.

Departures: the projector is narrower for small data (the authors': hidden_dim=8192
out_dim=8192), and the loss is divided by out_dim so that a rate holds for every width. Statistics
for the loss and inside the projector are those of all ranks, as the authors' are. With
optim.name=lars biases and BatchNorm move at `vector_rate` of the rate, as theirs do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from unlabeled.encoders.base import Encoder
from unlabeled.health import projected
from unlabeled.method import Method, MethodConfig
from unlabeled.modalities.base import Modality
from unlabeled.nn.decorrelate import barlow_twins
from unlabeled.nn.heads import perceptron
from unlabeled.types import Batch, Loss, View


class BarlowTwins(Method):
    """Redundancy reduction."""

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
        """Options of Barlow Twins."""

        redundancy: float = Field(0.0051, ge=0, description="weight of what dimensions share")
        hidden_dim: int = Field(1024, gt=0, description="width inside the projector")
        out_dim: int = Field(1024, gt=1, description="D, width of a projection")
        crop: float = Field(0.2, gt=0, le=1, description="smallest share of an image in a view")
        distort: float = Field(0.5, ge=0, description="colour distortion")
        grey: float = Field(0.2, ge=0, le=1, description="probability of removing colour")
        solarize: float = Field(0.2, ge=0, le=1, description="of solarising the second view")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        c = self.config = config
        self.encoder = encoder
        self.projector = perceptron(encoder.dim, c.hidden_dim, c.out_dim, 3, bias=False)

    def views(self) -> dict[str, View]:
        """Return two crops, distorted unlike each other."""
        c = self.config
        look = View(2, (c.crop, 1.0), 1.0, True, c.distort, c.grey, (1.0, 0.1), (0.0, c.solarize))
        return {"global": look}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Bring the views' cross-correlation near the identity (Eq. 1), over its width."""
        one, two = (self.projector(self.encoder(x)) for x in batch["global"])  # (B, out_dim)
        found = barlow_twins(one, two, self.config.redundancy)
        parts = {"diagonal": found.diagonal, "redundancy": found.redundancy, **projected(one)}
        return Loss(found.loss / self.config.out_dim, parts)
