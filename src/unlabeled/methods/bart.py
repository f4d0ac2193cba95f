"""BART: spoil a text and write it anew.

Lewis et al., "BART: Denoising Sequence-to-Sequence Pre-training for Natural Language Generation,
Translation, and Comprehension", ACL 2020, arXiv:1910.13461.

Section 2.2: sentences are permuted, then 30 % of the words are infilled: spans with lengths from
Poisson(3) become one mask each, spans of length 0 insert one. Deletion and rotation are options.
The decoder writes the whole original. Features are the encoder's.

Departures: the paper trains with both noises at once, as here; words are those of the tokenizer;
every document of a packed row is spoiled by itself and both attentions stay inside it. Matrices
move by Muon; there is no dropout.
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
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_decoder, require_mask
from unlabeled.modalities.base import Modality
from unlabeled.nn import denoise, pairs
from unlabeled.nn.guesses import Guess
from unlabeled.nn.token_head import Scores, token_loss, token_scores
from unlabeled.types import Batch, Loss


class BART(Method):
    """Denoising."""

    modalities = ("text",)
    needs = "decoder"
    scored = "rebuilt"
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
        """Options of BART."""

        mask_ratio: float = Field(0.3, ge=0, lt=1, description="share of words infilled")
        span_length: float = Field(3.0, gt=0, le=100, description="mean words in a span")
        permute: float = Field(1.0, ge=0, le=1, description="share of sentences permuted")
        delete: float = Field(0.0, ge=0, lt=1, description="share of tokens left out")
        rotate: float = Field(0.0, ge=0, le=1, description="share of documents rotated")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_decoder("bart", encoder)
        require_mask("bart", modality)
        text: Any = modality
        library: Any = encoder
        self.config = config
        self.encoder: Encoder = encoder
        library.set_special_ids(text)
        self.vocab_size, self.special_ids = int(text.vocab_size), text.special_ids
        self.mask_id, self.edges = int(text.mask_id), pairs.edges_of(text, library)
        self.words, self.ends = text.word_edges().numpy(), text.sentence_ends().numpy()
        self.head = library.add_head()

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
        return pairs.write(self.encoder, self.head, made)

    def spoil(self, ids: pairs.Ids, draws: np.random.Generator) -> tuple[pairs.Ids, pairs.Ids]:
        """Return source and target of a document; the target is the document."""
        kind, source = self.config, ids
        starts = self.words[0][ids]
        starts[1:] |= ~self.words[1][ids[:-1]]
        if kind.permute:
            source, places = denoise.permute_sentences(ids, self.ends[ids], kind.permute, draws)
            starts = starts[places]
        if kind.mask_ratio:
            source = denoise.infill(
                source, starts, kind.mask_ratio, kind.span_length, self.mask_id, draws
            )
        if kind.delete:
            source = denoise.delete(source, kind.delete, draws)
        if kind.rotate and draws.random() < kind.rotate:
            source = denoise.rotate(source, draws)
        return source, ids

    def chance(self, batch_size: int) -> float:
        """Return ln K."""
        return math.log(self.vocab_size)
