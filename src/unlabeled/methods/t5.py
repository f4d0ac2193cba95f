"""T5: replace spans of a text by sentinels and write the spans.

Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
Transformer", JMLR 2020, arXiv:1910.10683.

Section 3.1.4: round(0.15 L) tokens are noise in round(noise / 3) spans, which alternate with text
and begin with it. In the source each span is a sentinel of its own; the target is each sentinel
with what it stands for; both end with the closing token. `target=text` writes the whole text
instead (section 3.3.1), `target=dropped` leaves spans out without a trace (section 3.3.2).
Features are the encoder's.

Departures: the rule holds for every document of a packed row, and both attentions stay inside it;
by default a row has as many tokens as leave 128 in the source (the paper: 512). Matrices move by
Muon and the rest by AdamW, where the paper has Adafactor; there is no dropout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from unlabeled.encoders.base import Encoder
from unlabeled.errors import ConfigError
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_decoder
from unlabeled.modalities.base import Modality
from unlabeled.nn import pairs, span_corruption
from unlabeled.nn.guesses import Guess
from unlabeled.nn.token_head import Scores, token_loss, token_scores
from unlabeled.types import Batch, Loss


class T5(Method):
    """Span corruption."""

    modalities = ("text",)
    needs = "decoder"
    scored = "rebuilt"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "muon",
        "lr": 2e-3,
        "muon_lr": 0.02,
        "batch": 64,
        "betas": (0.9, 0.98),
        "weight_decay": 0.01,
        "warmup": 0.05,
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """Options of T5."""

        mask_ratio: float = Field(0.15, gt=0, lt=1, description="share of tokens that are noise")
        span_length: float = Field(3.0, ge=1, le=100, description="mean tokens in a span")
        target: Literal["spans", "text", "dropped"] = Field(
            "spans", description="write the spans, the whole text, or spans that left no trace"
        )
        roll: bool = Field(False, description="shift spans, so that a text may begin with one")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_decoder("t5", encoder)
        text: Any = modality
        library: Any = encoder
        if len(text.sentinel_ids) < 2:
            raise ConfigError(
                "t5 needs tokens that stand for hidden spans and this tokenizer has none. "
                "Set modality.sentinels=100."
            )
        self.config = config
        self.encoder: Encoder = encoder
        library.set_special_ids(text)
        self.vocab_size, self.special_ids = int(text.vocab_size), text.special_ids
        self.sentinels = np.array(text.sentinel_ids, np.int64)
        self.edges = pairs.edges_of(text, library)
        self.head = library.add_head()

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the mean cross-entropy of all that is to be written, in nats."""
        return token_loss(*self._write(batch))

    @torch.no_grad()
    def scores(self, batch: Batch) -> Scores:
        """Return what each token that is to be written costs."""
        return token_scores(*self._write(batch))

    def _write(self, batch: Batch) -> tuple[Guess, Tensor]:
        """Return guesses and targets (S,)."""
        made = pairs.make(batch["plain"][0], batch.keys, self.corrupt, self.edges)
        return pairs.write(self.encoder, self.head, made)

    def corrupt(self, ids: pairs.Ids, draws: np.random.Generator) -> tuple[pairs.Ids, pairs.Ids]:
        """Return source and target of a document, each (L,) to (<= 2 L,)."""
        most, kind = len(self.sentinels) - 1, self.config
        noise = span_corruption.noise_mask(
            len(ids), kind.mask_ratio, kind.span_length, draws, most, kind.roll
        )
        if kind.target == "dropped":
            return ids[~noise], ids[noise]
        source = span_corruption.to_sentinels(ids, noise, self.sentinels)
        if kind.target == "text":
            return source, ids
        return source, span_corruption.to_sentinels(ids, ~noise, self.sentinels)

    def chance(self, batch_size: int) -> float:
        """Return ln K."""
        return math.log(self.vocab_size)
