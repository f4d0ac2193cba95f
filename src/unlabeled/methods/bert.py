"""BERT: hide some tokens of a text and guess them from both sides.

Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", NAACL 2019,
arXiv:1810.04805.

Of the chosen tokens 80 % become the mask, 10 % a random ordinary token, 10 % stay; masks are
drawn anew every epoch. Every row has a target, special tokens are neither chosen nor drawn, and
logits are computed at chosen tokens only.

Departures: there is no next-sentence task (later work found it of no use), documents are packed
into full rows with attention inside each, there is no dropout, and matrices move by Muon (set
optim.name=adamw for the paper's optimiser).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from unlabeled.encoders.base import Encoder
from unlabeled.errors import ConfigError
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_attention
from unlabeled.modalities.base import Modality
from unlabeled.nn.token_head import Scores, cross_entropy
from unlabeled.nn.token_masks import choose_tokens, choose_words
from unlabeled.rng import uniform
from unlabeled.types import Batch, Loss


class BERT(Method):
    """Masked language modelling."""

    modalities = ("text",)
    needs = "bidirectional"
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
        whole_words: bool = Field(False, description="choose whole words instead of tokens")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_attention("bert", encoder, causal=False)
        text: Any = modality
        library: Any = encoder
        if text.mask_id is None:
            raise ConfigError(
                "bert needs a mask token and this tokenizer has none. Train one "
                "(modality.tokenizer=wordpiece or bpe), or use method gpt."
            )
        self.config = config
        self.encoder: Encoder = encoder
        library.set_special_ids(text)
        self.mask_id, self.vocab_size = int(text.mask_id), int(text.vocab_size)
        self.special_ids = text.special_ids
        self.head = library.add_head()
        special = torch.zeros(self.vocab_size, dtype=torch.bool)
        special[list(text.special_ids)] = True
        self.special: Tensor
        self.ordinary: Tensor
        self.edges: Tensor
        self.register_buffer("special", special, persistent=False)
        self.register_buffer("ordinary", (~special).nonzero().flatten(), persistent=False)
        edges = text.word_edges() if config.whole_words else special[:0]
        self.register_buffer("edges", edges, persistent=False)

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the mean cross-entropy of all chosen tokens in the batch, in nats."""
        logits, targets = self._guess(batch)
        total = cross_entropy(logits, targets, "sum") / max(len(targets), 1)
        return Loss(total, {"targets": torch.tensor(len(targets))})

    @torch.no_grad()
    def scores(self, batch: Batch) -> Scores:
        """Return what each chosen token costs; keys that are fixed freeze the masks."""
        logits, targets = self._guess(batch)
        nats = cross_entropy(logits, targets, "none")
        return Scores(nats, targets, logits.argmax(-1) == targets)

    def _guess(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits (S, K) and targets (S,) at the chosen tokens."""
        x = batch["plain"][0]  # (B, 2 or 3, T)
        hidden, chosen = self.hide(x, batch.keys)
        where = chosen.flatten().nonzero().flatten()  # (S,)
        library: Any = self.encoder
        tokens: Tensor = library.tokens_at(torch.stack([hidden, x[:, 1]], 1), where)  # (S, D)
        return self.head(tokens), x[:, 0].flatten()[where]

    def hide(self, x: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return ids with chosen tokens hidden, and which were chosen, both (B, T)."""
        ids, documents = x[:, 0], x[:, 1]
        free = (documents >= 0) & ~self.special[ids]
        noise = uniform(keys, ids.shape[1], salt=1)
        if self.config.whole_words:
            begins = self.edges[0][ids]
            begins[:, 1:] |= ~self.edges[1][ids[:, :-1]]
            chosen = choose_words(noise, free, begins, documents, self.config.mask_ratio)
        else:
            chosen = choose_tokens(noise, free, self.config.mask_ratio)
        draw = uniform(keys, ids.shape[1], salt=2)
        word = (uniform(keys, ids.shape[1], salt=3) * len(self.ordinary)).long()
        swapped = torch.where(
            draw < self.config.mask + self.config.random, self.ordinary[word], ids
        )
        swapped = torch.where(draw < self.config.mask, self.mask_id, swapped)
        return torch.where(chosen, swapped, ids), chosen

    def chance(self, batch_size: int) -> float:
        """Return ln K."""
        return math.log(self.vocab_size)
