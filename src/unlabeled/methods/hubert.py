"""HuBERT: hide spans of sound and name the code of what was there.

Hsu et al., "HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of Hidden
Units", TASLP 2021, arXiv:2106.07447.

Codes are, first, k-means centres of log-mel frames; from `second` on, centres of what the middle
layer of the encoder made of them by then. `random_codes` takes instead the nearest of random
codes to a random projection of normalised frames: BEST-RQ (Chiu et al., ICML 2022,
arXiv:2202.01855). One set of centres serves all clips, and the loss is taken where sound is
hidden only.

Departures: the encoder reads log-mel frames, which are hidden before they are projected, and
logits are linear, as in MelHuBERT (Lin et al., arXiv:2211.09944), which found both as good; the
second iteration goes on with the encoder of the first, only its logits begin anew; centres are
fitted on up to 256 clips of the pool.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_frames
from unlabeled.modalities.base import Modality
from unlabeled.nn import codes
from unlabeled.nn.ema import frozen_copy
from unlabeled.nn.precision import full
from unlabeled.nn.spans import silenced, span_masks
from unlabeled.rng import uniform
from unlabeled.types import Batch, Loss, View

_NOISE = 0.1


class HuBERT(Method):
    """Masked prediction of codes."""

    modalities = ("audio",)
    needs = "bidirectional"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 1e-3,
        "batch": 32,
        "betas": (0.9, 0.98),
        "weight_decay": 0.01,
        "warmup": 0.08,
        "shape": "linear",
        "clip": 10.0,
    }

    class Config(MethodConfig):
        """Options of HuBERT."""

        num_codes: int = Field(100, ge=2, le=8192, description="K, codes of sound")
        mask_share: float = Field(0.8, gt=0, description="spans times their length over the clip")
        mask_span: int = Field(10, ge=1, description="tokens in a span")
        second: float = Field(0.5, gt=0, le=1, description="progress at which own codes are made")
        random_codes: bool = Field(False, description="codes of a random projection (BEST-RQ)")
        crop: float = Field(0.8, gt=0, le=1, description="smallest share of a clip in a view")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_frames("hubert", encoder, causal=False)
        self.config = config
        self.encoder: Encoder = encoder
        audio: Any = modality
        self.head = nn.Linear(encoder.dim, config.num_codes)
        self._clips = audio.examples  # (N, T, M + 1)
        heard = self._frames.stacked(self._clips)[self._frames.heard(self._clips)]  # (S, P)
        self.settled: Tensor
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool))
        self.first: nn.Module
        self.teacher: Any = None
        if config.random_codes:
            self.first = codes.RandomCodes(heard, config.num_codes)
        else:
            self.first = codes.Centres(codes.centres(heard, config.num_codes, seed=0))
            self.teacher = frozen_copy(encoder)
            self.teacher.keep_layers(max(1, self.teacher.num_layers // 2))
            self.own = codes.Centres(torch.zeros(config.num_codes, encoder.dim))

    @property
    def _frames(self) -> Any:
        return self.encoder

    def views(self) -> dict[str, View]:
        """Return one window of each clip."""
        return {"plain": View(extent=(self.config.crop, 1.0))}

    @torch.no_grad()
    def codes_of(self, x: Tensor) -> Tensor:
        """Return the code of each token, (B, T, M + 1) -> (B, N) int64."""
        if self.settled:
            return torch.as_tensor(self.own(full(self.teacher.tokens(x))))
        return self.first_codes(x)

    def first_codes(self, x: Tensor) -> Tensor:
        """Return the codes of the spectrum itself, (B, T, M + 1) -> (B, N) int64."""
        return torch.as_tensor(self.first(self._frames.stacked(x)))

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the mean cross-entropy of hidden tokens, in nats."""
        c, x = self.config, batch["plain"][0]  # (B, T, M + 1)
        heard = self._frames.heard(x)  # (B, N)
        lengths = heard.sum(1)
        hidden = span_masks(batch.keys, lengths, heard.shape[1], c.mask_share, c.mask_span)
        targets = self.codes_of(x)[hidden]
        logits = full(self.head(self.encoder.tokens(self.hide(x, hidden, batch.keys))[hidden]))
        parts = {
            "targets": torch.tensor(len(targets)),
            "accuracy": (logits.argmax(-1) == targets).float().mean(),
            "mask_share": hidden.sum() / heard.sum(),
            "code_perplexity": codes.perplexity(targets, c.num_codes),
        }
        total = F.cross_entropy(logits, targets, reduction="sum") / max(1, len(targets))
        return Loss(total, {name: part.detach() for name, part in parts.items()})

    def hide(self, x: Tensor, hidden: Tensor, keys: Tensor) -> Tensor:
        """Replace the frames of hidden tokens by the mean; for random codes by noise."""
        fill = None
        if self.config.random_codes:
            values = x[..., :-1]
            noise = codes.normal(uniform(keys, values[0].numel(), salt=0xB0))
            fill = _NOISE * noise.view_as(values)
        return silenced(x, hidden, self._frames.stack, fill)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Make codes of the encoder's own features once, when it is time."""
        if self.teacher is None or self.settled or progress < self.config.second or progress >= 1:
            return
        self.teacher.load_state_dict(self.encoder.state_dict(), strict=False)
        clips = self._clips.to(self.settled.device)
        parts = [full(self.teacher.tokens(x))[self._frames.heard(x)] for x in clips.split(32)]
        self.own.table.copy_(codes.centres(torch.cat(parts), self.config.num_codes, seed=1))
        self.settled.fill_(True)
        self.head.weight.zero_()
        self.head.bias.zero_()

    def chance(self, batch_size: int) -> float:
        """Return ln K: all codes are as likely."""
        return math.log(self.config.num_codes)
