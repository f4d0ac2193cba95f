"""LeJEPA: views of a sample agree, and all projections together are an isotropic Gaussian.

Balestriero and LeCun, "LeJEPA: Provable and Scalable Self-Supervised Learning Without the
Heuristics", 2025, arXiv:2511.08544.

There is no teacher, no stopped gradient, no predictor and no centre: what keeps projections apart
is SIGReg, a test of Gaussianity along random lines, drawn anew every step and shared by all ranks.

Departures: linear layers that BatchNorm follows have no bias; lines are a function of the run's
progress, so that a step can be repeated; fewer, milder views for small images (the authors':
num_local=6 distort=1 lines=1024, and optim.weight_decay=0.05 for transformers).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from unlabeled.encoders.base import Encoder
from unlabeled.health import projected
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_tiles
from unlabeled.modalities.base import Modality
from unlabeled.nn.precision import full
from unlabeled.nn.sigreg import draw_lines, sigreg
from unlabeled.rng import moment
from unlabeled.types import Batch, Loss, View


class LeJEPA(Method):
    """Agreement of views under a Gaussian prior."""

    couples_samples = True
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 2e-3,
        "lr_rule": "sqrt",
        "batch": 256,
        "weight_decay": 5e-4,
        "warmup": 0.1,
        "final_lr": 0.001,
    }

    class Config(MethodConfig):
        """Options of LeJEPA."""

        gauss: float = Field(0.05, ge=0, le=1, description="weight of SIGReg; 1 - it of agreement")
        lines: int = Field(256, ge=1, description="random lines a step; 1024 for long runs")
        knots: int = Field(17, ge=2, description="frequencies that are compared")
        hidden_dim: int = Field(512, gt=0, description="width inside the projector")
        out_dim: int = Field(32, gt=1, description="width of a projection")
        num_global: int = Field(2, ge=1, description="large crops a sample")
        num_local: int = Field(2, ge=0, description="small crops a sample")
        local_size: float = Field(0.5, gt=0, le=1, description="edge of small crops")
        split: float = Field(0.3, gt=0, lt=1, description="share that parts small from large crops")
        distort: float = Field(0.5, ge=0, description="colour distortion; 1 for large images")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        for view in self.views().values():
            require_tiles(encoder, modality, view)
        self.projector = nn.Sequential(
            *_layer(encoder.dim, config.hidden_dim),
            *_layer(config.hidden_dim, config.hidden_dim),
            nn.Linear(config.hidden_dim, config.out_dim),
        )

    def views(self) -> dict[str, View]:
        """Return large crops and small ones, all distorted alike."""
        c = self.config
        look = partial(View, flip=True, distort=c.distort, grey=0.2, blur=(0.5,), solarize=(0.2,))
        views = {"global": look(c.num_global, (c.split, 1.0))}
        if c.num_local:
            views["local"] = look(c.num_local, (0.05, c.split), c.local_size)
        return views

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Pull all views to the mean of the large ones, and their cloud to a Gaussian."""
        c = self.config
        features = [self.encoder(batch[kind].flatten(0, 1)) for kind in self.views()]
        z = full(self.projector(torch.cat(features)))
        z = z.view(-1, len(batch), c.out_dim)  # (V, B, K)
        apart = (z[: c.num_global].mean(0) - z).square().mean()
        lines = draw_lines(moment(progress), c.out_dim, c.lines).to(z.device)
        odd = sigreg(z, lines, c.knots)
        total = c.gauss * odd + (1 - c.gauss) * apart
        parts = {"disagreement": apart.detach(), "gaussianity": odd.detach()}
        # Directions alone would hide a cloud that shrinks: a Gaussian has a deviation of 1.
        size = {"projection_spread": z[0].detach().std(0, correction=0).mean()}
        return Loss(total, {**parts, **projected(z[0]), **size})


def _layer(dim: int, out_dim: int) -> list[nn.Module]:
    return [nn.Linear(dim, out_dim, bias=False), nn.BatchNorm1d(out_dim), nn.ReLU()]
