"""iBOT: DINO, while the student must also guess what the teacher sees in hidden patches.

Zhou et al., "iBOT: Image BERT Pre-Training with Online Tokenizer", ICLR 2022, arXiv:2111.07832.

The student's large crops have patches hidden, the teacher's none. The class token learns as in
DINO; hidden patches from the teacher's at their place, with a centre and temperature of their own.

Departures: fewer prototypes and local crops, and a colder teacher, for small data (the authors':
out_dim=8192 num_local=10 hidden_dim=2048 split=0.25, and 0.04 rising to 0.07, which ends uniform in
short runs); one head; the patches' centre hears hidden ones only; gradients are clipped together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_tiles, require_tokens
from unlabeled.modalities.base import Modality
from unlabeled.nn.block_masks import crop_masks
from unlabeled.nn.centre import Centre
from unlabeled.nn.crops import multi_crop
from unlabeled.nn.distill import distill, distill_patches, sharpen
from unlabeled.nn.ema import ema_update, frozen_copy
from unlabeled.nn.groups import hold
from unlabeled.nn.heads import PrototypeHead
from unlabeled.schedule import cosine, ramp
from unlabeled.types import Batch, Loss, View


class IBOT(Method):
    """Self-distillation of class tokens and of hidden patches."""

    encoder: Any  # one with patches
    modalities = ("image", "audio")
    needs = "tokens"
    class_token = True
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
        """Options of iBOT."""

        out_dim: int = Field(2048, gt=1, description="prototypes; 8192 for a million images")
        hidden_dim: int = Field(512, gt=0, description="width inside the head")
        bottleneck_dim: int = Field(256, gt=0, description="width that meets the prototypes")
        shared_head: bool = Field(True, description="one head for class token and patches")
        frozen_last: float = Field(0.01, ge=0, le=1, description="share of run: prototypes stay")
        momentum: float = Field(0.996, ge=0, le=1, description="of the teacher at first; then 1")
        temperature: float = Field(0.1, gt=0, description="of the student")
        teacher_temperature: float = Field(0.03, gt=0, description="after the warm-up")
        patch_temperature: float = Field(0.03, gt=0, description="of the teacher, for patches")
        first_temperature: float = Field(0.03, gt=0, description="of the teacher at first")
        temperature_warmup: float = Field(0.3, ge=0, le=1, description="share of run: it rises")
        centre_momentum: float = Field(0.9, ge=0, le=1, description="of the centres")
        mask_share: float = Field(0.5, gt=0, le=1, description="share of crops with hidden patches")
        mask_low: float = Field(0.1, gt=0, lt=1, description="least share of patches hidden there")
        mask_high: float = Field(0.5, gt=0, lt=1, description="largest share of patches hidden")
        num_local: int = Field(4, ge=0, description="small crops a sample")
        local_size: float = Field(0.5, gt=0, le=1, description="edge of small crops")
        split: float = Field(0.4, gt=0, lt=1, description="share that parts small from large crops")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_tokens("ibot", encoder)
        c, self.config, self.encoder = config, config, encoder
        for view in self.views().values():
            require_tiles(encoder, modality, view)
        self.side = self.encoder.blueprint.size // self.encoder.patch
        head = partial(PrototypeHead, encoder.dim, c.hidden_dim, c.bottleneck_dim, c.out_dim)
        self.heads: Any = nn.ModuleList(head() for _ in range(2 - c.shared_head))  # last: patches
        self.mask_token = nn.Parameter(torch.zeros(encoder.dim))
        self.teacher: Any = frozen_copy(encoder)
        self.teacher_heads = frozen_copy(self.heads)
        self.centre = Centre(c.out_dim, c.centre_momentum)
        self.patch_centre = Centre(c.out_dim, c.centre_momentum)

    def views(self) -> dict[str, View]:
        """Return two large crops, distorted unlike each other, and small ones."""
        return multi_crop(self.config.num_local, self.config.local_size, self.config.split)

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Add the losses of class tokens and of hidden patches (Eq. 3)."""
        c, size, large = self.config, len(batch), batch["global"].flatten(0, 1)
        hidden = self.hide(batch.keys)
        with torch.no_grad():
            feature, patches = self.teacher.feature_and_patches(large)
            said = self.teacher_heads[0](feature)  # (2B, K)
            meant = self.teacher_heads[-1](patches[hidden])  # (M, K)
        feature, patches = self.encoder.feature_and_patches(large, hidden, self.mask_token)
        small = [self.encoder(batch["local"].flatten(0, 1))] if c.num_local else []
        scores = self.heads[0](torch.cat([feature, *small]))  # (V B, K)
        warm = partial(ramp, c.first_temperature, progress=progress, over=c.temperature_warmup)
        targets = sharpen(said, self.centre.value, warm(c.teacher_temperature)).view(2, size, -1)
        whole = distill(targets, scores.view(-1, size, c.out_dim), c.temperature)
        targets = sharpen(meant, self.patch_centre.value, warm(c.patch_temperature))
        guesses, crops = self.heads[-1](patches[hidden]), hidden.nonzero()[:, 0]
        part = distill_patches(targets, guesses, crops, 2 * size, c.temperature)
        self.centre.hear(said)
        self.patch_centre.hear(meant)
        return Loss(whole.loss + part.loss, {**whole.parts(), **part.parts("patch_")})

    def hide(self, keys: Tensor) -> Tensor:
        """Draw which patches of the large crops are hidden, (2B, N) bool."""
        c = self.config
        return crop_masks(keys, self.side, c.mask_share, (c.mask_low, c.mask_high))

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the centres and the teacher."""
        self.centre.move()
        self.patch_centre.move()
        momentum = cosine(self.config.momentum, 1.0, progress)
        ema_update(self.teacher, self.encoder, momentum)
        ema_update(self.teacher_heads, self.heads, momentum)

    def exported(self) -> nn.Module:
        """Return the teacher."""
        return self.get_submodule("teacher")

    def param_groups(self) -> list[dict[str, Any]]:
        """Hold the prototypes still at first, so that features settle before they do."""
        last = [head.prototypes.weight for head in self.heads]
        return hold(super().param_groups(), last, self.config.frozen_last)

    def num_prototypes(self) -> int:
        """Return K."""
        return self.config.out_dim

    def chance(self, batch_size: int) -> float:
        """Return ln K, once for class tokens and once for the crops with hidden patches."""
        return (1 + self.config.mask_share) * math.log(self.config.out_dim)
