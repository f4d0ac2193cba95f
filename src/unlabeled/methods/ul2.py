"""UL2: one model learns from short spans, from long or many spans, and from endings.

Tay et al., "UL2: Unifying Language Learning Paradigms", ICLR 2023, arXiv:2205.05131.

Table 1: every document draws one of seven denoisers with the same chance. R hides 15 % in spans of
3 or 8 tokens; X hides 50 % in spans of 3 or 8, or spans of 64 with 15 or 50 %; S hides the last
quarter (a prefix language model). A token before the source says which of the three it is. Sources
and targets are written with sentinels, as T5's.

Departures: the three mode tokens are the last three sentinels; the rule holds for every document
of a packed row, and both attentions stay inside it; matrices move by Muon and the rest by AdamW.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from unlabeled.encoders.base import Encoder
from unlabeled.errors import ConfigError
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_decoder
from unlabeled.modalities.base import Modality
from unlabeled.nn import pairs
from unlabeled.nn.guesses import Guess
from unlabeled.nn.span_corruption import noise_mask, to_sentinels
from unlabeled.nn.token_head import Scores, token_loss, token_scores
from unlabeled.types import Batch, Loss

DENOISERS = (
    ("R", 3.0, 0.15), ("R", 8.0, 0.15), ("S", 0.0, 0.25),
    ("X", 3.0, 0.5), ("X", 8.0, 0.5), ("X", 64.0, 0.15), ("X", 64.0, 0.5),
)  # fmt: skip
"""Mode, mean length of a span, share of noise; S hides the end (table 1 of the paper)."""
MODES = ("R", "S", "X")


class UL2(Method):
    """A mixture of denoisers."""

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
        """There are no options: the mixture is the paper's."""

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_decoder("ul2", encoder)
        text: Any = modality
        library: Any = encoder
        if len(text.sentinel_ids) < len(MODES) + 2:
            raise ConfigError(
                "ul2 needs tokens that stand for hidden spans and modes, and this tokenizer has "
                f"{len(text.sentinel_ids)}. Set modality.sentinels=100."
            )
        self.config = config
        self.encoder: Encoder = encoder
        library.set_special_ids(text)
        self.vocab_size, self.special_ids = int(text.vocab_size), text.special_ids
        ids = np.array(text.sentinel_ids, np.int64)
        self.sentinels = ids[: -len(MODES)]
        self.modes = dict(zip(MODES, ids[-len(MODES) :], strict=True))
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
        """Return source, which begins with its mode, and target of a document."""
        mode, mean, share = DENOISERS[int(draws.integers(len(DENOISERS)))]
        if mode == "S":
            noise = np.arange(len(ids)) >= len(ids) - max(1, round(share * len(ids)))
        else:
            noise = noise_mask(len(ids), share, mean, draws, len(self.sentinels) - 1)
        source = np.append(self.modes[mode], to_sentinels(ids, noise, self.sentinels))
        return source, to_sentinels(ids, ~noise, self.sentinels)

    def chance(self, batch_size: int) -> float:
        """Return ln K."""
        return math.log(self.vocab_size)
