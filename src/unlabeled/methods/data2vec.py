"""data2vec: guess, at hidden patches, what a slow teacher's upper layers make of the whole image.

Baevski et al., "data2vec: A General Framework for Self-supervised Learning in Speech, Vision and
Language", ICML 2022, arXiv:2202.03555.

The target is the mean of the teacher's last blocks, each normalised without learned scale, and
normalised again, as in the authors' code for images. Blocks of patches are hidden as in BEiT.

Departures: timm's transformer has positions of its own and no relative bias; images are not
distorted in colour unless asked; the teacher follows faster, for short runs (the authors' momentum
is 0.9998 over 800 passes, their rate 2e-3 at a batch of 2048).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_tokens
from unlabeled.modalities.base import Modality
from unlabeled.nn.block_masks import block_masks
from unlabeled.nn.ema import ema_update, frozen_copy
from unlabeled.nn.precision import full
from unlabeled.schedule import ramp
from unlabeled.types import Batch, Loss, View


class Data2Vec(Method):
    """Regression of contextual features of hidden patches."""

    encoder: Any  # one with patches
    modalities = ("image", "audio")
    needs = "tokens"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 5e-4,
        "lr_rule": "sqrt",
        "batch": 256,
        "weight_decay": 0.05,
        "warmup": 0.1,
        "clip": 3.0,
    }

    class Config(MethodConfig):
        """Options of data2vec."""

        mask_ratio: float = Field(0.6, gt=0, lt=1, description="share of patches that is hidden")
        top_blocks: int = Field(6, ge=1, description="last blocks in a target, at most all")
        beta: float = Field(2.0, gt=0, description="error up to which the loss is a square")
        first_momentum: float = Field(0.99, ge=0, le=1, description="of the teacher at first")
        momentum: float = Field(0.999, ge=0, le=1, description="of the teacher later")
        momentum_warmup: float = Field(0.3, ge=0, le=1, description="share of run: momentum rises")
        crop: float = Field(0.2, gt=0, le=1, description="smallest share of an image in a view")
        distort: float = Field(0.0, ge=0, description="colour distortion; the authors' is 0.5")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_tokens("data2vec", encoder)
        self.config, self.encoder = config, encoder
        self.side: int = self.encoder.blueprint.size // self.encoder.patch
        self.mask_token = nn.Parameter(torch.empty(encoder.dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.predict = nn.Linear(encoder.dim, encoder.dim)
        nn.init.trunc_normal_(self.predict.weight, std=0.02)
        nn.init.zeros_(self.predict.bias)
        self.teacher: Any = frozen_copy(encoder)

    def views(self) -> dict[str, View]:
        """Return one crop."""
        c = self.config
        return {"global": View(extent=(c.crop, 1.0), flip=True, distort=c.distort)}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Compare guesses at hidden patches with the teacher's upper layers (Eq. 2)."""
        images, hidden = batch["global"][0], self.hide(batch.keys)  # (B, N)
        whole = self.targets(images)  # (B, N, D)
        _, patches = self.encoder.feature_and_patches(images, hidden, self.mask_token)
        guesses = full(self.predict(patches[hidden]))  # (M, D)
        total = F.smooth_l1_loss(guesses, whole[hidden], beta=self.config.beta)
        apart = whole.std(0, correction=0).mean()  # 0 if targets depend on places alone
        return Loss(total, {"targets": hidden.sum(), "target_spread": apart.detach()})

    def hide(self, keys: Tensor) -> Tensor:
        """Draw which patches are hidden, (B, N) bool, at least one a sample."""
        wanted = max(1, int(self.config.mask_ratio * self.side**2))
        hidden = block_masks(keys, torch.full_like(keys, wanted), self.side)
        hidden[:, 0] |= ~hidden.any(1)
        return hidden

    @torch.no_grad()
    def targets(self, images: Tensor) -> Tensor:
        """Return normalised means of the teacher's last blocks, (B, N, D)."""
        first, width = self.encoder.num_prefix, (self.encoder.dim,)
        layers = [full(x)[:, first:] for x in self.teacher.layers(self.teacher.embed(images))]
        kept = layers[-self.config.top_blocks :]
        mean = torch.stack([F.layer_norm(x, width) for x in kept]).mean(0)
        return F.layer_norm(mean, width)

    def after_step(self, progress: float) -> None:
        """Move the teacher, fast at first (section 3.3)."""
        c = self.config
        momentum = ramp(c.first_momentum, c.momentum, progress, c.momentum_warmup)
        ema_update(self.teacher, self.encoder, momentum)
