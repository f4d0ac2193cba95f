"""data2vec for sound: guess, where sound is hidden, what a slow teacher makes of the whole clip.

Baevski et al., "data2vec: A General Framework for Self-supervised Learning in Speech, Vision and
Language", ICML 2022, arXiv:2202.03555.

The target is the mean of what the last `top_blocks` feed-forward layers of the teacher give before
they are added to the stream, each normalised over the time of a clip in every channel; padding
takes no part in it. The error is a square, divided by the root of the width, where sound is hidden
only.

Departures: the encoder reads log-mel frames, and the teacher is a copy of all of it (the authors
share convolutions and positions); it follows faster, for short runs (theirs goes from 0.999 to
0.9999 in 30,000 updates). `target_spread` in the journal tells collapse: the authors stop where it
is below 0.1, or `guess_spread` below 0.01.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_frames
from unlabeled.modalities.base import Modality
from unlabeled.nn.ema import ema_update, frozen_copy
from unlabeled.nn.precision import full
from unlabeled.nn.spans import over_time, silenced, span_masks
from unlabeled.schedule import ramp
from unlabeled.types import Batch, Loss, View


class Data2VecAudio(Method):
    """Regression of contextual features of hidden spans."""

    encoder: Any  # one of frames
    modalities = ("audio",)
    needs = "bidirectional"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 5e-4,
        "batch": 32,
        "betas": (0.9, 0.98),
        "weight_decay": 0.01,
        "warmup": 0.1,
        "clip": 5.0,
    }

    class Config(MethodConfig):
        """Options of data2vec for sound."""

        mask_share: float = Field(0.65, gt=0, description="spans times their length over the clip")
        mask_span: int = Field(10, ge=1, description="tokens in a span")
        top_blocks: int = Field(8, ge=1, description="last blocks in a target, at most all")
        first_momentum: float = Field(0.99, ge=0, le=1, description="of the teacher at first")
        momentum: float = Field(0.999, ge=0, le=1, description="of the teacher later")
        momentum_warmup: float = Field(0.3, ge=0, le=1, description="share of run: momentum rises")
        crop: float = Field(0.8, gt=0, le=1, description="smallest share of a clip in a view")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_frames("data2vec_audio", encoder, causal=False)
        self.config, self.encoder = config, encoder
        self.predict = nn.Linear(encoder.dim, encoder.dim)
        self.teacher: Any = frozen_copy(encoder)

    def views(self) -> dict[str, View]:
        """Return one window of each clip."""
        return {"plain": View(extent=(self.config.crop, 1.0))}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Compare guesses at hidden tokens with the teacher's layers (section 3.3)."""
        c, x = self.config, batch["plain"][0]  # (B, T, M + 1)
        heard = self.encoder.heard(x)  # (B, N)
        hidden = span_masks(batch.keys, heard.sum(1), heard.shape[1], c.mask_share, c.mask_span)
        aims = self.targets(x, heard)[hidden]  # (S, D)
        seen = silenced(x, hidden, self.encoder.stack)
        guesses = full(self.predict(self.encoder.tokens(seen)[hidden]))
        error = (guesses - aims).square().sum(1) / aims.shape[1] ** 0.5  # (S,)
        parts = {
            "targets": torch.tensor(len(aims)),
            "mask_share": hidden.sum() / heard.sum(),
            "target_spread": aims.std(0, correction=0).mean(),
            "guess_spread": guesses.detach().std(0, correction=0).mean(),
        }
        return Loss(error.sum() / max(1, len(aims)), parts)

    @torch.no_grad()
    def targets(self, x: Tensor, heard: Tensor) -> Tensor:
        """Return means of the teacher's last feed-forward layers over time, (B, N, D)."""
        layers = self.teacher.feeds(x)[-self.config.top_blocks :]
        return torch.stack([over_time(full(part), heard) for part in layers]).mean(0)

    def after_step(self, progress: float) -> None:
        """Move the teacher, fast at first (equation 1)."""
        c = self.config
        momentum = ramp(c.first_momentum, c.momentum, progress, c.momentum_warmup)
        ema_update(self.teacher, self.encoder, momentum)
