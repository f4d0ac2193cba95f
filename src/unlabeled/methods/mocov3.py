"""MoCo v3: each view's prediction finds the teacher's other view in the batch; made for ViTs.

Chen, Xie and He, "An Empirical Study of Training Self-Supervised Vision Transformers", ICCV
2021, arXiv:2104.02057.

The patch embedding of a transformer keeps its first, random weights, which is what steadies its
training; its positions are fixed sinusoids. Convolutional networks get the authors' shallower
heads for ResNets.

Departures: heads are narrower for small data (the authors': hidden_dim=4096 out_dim=256), the
temperature is 0.2 for ResNets too (theirs: 1), saturation is jittered as much as brightness.
The recipe is one for ResNets; for a transformer take the authors' optim.name=adamw optim.lr=1.5e-4
a batch of 256 and optim.weight_decay=0.1.
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
from unlabeled.nn.contrast import batch_nce
from unlabeled.nn.ema import ema_update, frozen_copy
from unlabeled.nn.heads import perceptron
from unlabeled.nn.positions import sincos_2d
from unlabeled.schedule import cosine
from unlabeled.types import Batch, Loss, View


class SymmetricMoCo(Method):
    """Symmetric momentum contrast without a queue."""

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
        """Options of MoCo v3."""

        temperature: float = Field(0.2, gt=0, description="sharpness; also scales the loss")
        momentum: float = Field(0.99, ge=0, le=1, description="of the teacher at first; then 1")
        frozen_patches: bool = Field(True, description="keep a transformer's patch embedding")
        hidden_dim: int = Field(1024, gt=0, description="width inside projector and predictor")
        out_dim: int = Field(128, gt=0, description="width of a projection")
        crop: float = Field(0.2, gt=0, le=1, description="smallest share of an image in a view")
        distort: float = Field(0.5, ge=0, description="colour distortion")
        grey: float = Field(0.2, ge=0, le=1, description="probability of removing colour")
        solarize: float = Field(0.2, ge=0, le=1, description="of solarising the second view")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        c = self.config = config
        self.encoder = encoder
        tokens = encoder.hides_tokens
        if tokens:
            _start(encoder, c.frozen_patches)
        self.projector = perceptron(
            encoder.dim, c.hidden_dim, c.out_dim, 3 if tokens else 2, norm=True
        )
        self.predictor = perceptron(c.out_dim, c.hidden_dim, c.out_dim, 2, bias=False, norm=tokens)
        self.teacher, self.teacher_projector = frozen_copy(encoder), frozen_copy(self.projector)

    def views(self) -> dict[str, View]:
        """Return two crops, distorted unlike each other."""
        c = self.config
        look = View(2, (c.crop, 1.0), 1.0, True, c.distort, c.grey, (1.0, 0.1), (0.0, c.solarize))
        return {"global": look}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Find each view's key among the other views of the batch, both ways (algorithm 1)."""
        images = batch["global"]  # (2, B, C, H, W)
        with torch.no_grad():
            keys = [self.teacher_projector(self.teacher(x)) for x in images]
        told = [self.projector(self.encoder(x)) for x in images]  # (B, out_dim) each
        queries = [self.predictor(z) for z in told]
        one, found = self._find(queries[0], keys[1])
        two, _ = self._find(queries[1], keys[0])
        total = 2 * self.config.temperature * (one + two)
        return Loss(total, {"found": found, **projected(told[0])})

    def _find(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        return batch_nce(queries, keys, self.config.temperature)

    def after_step(self, progress: float) -> None:
        """Move the teacher towards the student."""
        momentum = cosine(self.config.momentum, 1.0, progress)
        ema_update(self.teacher, self.encoder, momentum)
        ema_update(self.teacher_projector, self.projector, momentum)

    def chance(self, batch_size: int) -> float:
        """Return 4 T ln B: both directions, each scaled by twice the temperature."""
        return 4 * self.config.temperature * math.log(batch_size)


def _start(image: Any, frozen: bool) -> None:
    """Start a transformer as the authors do, unless its weights were loaded."""
    model = image.model
    if not image.pretrained:
        side = image.blueprint.size // image.patch
        if model.pos_embed is not None:
            image.place(sincos_2d(side, image.dim), torch.zeros(image.num_prefix, image.dim))
        for name, layer in model.named_modules():
            if isinstance(layer, nn.Linear):
                parts = 3 if name.endswith("qkv") else 1  # queries, keys and values apart
                fan = len(layer.weight) // parts + layer.weight.shape[1]
                nn.init.uniform_(layer.weight, -math.sqrt(6 / fan), math.sqrt(6 / fan))
                nn.init.zeros_(layer.bias)
        if model.cls_token is not None:
            nn.init.normal_(model.cls_token, std=1e-6)
        projection = model.patch_embed.proj
        nn.init.xavier_uniform_(projection.weight.view(len(projection.weight), -1))
        nn.init.zeros_(projection.bias)
    model.patch_embed.requires_grad_(not frozen)
