"""TSDAE: write a text anew from the one vector of what is left of it.

Wang et al., "TSDAE: Using Transformer-based Sequential Denoising Auto-Encoder for Unsupervised
Sentence Embedding Learning", Findings of EMNLP 2021, arXiv:2104.06979.

Section 3: 60 % of the tokens are deleted; the encoder's tokens are pooled to one vector; a decoder
sees that vector alone, at every layer, and writes the whole text. So the vector must hold what the
text says. It is a second stage: start from an encoder that was trained on hidden tokens
(`--init RUN/encoder`), or train it longer from scratch.

Departures: the vector is the mean over tokens, as it is used afterwards (the paper: the first
token); the decoder is a small one of BART's with the encoder's table of tokens, where the paper's
shares all weights with the encoder. It is thrown away.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from unlabeled.encoders.base import Encoder
from unlabeled.encoders.decoders import Reader
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_attention
from unlabeled.modalities.base import Modality
from unlabeled.nn import denoise, pairs
from unlabeled.nn.guesses import Guess
from unlabeled.nn.token_head import Scores, token_loss, token_scores
from unlabeled.types import Batch, Loss


class TSDAE(Method):
    """Denoising through one vector."""

    modalities = ("text",)
    needs = "bidirectional"
    scored = "rebuilt"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 3e-4,
        "batch": 32,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """Options of TSDAE."""

        delete: float = Field(0.6, ge=0, lt=1, description="share of tokens left out")
        layers: int = Field(1, ge=1, le=24, description="of the decoder")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_attention("tsdae", encoder, causal=False)
        text: Any = modality
        library: Any = encoder
        self.config = config
        self.encoder: Encoder = encoder
        library.set_special_ids(text)
        self.vocab_size, self.special_ids = int(text.vocab_size), text.special_ids
        self.edges = pairs.Edges(tuple(text.opens), text.eos_id, text.eos_id, text.pad_id or 0)
        self.reader = Reader(library, config.layers, text.config.length)

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the mean cross-entropy of the originals' tokens, in nats."""
        return token_loss(*self._write(batch))

    @torch.no_grad()
    def scores(self, batch: Batch) -> Scores:
        """Return what each token of the originals costs."""
        return token_scores(*self._write(batch))

    def _write(self, batch: Batch) -> tuple[Guess, Tensor]:
        """Return guesses and targets (S,)."""
        made = pairs.make(batch["plain"][0], batch.keys, self.spoil, self.edges)
        library: Any = self.encoder
        vectors, _ = library.by_document(made.source)  # (B, M, D)
        where = (made.targets >= 0).flatten()
        guess = self.reader(library, vectors, made.inputs, where)
        return guess, made.targets.flatten()[where]

    def spoil(self, ids: pairs.Ids, draws: np.random.Generator) -> tuple[pairs.Ids, pairs.Ids]:
        """Return what is left of a document, and the document."""
        return denoise.delete(ids, self.config.delete, draws), ids

    def chance(self, batch_size: int) -> float:
        """Return ln K."""
        return math.log(self.vocab_size)
