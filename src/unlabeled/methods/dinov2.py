"""DINOv2: DINO on images, iBOT on hidden patches, and KoLeo, which keeps images apart.

Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", TMLR 2024,
arXiv:2304.07193; Gram anchoring after Siméoni et al., "DINOv3", 2025, arXiv:2508.10104.

Targets are balanced by Sinkhorn-Knopp; half of the large crops have blocks of patches hidden, by
ratios laid out over the batch; deep layers learn slowly. Registers: encoder.options={reg_tokens=4}.
The phase at high resolution is a run from this one: --init RUN/encoder modality.size=SIZE.

Departures: fewer prototypes and local crops and half the rate, for small data (the authors':
out_dim=65536 num_local=8 hidden_dim=2048); KoLeo looks for neighbours on all ranks; gradients are
clipped together. The Gram anchor is the teacher at gram_from, seeing the crops at their own size.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from unlabeled.encoders.base import Encoder
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_tiles, require_tokens
from unlabeled.modalities.base import Modality
from unlabeled.nn.block_masks import crop_masks
from unlabeled.nn.centre import Balance
from unlabeled.nn.crops import multi_crop
from unlabeled.nn.distill import distill, distill_patches
from unlabeled.nn.ema import ema_update, frozen_copy
from unlabeled.nn.gram import Anchor
from unlabeled.nn.groups import hold, layered
from unlabeled.nn.heads import PrototypeHead
from unlabeled.nn.koleo import koleo
from unlabeled.schedule import cosine, ramp
from unlabeled.types import Batch, Loss, View


class DINOv2(Method):
    """Self-distillation of images and patches, spread out."""

    encoder: Any  # one with patches
    modalities = ("image", "audio")
    needs = "tokens"
    class_token = True
    couples_samples = True
    recipe: ClassVar[Mapping[str, Any]] = {
        "lr": 1e-3,
        "lr_rule": "sqrt",
        "batch": 128,
        "weight_decay": 0.04,
        "weight_decay_end": 0.4,
        "clip": 3.0,
    }

    class Config(MethodConfig):
        """Options of DINOv2."""

        out_dim: int = Field(2048, gt=1, description="prototypes; 65536 for a million images")
        hidden_dim: int = Field(512, gt=0, description="width inside the head")
        bottleneck_dim: int = Field(256, gt=0, description="width that meets the prototypes")
        shared_head: bool = Field(True, description="one head for class token and patches")
        balance: Literal["sinkhorn", "centre"] = Field("sinkhorn", description="of prototypes")
        ibot: float = Field(1.0, ge=0, description="weight of hidden patches")
        koleo: float = Field(0.1, ge=0, description="weight of the distance to neighbours")
        gram: float = Field(0.0, ge=0, description="weight of Gram anchoring; 2 in DINOv3")
        gram_from: float = Field(0.7, ge=0, le=1, description="share of run: the anchor is taken")
        frozen_last: float = Field(0.01, ge=0, le=1, description="share of run: prototypes stay")
        layer_decay: float = Field(0.9, gt=0, le=1, description="of the rate, from layer to layer")
        patch_rate: float = Field(0.2, gt=0, le=1, description="of the patch embedding")
        momentum: float = Field(0.992, ge=0, le=1, description="of the teacher at first; then 1")
        temperature: float = Field(0.1, gt=0, description="of the student")
        teacher_temperature: float = Field(0.07, gt=0, description="after the warm-up")
        first_temperature: float = Field(0.04, gt=0, description="of the teacher at first")
        temperature_warmup: float = Field(0.3, ge=0, le=1, description="share of run: it rises")
        mask_low: float = Field(0.1, gt=0, lt=1, description="least share of patches hidden")
        mask_high: float = Field(0.5, gt=0, lt=1, description="largest share of patches hidden")
        num_local: int = Field(4, ge=0, description="small crops a sample")
        local_size: float = Field(0.5, gt=0, le=1, description="edge of small crops")
        split: float = Field(0.4, gt=0, lt=1, description="share that parts small from large crops")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_tokens("dinov2", encoder)
        c, self.config, self.encoder = config, config, encoder
        for view in self.views().values():
            require_tiles(encoder, modality, view)
        head = partial(PrototypeHead, encoder.dim, c.hidden_dim, c.bottleneck_dim, c.out_dim)
        self.heads: Any = nn.ModuleList(head() for _ in range(2 - c.shared_head))  # last: patches
        self.mask_token = nn.Parameter(torch.zeros(encoder.dim))
        self.teacher: Any = frozen_copy(encoder)
        self.teacher_heads: Any = frozen_copy(self.heads)
        self.balance: Any = nn.ModuleList(Balance(c.out_dim, c.balance) for _ in range(2))
        self.anchor: Any = Anchor(encoder, c.gram_from) if c.gram else None

    def views(self) -> dict[str, View]:
        """Return two large crops, distorted unlike each other, and small ones."""
        return multi_crop(self.config.num_local, self.config.local_size, self.config.split)

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Add what images, hidden patches, neighbours and the anchor say."""
        c, size, large = self.config, len(batch), batch["global"].flatten(0, 1)
        side = self.encoder.blueprint.size // self.encoder.patch
        hidden = crop_masks(batch.keys, side, 0.5, (c.mask_low, c.mask_high), spread=True)
        warm = ramp(c.first_temperature, c.teacher_temperature, progress, c.temperature_warmup)
        with torch.no_grad():
            feature, patches = self.teacher.feature_and_patches(large)
            targets = self.balance[0](self.teacher_heads[0](feature), warm)  # (2B, K)
            hints = self.balance[1](self.teacher_heads[-1](patches[hidden]), warm)  # (M, K)
        feature, patches = self.encoder.feature_and_patches(large, hidden, self.mask_token)
        small = [self.encoder(batch["local"].flatten(0, 1))] if c.num_local else []
        scores = self.heads[0](torch.cat([feature, *small])).view(-1, size, c.out_dim)
        guesses, crops = self.heads[-1](patches[hidden]), hidden.nonzero()[:, 0]
        whole = distill(targets.view(2, size, -1), scores, c.temperature)
        part = distill_patches(hints, guesses, crops, 2 * size, c.temperature)
        near = koleo(feature[:size]) + koleo(feature[size:])  # never between crops of one image
        parts = {**whole.parts(), **part.parts("patch_"), "koleo": near.detach() / 2}
        total = whole.loss + c.ibot * part.loss + c.koleo * near
        if self.anchor is not None and self.anchor.taken:
            drift = self.anchor(large, patches)
            total, parts["gram"] = total + c.gram * drift, drift.detach()
        return Loss(total, parts)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the teacher, centres if there are any, and once take the anchor."""
        for balance in self.balance:
            balance.move()
        momentum = cosine(self.config.momentum, 1.0, progress)
        ema_update(self.teacher, self.encoder, momentum)
        ema_update(self.teacher_heads, self.heads, momentum)
        if self.anchor is not None:
            self.anchor.take(self.teacher, progress)

    def exported(self) -> nn.Module:
        """Return the teacher."""
        return self.get_submodule("teacher")

    def param_groups(self) -> list[dict[str, Any]]:
        """Let deep layers learn slowly, and hold the prototypes still at first."""
        c, depth = self.config, len(self.encoder.model.blocks)
        groups = layered(self.named_parameters(), depth, c.layer_decay, c.patch_rate)
        return hold(groups, [head.prototypes.weight for head in self.heads], c.frozen_last)

    def num_prototypes(self) -> int:
        """Return K."""
        return self.config.out_dim
