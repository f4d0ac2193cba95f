"""SimSiam: predict one view from the other; a stopped gradient is all that prevents collapse.

Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021, arXiv:2011.10566.

Departures: widths are halved for small data (the authors': hidden_dim=2048 out_dim=2048
predictor_dim=512); the rate is that of their CIFAR-10 setting (appendix D: 0.03 at a batch of
256).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.health import projected
from unlabeled.method import Method, MethodConfig
from unlabeled.modalities.base import Modality
from unlabeled.nn.precision import full
from unlabeled.types import Batch, Loss, View


class SimSiam(Method):
    """A Siamese network without negatives, without a teacher."""

    couples_samples = True  # BatchNorm in the projector
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "sgd",
        "lr": 0.03,
        "lr_rule": "linear",
        "batch": 256,
        "weight_decay": 5e-4,
        "momentum": 0.9,
        "warmup": 0.0,
    }

    class Config(MethodConfig):
        """Options of SimSiam."""

        hidden_dim: int = Field(1024, gt=0, description="width inside the projector")
        out_dim: int = Field(1024, gt=0, description="width of a projection")
        predictor_dim: int = Field(256, gt=0, description="width inside the predictor")
        crop: float = Field(0.2, gt=0, le=1, description="smallest share of an image in a view")
        distort: float = Field(0.5, ge=0, description="colour distortion; 1 for large images")
        grey: float = Field(0.2, ge=0, le=1, description="probability of removing colour")
        blur: float = Field(0.5, ge=0, le=1, description="probability of blurring")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        c = self.config = config
        self.encoder = encoder
        last = nn.Linear(c.hidden_dim, c.out_dim)
        last.bias.requires_grad_(False)  # BatchNorm follows
        self.projector = nn.Sequential(
            *_layer(encoder.dim, c.hidden_dim),
            *_layer(c.hidden_dim, c.hidden_dim),
            last,
            nn.BatchNorm1d(c.out_dim, affine=False),
        )
        self.predictor = nn.Sequential(
            *_layer(c.out_dim, c.predictor_dim), nn.Linear(c.predictor_dim, c.out_dim)
        )

    def views(self) -> dict[str, View]:
        """Return two distorted crops."""
        c = self.config
        look = View(2, (c.crop, 1.0), 1.0, True, c.distort, c.grey, (c.blur,))
        return {"global": look}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Predict each view's projection from the other's (Eq. 4)."""
        one, two = (self.projector(self.encoder(x)) for x in batch["global"])  # (B, out_dim)
        total = -(self._agree(one, two) + self._agree(two, one)) / 2
        return Loss(total, projected(one))

    def _agree(self, here: Tensor, there: Tensor) -> Tensor:
        guess = full(self.predictor(here))
        return F.cosine_similarity(guess, full(there).detach(), dim=-1).mean()

    def param_groups(self) -> list[dict[str, Any]]:
        """Keep the predictor's rate, as the authors do (``fix-pred-lr``); decay everything."""
        guessing = {id(p) for p in self.predictor.parameters()}
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in guessing]
        return [{"params": rest}, {"params": list(self.predictor.parameters()), "steady": True}]


def _layer(dim: int, out_dim: int) -> list[nn.Module]:
    return [nn.Linear(dim, out_dim, bias=False), nn.BatchNorm1d(out_dim), nn.ReLU()]
