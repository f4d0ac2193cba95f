"""I-JEPA: guess, from one part of an image, what a slow teacher makes of other parts.

Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding Predictive
Architecture", CVPR 2023, arXiv:2301.08243.

Nothing is distorted. The teacher sees the whole image; its patches, normalised without learned
scale, are the targets. A narrow transformer guesses each target block by itself.

Departures: contexts of different length share a batch by masked attention and are not cut to the
shortest; blocks may touch the lower and right border; a class token, where the encoder has one, is
a part of the context and not of the targets; timm's starting weights; a smaller predictor, for
small encoders (the authors': predictor_heads=12 predictor_depth=6 or 12).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_tokens
from unlabeled.modalities.base import Modality
from unlabeled.nn.ema import ema_update, frozen_copy
from unlabeled.nn.jepa_masks import Blocks, draw_blocks, gather_context
from unlabeled.nn.masks import take
from unlabeled.nn.positions import sincos_2d
from unlabeled.nn.precision import full
from unlabeled.nn.predictor import Predictor
from unlabeled.rng import moment
from unlabeled.schedule import linear
from unlabeled.types import Batch, Loss, View


class IJEPA(Method):
    """Prediction of features of hidden blocks."""

    encoder: Any  # one with patches
    modalities = ("image", "audio")
    needs = "tokens"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 5e-4,
        "lr_rule": "sqrt",
        "batch": 256,
        "weight_decay": 0.04,
        "weight_decay_end": 0.4,
        "warmup": 0.1,
        "final_lr": 0.001,
    }

    class Config(MethodConfig):
        """Options of I-JEPA."""

        num_targets: int = Field(4, ge=1, description="blocks to guess in an image")
        target_low: float = Field(0.15, gt=0, lt=1, description="least share of a target block")
        target_high: float = Field(0.2, gt=0, lt=1, description="largest share of a target block")
        context_low: float = Field(0.85, gt=0, le=1, description="least share of the context block")
        predictor_heads: int = Field(3, ge=1, description="heads of the predictor, each 32 wide")
        predictor_depth: int = Field(3, ge=1, description="blocks of the predictor")
        momentum: float = Field(0.996, ge=0, le=1, description="of the teacher at first; then 1")
        crop: float = Field(0.3, gt=0, le=1, description="smallest share of an image in a view")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_tokens("ijepa", encoder)
        self.config, self.encoder = config, encoder
        self.side: int = self.encoder.blueprint.size // self.encoder.patch
        if not self.encoder.pretrained:
            prefix = torch.zeros(encoder.num_prefix, encoder.dim)
            self.encoder.place(sincos_2d(self.side, encoder.dim), prefix)
        places = partial(sincos_2d, self.side)
        self.predictor = Predictor(
            encoder.dim, places, config.predictor_heads, config.predictor_depth
        )
        self.teacher: Any = frozen_copy(encoder)

    def views(self) -> dict[str, View]:
        """Return one crop, not distorted, not mirrored."""
        return {"global": View(extent=(self.config.crop, 1.0))}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Compare guessed features of target blocks with the teacher's."""
        c, images = self.config, batch["global"][0]
        blocks = draw_blocks(
            batch.keys,
            moment(progress),
            self.side,
            c.num_targets,
            (c.target_low, max(c.target_low, c.target_high)),
            context=(c.context_low, 1.0),
        )
        whole = self.targets(images)  # (B, N, D)
        targets = take(whole, blocks.targets.flatten(1))  # (B, T M, D)
        guesses = full(self.guess(images, blocks)).view(targets.shape)
        apart = whole.std(0, correction=0).mean()  # 0 if targets depend on places alone
        return Loss(F.smooth_l1_loss(guesses, targets), {"target_spread": apart.detach()})

    @torch.no_grad()
    def targets(self, images: Tensor) -> Tensor:
        """Return the teacher's patches, normalised without learned scale, (B, N, D)."""
        patches = full(self.teacher.tokens(images)[:, self.encoder.num_prefix :])
        return F.layer_norm(patches, patches.shape[-1:])

    def guess(self, images: Tensor, blocks: Blocks) -> Tensor:
        """Guess each target block from the context alone, (B T, M, D)."""
        first, count = self.encoder.num_prefix, blocks.targets.shape[1]
        where, real = gather_context(blocks.context)  # (B, L) each
        tokens = self.encoder.embed(images)
        seen = torch.cat([tokens[:, :first], take(tokens[:, first:], where)], 1)
        latent = self.encoder.blocks(seen, F.pad(real, (first, 0), value=True), where)[:, first:]
        context = self.predictor.context(latent, where).repeat_interleave(count, 0)
        guessed: Tensor = self.predictor(
            context, real.repeat_interleave(count, 0), blocks.targets.flatten(0, 1)
        )
        return guessed

    def after_step(self, progress: float) -> None:
        """Move the teacher, along a line to a standstill."""
        ema_update(self.teacher, self.encoder, linear(self.config.momentum, 1.0, progress))

    def exported(self) -> nn.Module:
        """Return the teacher, whose averaged patches are the feature."""
        return self.get_submodule("teacher")
