"""V-JEPA: guess, from some places of a clip, what a slow teacher makes of all others.

Bardes et al., "Revisiting Feature Prediction for Learning Visual Representations from Video",
TMLR 2024, arXiv:2404.08471.

Blocks of a frame are hidden at all times, once many small and once few large ones. The teacher sees
the whole clip; its boxes, normalised without learned scale, are the targets of an L1 loss. A narrow
transformer guesses all that is hidden at once, told by a mask token which of the two it is.

Departures: contexts of different length share a batch by masked attention and are not cut to the
shortest, and every clip counts alike; the encoder is VideoMAE's, with its positions; a block leaves
a row and a column of a frame; a smaller predictor and a faster teacher, for small encoders and
short runs (the authors': predictor_heads=12 predictor_depth=12 momentum=0.998).
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
from unlabeled.nn.jepa_masks import draw_tubes, gather_context
from unlabeled.nn.masks import take
from unlabeled.nn.positions import sincos_3d
from unlabeled.nn.precision import full
from unlabeled.nn.predictor import Predictor
from unlabeled.rng import moment
from unlabeled.schedule import linear
from unlabeled.types import Batch, Loss, View


class VJEPA(Method):
    """Prediction of features of hidden tubes."""

    encoder: Any  # one with boxes
    modalities = ("video",)
    needs = "tokens"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 6e-4,
        "lr_rule": "sqrt",
        "batch": 256,
        "weight_decay": 0.04,
        "weight_decay_end": 0.4,
        "warmup": 0.13,
        "final_lr": 0.0016,
    }

    class Config(MethodConfig):
        """Options of V-JEPA."""

        small_blocks: int = Field(8, ge=1, description="blocks of the mask of small blocks")
        small_scale: float = Field(0.15, gt=0, lt=1, description="share of a frame in a small one")
        large_blocks: int = Field(2, ge=1, description="blocks of the mask of large blocks")
        large_scale: float = Field(0.7, gt=0, lt=1, description="share of a frame in a large one")
        predictor_heads: int = Field(3, ge=1, description="heads of the predictor, each 32 wide")
        predictor_depth: int = Field(3, ge=1, description="blocks of the predictor")
        momentum: float = Field(0.996, ge=0, le=1, description="of the teacher at first; then 1")
        crop: float = Field(0.3, gt=0, le=1, description="smallest share of a frame in a view")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_tokens("vjepa", encoder)
        self.config, self.encoder = config, encoder
        places = partial(sincos_3d, self.encoder.slots, self.encoder.side)
        self.predictor = Predictor(
            encoder.dim, places, config.predictor_heads, config.predictor_depth, num_masks=2
        )
        self.teacher: Any = frozen_copy(encoder)

    def views(self) -> dict[str, View]:
        """Return one crop: hiding is all the distortion that is needed."""
        return {"global": View(extent=(self.config.crop, 1.0), flip=True)}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the L1 distance of guessed to the teacher's features, mean of both masks."""
        clips = batch["global"][0]  # (B, T, C, H, W)
        targets = self.targets(clips)  # (B, N, D)
        tokens, missed = self.encoder.embed(clips), []
        for number, hidden in enumerate(self.masks(batch.keys, progress)):
            asked, real = gather_context(hidden)  # (B, M) each
            guesses = full(self.guess(tokens, hidden, number))  # (B, M, D)
            error = (guesses - take(targets, asked)).abs().mean(-1)  # (B, M)
            missed.append((error * real).sum(1) / real.sum(1))  # (B,)
        apart = targets.std(0, correction=0).mean()  # 0 if targets depend on places alone
        return Loss(torch.stack(missed).mean(), {"target_spread": apart.detach()})

    def masks(self, keys: Tensor, progress: float) -> list[Tensor]:
        """Return what is hidden by small and by large blocks, (B, N) bool each."""
        c, slots, step = self.config, self.encoder.slots, moment(progress)
        kinds = ((c.small_blocks, c.small_scale), (c.large_blocks, c.large_scale))
        side: int = self.encoder.side
        return [draw_tubes(keys, step, side, *kind).repeat(1, slots) for kind in kinds]

    @torch.no_grad()
    def targets(self, clips: Tensor) -> Tensor:
        """Return the teacher's boxes, normalised without learned scale, (B, N, D)."""
        boxes = full(self.teacher.tokens(clips))
        return F.layer_norm(boxes, boxes.shape[-1:])

    def guess(self, tokens: Tensor, hidden: Tensor, number: int) -> Tensor:
        """Guess all hidden boxes of each clip from its others, (B, M, D).

        Args:
            tokens: (B, N, D) embedded boxes with their positions.
            hidden: (B, N) bool; M is the most of any clip, and its hidden ones come first.
            number: 0 for the mask of small blocks, 1 for that of large ones.
        """
        where, seen = gather_context(~hidden)  # (B, L) each
        asked, real = gather_context(hidden)  # (B, M) each
        latent = self.encoder.blocks(take(tokens, where), seen, where)
        context = self.predictor.context(latent, where)
        guessed: Tensor = self.predictor(context, seen, asked, real, number)
        return guessed

    def after_step(self, progress: float) -> None:
        """Move the teacher, along a line to a standstill."""
        ema_update(self.teacher, self.encoder, linear(self.config.momentum, 1.0, progress))

    def exported(self) -> nn.Module:
        """Return the teacher, whose averaged boxes are the feature."""
        return self.get_submodule("teacher")
