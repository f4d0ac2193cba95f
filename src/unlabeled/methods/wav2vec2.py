"""wav2vec 2.0: hide spans of sound and tell the true quantised sound from others of the clip.

Baevski et al., "wav2vec 2.0: A Framework for Self-Supervised Learning of Speech
Representations", NeurIPS 2020, arXiv:2006.11477.

Equations 3 (contrast, cosine in fp32 over a temperature of 0.1) and 4 (diversity of codes). What
is quantised are the unmasked, normalised convolutions. Distractors are other hidden steps of the
same clip; one that equals the true code is left out. 0.65 with spans of 10 hides 49 % of a clip.
As in the authors' code the squared convolutions are penalised and gradients into them scaled by
0.1. Nothing is hidden, drawn or scored where a short clip is padded.

Departures: the loss is a mean over hidden steps, which scales rates by their number and nothing
else; there is no dropout and no layer drop, so that it is a function of its batch. Units are
nats: ln 101 = 4.615 is chance with 100 distractors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_waves
from unlabeled.modalities.base import Modality
from unlabeled.nn.gumbel import GumbelQuantizer, choices, scale_gradient
from unlabeled.nn.precision import full
from unlabeled.nn.spans import negatives, span_masks
from unlabeled.types import Batch, Loss, View


class Terms(NamedTuple):
    """Sums over hidden steps, and two shares."""

    contrast: Tensor
    diversity: Tensor
    correct: Tensor
    perplexity: Tensor


class Wav2Vec2(Method):
    """Contrast of quantised sound."""

    modalities = ("audio",)
    needs = "waves"
    couples_samples = True  # the diversity of codes is that of the batch
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 5e-4,
        "batch": 16,
        "betas": (0.9, 0.98),
        "eps": 1e-6,
        "weight_decay": 0.01,
        "warmup": 0.08,
        "shape": "linear",
    }

    class Config(MethodConfig):
        """Options of wav2vec 2.0."""

        mask_share: float = Field(0.65, gt=0, description="spans times their length over the clip")
        mask_span: int = Field(10, ge=1, description="steps in a span")
        num_negatives: int = Field(100, ge=1, description="K, distractors of a step")
        temperature: float = Field(0.1, gt=0, description="of the contrast")
        groups: int = Field(2, ge=1, description="G, codes of a step")
        entries: int = Field(320, ge=2, description="V, entries of a group")
        code_dim: int = Field(256, ge=2, description="D of codes and of what is compared")
        gumbel: float = Field(2.0, gt=0, description="temperature of choosing codes at first")
        gumbel_end: float = Field(0.5, gt=0, description="temperature of choosing codes at the end")
        diversity: float = Field(0.1, ge=0, description="weight of equation 4")
        penalty: float = Field(10.0, ge=0, description="weight of the squared convolutions")
        front: float = Field(0.1, gt=0, le=1, description="scale of gradients into convolutions")
        crop: float = Field(0.8, gt=0, le=1, description="smallest share of a clip in a view")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_waves("wav2vec2", encoder)
        self.config = config
        self.encoder: Encoder = encoder
        width = int(self._waves.model.config.conv_dim[-1])
        self.mask = nn.Parameter(torch.empty(encoder.dim).uniform_())
        self.quantizer = GumbelQuantizer(width, config.groups, config.entries, config.code_dim)
        self.project_context = nn.Linear(encoder.dim, config.code_dim)
        self.project_code = nn.Linear(config.code_dim, config.code_dim)

    @property
    def _waves(self) -> Any:
        return self.encoder

    def views(self) -> dict[str, View]:
        """Return one window of each clip."""
        return {"plain": View(extent=(self.config.crop, 1.0))}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return contrast, diversity and penalty, a mean over hidden steps."""
        c, x = self.config, batch["plain"][0]  # (B, 2, T)
        convolved = scale_gradient(self._waves.convolved(x), c.front)  # (B, N, C)
        heard = self._waves.heard(x)  # (B, N)
        size, lengths = heard.shape[1], heard.sum(1)
        hidden = span_masks(batch.keys, lengths, size, c.mask_share, c.mask_span)  # (B, N)
        others = negatives(batch.keys, hidden, c.num_negatives)
        noise = self.quantizer.noise(batch.keys, size) if self.training else None
        warmth = c.gumbel * (c.gumbel_end / c.gumbel) ** progress
        terms = self.terms(convolved, heard, hidden, others, warmth, noise)
        count = len(others)
        # Normalising padding divides by nothing: gradients into it would grow 300 times a layer.
        squares = full(convolved)[heard].square().mean()
        total = (terms.contrast + c.diversity * terms.diversity) / count + c.penalty * squares
        parts = {
            "contrast": terms.contrast / count,
            "accuracy": terms.correct,
            "code_perplexity": terms.perplexity,
            "mask_share": hidden.sum() / lengths.sum(),
        }
        return Loss(total, {name: part.detach() for name, part in parts.items()})

    def terms(
        self, convolved: Tensor, heard: Tensor, hidden: Tensor, others: Tensor,
        warmth: float, noise: Tensor | None,
    ) -> Terms:  # fmt: skip
        """Return the parts of the loss for given masks (B, N), distractors (S, K) and noise."""
        c = self.config
        tokens, normal = self._waves.project(convolved)
        tokens = torch.where(hidden[..., None], self.mask.to(tokens.dtype), tokens)
        context = full(self.project_context(self.encoder.blocks(tokens, heard)[hidden]))  # (S, D)
        drawn = None if noise is None else noise[hidden]
        found = self.quantizer(normal[hidden], warmth, drawn)
        truth = full(self.project_code(found.vectors))  # (S, D)
        scores = choices(context, truth, others, c.temperature)  # (S, 1 + K)
        codes = c.groups * c.entries
        contrast = -scores.log_softmax(1)[:, 0].sum()
        diversity = (codes - found.perplexity) / codes * len(scores)
        correct = (scores.argmax(1) == 0).float().mean()
        return Terms(contrast, diversity, correct, found.perplexity)

    def chance(self, batch_size: int) -> float:
        """Return ln(K + 1)."""
        return math.log(self.config.num_negatives + 1)
