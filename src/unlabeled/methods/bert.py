"""BERT: hide some tokens of a text and guess them from both sides.

Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", NAACL 2019,
arXiv:1810.04805.

What is hidden are tokens, whole words, n-grams of words (ALBERT, arXiv:1909.11942: P(n) ~ 1/n, at
most 3) or spans of words (SpanBERT, arXiv:1907.10529: geometric, at most 10, each replaced in one
way). Of the chosen tokens 80 % become the mask, 10 % a random ordinary token, 10 % stay; masks are
drawn anew every epoch. Every row has a target, special tokens are neither chosen nor drawn, and
logits are computed at chosen tokens only.

Departures: there is no next-sentence task (later work found it of no use), documents are packed
into full rows with attention inside each, there is no dropout, and matrices move by Muon (set
optim.name=adamw for the paper's optimiser).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from unlabeled.encoders.base import Encoder
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_attention, require_mask
from unlabeled.modalities.base import Modality
from unlabeled.nn.guesses import Guess
from unlabeled.nn.hiding import Hiding
from unlabeled.nn.token_head import Scores, token_loss, token_scores
from unlabeled.types import Batch, Loss


class BERT(Method):
    """Masked language modelling."""

    modalities = ("text",)
    needs = "bidirectional"
    scored = "hidden"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "muon",
        "lr": 2e-3,
        "muon_lr": 0.02,
        "batch": 64,
        "betas": (0.9, 0.98),
        "eps": 1e-6,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """Options of BERT."""

        mask_ratio: float = Field(0.15, gt=0, lt=1, description="share of tokens that are guessed")
        mask: float = Field(0.8, ge=0, le=1, description="share of those that become the mask")
        random: float = Field(0.1, ge=0, le=1, description="share that becomes a random token")
        unit: Literal["token", "word", "ngram", "span"] = Field(
            "token", description="hide tokens, whole words, n-grams or spans of words"
        )

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_attention("bert", encoder, causal=False)
        text: Any = modality
        library: Any = encoder
        require_mask("bert", modality)
        self.config = config
        self.encoder: Encoder = encoder
        library.set_special_ids(text)
        self.vocab_size, self.special_ids = int(text.vocab_size), text.special_ids
        self.hiding = Hiding(text, config.unit, config.mask, config.random)
        self.head = library.add_head()

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the mean cross-entropy of all chosen tokens in the batch, in nats."""
        return token_loss(*self._guess(batch))

    @torch.no_grad()
    def scores(self, batch: Batch) -> Scores:
        """Return what each chosen token costs; keys that are fixed freeze the masks."""
        return token_scores(*self._guess(batch))

    def _guess(self, batch: Batch) -> tuple[Guess, Tensor]:
        """Return guesses and targets (S,) at the chosen tokens."""
        x = batch["plain"][0]  # (B, 2 or 3, T)
        hidden, chosen = self.hide(x, batch.keys)
        where = chosen.flatten().nonzero().flatten()  # (S,)
        library: Any = self.encoder
        tokens: Tensor = library.tokens_at(torch.stack([hidden, x[:, 1]], 1), where)  # (S, D)
        return Guess(self.head, tokens), x[:, 0].flatten()[where]

    def hide(self, x: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return ids with chosen tokens hidden, and which were chosen, both (B, T)."""
        hidden, chosen = self.hiding(x, keys, self.config.mask_ratio)
        return hidden, chosen

    def chance(self, batch_size: int) -> float:
        """Return ln K."""
        return math.log(self.vocab_size)
