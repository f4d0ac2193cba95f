"""GPT-BERT: one stack that guesses next tokens and hidden tokens alike.

Charpentier and Samuel, "GPT or BERT: why not both?", BabyLM challenge 2024, arXiv:2410.24159.

In a share of the rows a token sees what came before and the next one is guessed; in the others
all of a document is seen, some tokens are hidden, and each is guessed from the output one place
before it, where the next token is guessed too (masked next-token prediction). So one head serves
both. What is exported is the causal model, which writes; held-out text is scored from left to
right.

Departures: rows are assigned at random by their key and not by processes; the share of hidden
tokens stays the same throughout; a document's first token is never hidden, for nothing stands
before it. Matrices move by Muon; there is no dropout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from unlabeled.encoders.base import Encoder
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_attention, require_mask
from unlabeled.modalities.base import Modality
from unlabeled.nn.guesses import Guess, summed
from unlabeled.nn.hiding import Hiding
from unlabeled.nn.token_head import Scores, token_scores
from unlabeled.rng import uniform
from unlabeled.types import Batch, Loss


class GPTBERT(Method):
    """Causal and masked language modelling in one stack."""

    modalities = ("text",)
    needs = "causal"
    scored = "text"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "muon",
        "lr": 3e-3,
        "muon_lr": 0.02,
        "batch": 32,
        "betas": (0.9, 0.95),
        "weight_decay": 0.1,
        "warmup": 0.05,
        "final_lr": 0.1,
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """Options of GPT-BERT."""

        causal: float = Field(0.5, ge=0, le=1, description="share of rows read from left to right")
        mask_ratio: float = Field(0.15, gt=0, lt=1, description="share of tokens hidden elsewhere")
        mask: float = Field(0.8, ge=0, le=1, description="share of those that become the mask")
        random: float = Field(0.1, ge=0, le=1, description="share that becomes a random token")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_attention("gptbert", encoder, causal=True)
        require_mask("gptbert", modality)
        text: Any = modality
        library: Any = encoder
        self.config = config
        self.encoder: Encoder = encoder
        library.set_special_ids(text)
        self.vocab_size, self.special_ids = int(text.vocab_size), text.special_ids
        self.hiding = Hiding(text, "token", config.mask, config.random)
        self.head = library.add_head()

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the mean cross-entropy of all targets of both kinds, in nats."""
        ids, targets, both = self.change(batch["plain"][0], batch.keys)
        library: Any = self.encoder
        rows = torch.stack([ids, batch["plain"][0][:, 1]], 1)
        tokens: Tensor = library.tokens(rows, both[:, None].expand_as(ids))  # (B, T, D)
        kinds = both[:, None].expand_as(ids)
        causal, masked = (self._cost(tokens, targets, kind) for kind in (~kinds, kinds))
        count = (targets >= 0).sum().clamp(min=1)
        hidden = ((targets >= 0) & kinds).sum().clamp(min=1)
        parts = {"targets": count, "masked_nats": masked.detach() / hidden}
        return Loss((causal + masked) / count, parts)

    def _cost(self, tokens: Tensor, targets: Tensor, kind: Tensor) -> Tensor:
        """Return the summed nats of the targets (B, T) of one kind, given (B, T, D)."""
        where = (targets >= 0) & kind
        return summed(Guess(self.head, tokens[where]), targets[where])

    def change(self, x: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids and next tokens to guess, both (B, T), and which rows see both sides, (B,)."""
        both = uniform(keys, 1, salt=6)[:, 0] >= self.config.causal
        after = torch.zeros_like(x[:, 1], dtype=torch.bool)  # follows a token of its document
        after[:, 1:] = x[:, 1, 1:] == x[:, 1, :-1]
        # What begins a document is passed off as padding, which is never chosen.
        shown = torch.stack([x[:, 0], x[:, 1].masked_fill(~after, -1)], 1)
        hidden, chosen = self.hiding(shown, keys, self.config.mask_ratio)
        guessed = torch.full_like(x[:, 0], -1)
        guessed[:, :-1] = torch.where(chosen[:, 1:], x[:, 0, 1:], -1)
        ids = torch.where(both[:, None], hidden, x[:, 0])
        return ids, torch.where(both[:, None], guessed, x[:, 2]), both

    @torch.no_grad()
    def scores(self, batch: Batch) -> Scores:
        """Return what each next token costs from left to right."""
        x = batch["plain"][0]
        targets = x[:, 2].flatten()
        tokens = self.encoder.tokens(x).flatten(0, 1)[targets >= 0]
        return token_scores(Guess(self.head, tokens), targets[targets >= 0])

    def chance(self, batch_size: int) -> float:
        """Return ln K."""
        return math.log(self.vocab_size)
