"""XLNet: guess the last tokens of a text in a random order, each from those before it there.

Yang et al., "XLNet: Generalized Autoregressive Pretraining for Language Understanding", NeurIPS
2019, arXiv:1906.08237.

Equation 5: the order of the tokens is drawn, the last sixth in it is guessed (K = 6), in spans of
up to five neighbours. Two streams run through the network: in one a place sees its own token, in
the other, which guesses, only where it stands. Both are the library's, driven by its `perm_mask`
and `target_mapping`; distances stay those in the text. Unlike a mask, no token of the source is
hidden by one that features never meet.

Departures: there is no memory of the segment before and no two-segment input; attention stays
inside documents; special tokens are neither guessed nor hidden; every row has a target; no dropout.
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
from unlabeled.modalities.base import Modality
from unlabeled.nn import permutation
from unlabeled.nn.guesses import Guess
from unlabeled.nn.token_head import Scores, token_loss, token_scores
from unlabeled.types import Batch, Loss


class XLNet(Method):
    """Permutation language modelling."""

    modalities = ("text",)
    needs = "two streams"
    scored = "permuted"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 1e-3,
        "batch": 64,
        "betas": (0.9, 0.98),
        "eps": 1e-6,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "shape": "linear",
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """Options of XLNet."""

        one_in: int = Field(6, ge=2, le=100, description="one token in so many is guessed; K")
        longest: int = Field(5, ge=1, le=50, description="tokens in a span at most")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        library: Any = encoder
        if getattr(encoder, "family", "") != "xlnet":
            raise ConfigError(
                f"xlnet needs a network with two streams, and '{encoder.name}' has one. Choose "
                "encoder.name from hf:xlnet-mini, hf:xlnet-small, ..., or method bert."
            )
        text: Any = modality
        self.config = config
        self.encoder: Encoder = encoder
        library.set_special_ids(text)
        library.model.mask_emb.requires_grad_(True)
        self.vocab_size, self.special_ids = int(text.vocab_size), text.special_ids
        self.head = library.add_head()
        special = torch.zeros(self.vocab_size, dtype=torch.bool)
        special[list(text.special_ids)] = True
        self.register_buffer("special", special, persistent=False)

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the mean cross-entropy of all guessed tokens in the batch, in nats."""
        return token_loss(*self._guess(batch))

    @torch.no_grad()
    def scores(self, batch: Batch) -> Scores:
        """Return what each guessed token costs; keys that are fixed freeze the order."""
        return token_scores(*self._guess(batch))

    def _guess(self, batch: Batch) -> tuple[Guess, Tensor]:
        """Return guesses and targets (S,)."""
        x = batch["plain"][0]  # (B, 2 or 3, T)
        chosen, hidden = self.order(x, batch.keys)
        places = permutation.listed(chosen)  # (B, M)
        library: Any = self.encoder
        tokens: Tensor = library.permuted(x, hidden, places)  # (B, M, D)
        return Guess(self.head, tokens[places >= 0]), x[:, 0][chosen]

    def order(self, x: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return which tokens are guessed, (B, T), and what places do not see, (B, T, T)."""
        special: Any = self.special
        free = (x[:, 1] >= 0) & ~special[x[:, 0]]
        chosen = permutation.choose(free, keys, self.config.one_in, self.config.longest)
        return chosen, permutation.unseen(chosen, keys)

    def chance(self, batch_size: int) -> float:
        """Return ln K."""
        return math.log(self.vocab_size)
