"""APC: say what the sound will be a few frames later, from all that came before.

Chung, Hsu, Tang & Glass, "An Unsupervised Autoregressive Model for Speech Representation
Learning", Interspeech 2019, arXiv:1904.03240.

The error is the mean absolute difference, as in the paper, over frames that hold sound. It
cannot collapse: targets are the recordings themselves.

Departures: a causal transformer in place of three recurrent layers (the authors' own successor,
arXiv:1910.12607, does the same), which reads a few frames as one token; how far ahead is asked
for in tokens. `persistence` in the journal is the error of saying that nothing changes.
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
from unlabeled.nn.precision import full
from unlabeled.types import Batch, Loss, View


class APC(Method):
    """Autoregressive predictive coding."""

    modalities = ("audio",)
    needs = "causal"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 1e-3,
        "batch": 32,
        "betas": (0.9, 0.98),
        "weight_decay": 0.01,
        "warmup": 0.1,
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """Options of APC."""

        ahead: int = Field(2, ge=1, le=50, description="tokens from the last heard to the asked")
        crop: float = Field(0.8, gt=0, le=1, description="smallest share of a clip in a view")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_frames("apc", encoder, causal=True)
        self.config = config
        self.encoder: Encoder = encoder
        frames: Any = encoder
        self.predict = nn.Linear(encoder.dim, frames.stack * frames.audio.mels)

    def views(self) -> dict[str, View]:
        """Return one window of each clip."""
        return {"plain": View(extent=(self.config.crop, 1.0))}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the mean absolute error of all frames that are asked for."""
        ahead, frames = self.config.ahead, self._frames
        x = batch["plain"][0]  # (B, T, M + 1)
        values, asked = frames.stacked(x), frames.heard(x)[:, ahead:]  # (B, N, P), (B, N - ahead)
        guess = full(self.predict(self.encoder.tokens(x)[:, :-ahead]))
        count = asked.sum().clamp(min=1)
        error = (guess - values[:, ahead:]).abs().mean(-1)  # (B, N - ahead)
        with torch.no_grad():
            stays = (values[:, :-ahead] - values[:, ahead:]).abs().mean(-1)
        total = self._mean(error, asked, count)
        return Loss(total, {"targets": count, "persistence": self._mean(stays, asked, count)})

    @property
    def _frames(self) -> Any:
        return self.encoder

    @staticmethod
    def _mean(error: Tensor, asked: Tensor, count: Tensor) -> Tensor:
        return torch.where(asked, error, 0.0).sum() / count
