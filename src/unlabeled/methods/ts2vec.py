"""TS2Vec: what two overlapping crops of a log say of the times they share must agree.

Yue et al., "TS2Vec: Towards Universal Representation of Time Series", AAAI 2022,
arXiv:2106.10466.

Two crops of a log overlap at random; half of the inputs of each are hidden. At every time of the
overlap a crop must find what the other says of that time, among other times of the log and among
the same time of other logs; then times are pooled by two, and again. As in the authors' code the
lengths of crops are shared by a batch and their place is each sample's own, and the network that
is kept is the average over all steps.

Departures: a transformer that reads several steps as a token in place of dilated convolutions, so
that crops begin at tokens; a feature is the mean over time instead of the maximum; samples are
those of all ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.health import projected
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_frames
from unlabeled.modalities.base import Modality
from unlabeled.nn.ema import ema_update, frozen_copy
from unlabeled.nn.gather import gather_rows
from unlabeled.nn.hierarchical import hierarchical
from unlabeled.nn.precision import full
from unlabeled.rng import generator, moment, uniform
from unlabeled.types import Batch, Loss, View


class TS2Vec(Method):
    """Hierarchical contrast of overlapping crops."""

    modalities = ("series",)
    needs = "bidirectional"
    couples_samples = True
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 1e-3,
        "batch": 64,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """Options of TS2Vec."""

        alpha: float = Field(0.5, ge=0, le=1, description="weight of the contrast between samples")
        hide: float = Field(0.5, ge=0, lt=1, description="probability of hiding a token")
        out_dim: int = Field(64, gt=0, description="width of what is compared")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_frames("ts2vec", encoder, causal=False)
        self.config = config
        self.encoder: Encoder = encoder
        self.projector = nn.Linear(encoder.dim, config.out_dim)
        self.averaged = frozen_copy(encoder)
        self.moved: Tensor
        self.register_buffer("moved", torch.zeros(()))

    def views(self) -> dict[str, View]:
        """Return the whole sample, undistorted; crops are cut where they are compared."""
        return {"plain": View()}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Contrast what two crops say of the times that both hold (Algorithm 1)."""
        steps: Any = self.encoder
        x = batch["plain"][0]  # (B, T, 2 C)
        x = x[:, : x.shape[1] // steps.stack * steps.stack]
        first, second, start, length = self._crops(x, batch.keys, progress)
        one = self._told(first, batch.keys, salt=2)[:, -length:]
        two = self._told(second, batch.keys, salt=3)[:, :length]
        there = _taken(steps.heard(x), start, length)[..., None]  # (B, L, 1)
        pair = gather_rows(torch.stack([one * there, two * there], 1))  # (ranks B, 2, L, D)
        total = hierarchical(pair[:, 0], pair[:, 1], self.config.alpha)
        return Loss(total, projected(one.mean(1)))

    def _crops(
        self, x: Tensor, keys: Tensor, progress: float
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        """Return two crops in steps, and where in tokens, (B,), and how long their overlap is."""
        steps: Any = self.encoder
        size = x.shape[1] // steps.stack
        draw = generator(moment(progress))
        length = int(draw.integers(min(2, size), size + 1))
        left = int(draw.integers(0, size - length + 1))
        before, after = int(draw.integers(0, left + 1)), int(draw.integers(left + length, size + 1))
        # The whole figure moves by a random offset, each sample's own.
        moved = (uniform(keys, 1, salt=1)[:, 0] * (size - after + before + 1)).long() - before
        tokens = x.reshape(len(x), size, -1)
        first = _taken(tokens, moved + before, left + length - before)
        second = _taken(tokens, moved + left, after - left)
        width = x.shape[2]
        return (
            first.reshape(len(x), -1, width),
            second.reshape(len(x), -1, width),
            moved + left,
            length,
        )

    def _told(self, x: Tensor, keys: Tensor, salt: int) -> Tensor:
        """Return what a crop says of each of its tokens, some hidden, (B, N, out_dim)."""
        steps: Any = self.encoder
        layout = steps.layout(x)
        tokens = steps.embed(x, layout)  # (B, N, D)
        seen = uniform(keys, tokens.shape[1], salt=salt) >= self.config.hide
        return full(self.projector(steps.blocks(tokens * seen[..., None], layout)))

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Average the network over the steps made."""
        if self.training:
            self.moved += 1
            ema_update(self.averaged, self.encoder, 1 - 1 / float(self.moved))

    def exported(self) -> nn.Module:
        """Return the average, which the authors evaluate."""
        return self.averaged


def _taken(x: Tensor, start: Tensor, length: int) -> Tensor:
    """Take `length` places of each row from its own start, (B, N, ...) -> (B, length, ...)."""
    places = start[:, None] + torch.arange(length, device=x.device)
    return x[torch.arange(len(x), device=x.device)[:, None], places]
