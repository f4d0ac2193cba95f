"""VICReg: views agree, every dimension varies, and no two dimensions vary together.

Bardes, Ponce and LeCun, "VICReg: Variance-Invariance-Covariance Regularization for
Self-Supervised Learning", ICLR 2022, arXiv:2105.04906.

Departures: the expander is narrower for small data (the authors': hidden_dim=8192
out_dim=8192). As in their code, and unlike Eq. 6, the variance term is the mean over both views.
Statistics, of the loss and of BatchNorm, are those of all ranks, with gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field

from unlabeled.encoders.base import Encoder
from unlabeled.health import projected
from unlabeled.method import Method, MethodConfig
from unlabeled.modalities.base import Modality
from unlabeled.nn.decorrelate import vicreg
from unlabeled.nn.heads import perceptron
from unlabeled.types import Batch, Loss, View


class VICReg(Method):
    """Variance, invariance and covariance regularisation."""

    couples_samples = True
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "sgd",
        "lr": 0.03,
        "lr_rule": "linear",
        "batch": 256,
        "weight_decay": 5e-4,
        "momentum": 0.9,
        "warmup": 0.05,
    }

    class Config(MethodConfig):
        """Options of VICReg."""

        invariance: float = Field(25.0, ge=0, description="weight of the views' agreement")
        variance: float = Field(25.0, ge=0, description="weight of a deviation of at least 1")
        covariance: float = Field(1.0, ge=0, description="weight of what dimensions share")
        hidden_dim: int = Field(1024, gt=0, description="width inside the expander")
        out_dim: int = Field(1024, gt=1, description="D, width of a projection")
        crop: float = Field(0.2, gt=0, le=1, description="smallest share of an image in a view")
        distort: float = Field(0.5, ge=0, description="colour distortion")
        grey: float = Field(0.2, ge=0, le=1, description="probability of removing colour")
        solarize: float = Field(0.1, ge=0, le=1, description="probability of solarising")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        c = self.config = config
        self.encoder = encoder
        self.projector = perceptron(encoder.dim, c.hidden_dim, c.out_dim, 3, bias=False)

    def views(self) -> dict[str, View]:
        """Return two crops, distorted alike."""
        c = self.config
        look = View(2, (c.crop, 1.0), 1.0, True, c.distort, c.grey, (0.5,), (c.solarize,))
        return {"global": look}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Weigh the three terms (Eq. 6)."""
        c = self.config
        one, two = (self.projector(self.encoder(x)) for x in batch["global"])  # (B, out_dim)
        found = vicreg(one, two)
        total = c.invariance * found.invariance + c.variance * found.variance
        parts = {name: term.detach() for name, term in found._asdict().items()}
        seen = projected(one)
        # Projections that shrink to a point may still point everywhere: their size counts too.
        size = one.detach().float().std(0).mean()
        parts |= {**seen, "projection_spread": torch.minimum(seen["projection_spread"], size)}
        return Loss(total + c.covariance * found.covariance, parts)
