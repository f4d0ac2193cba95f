"""GPT: guess the next token from those before it.

Radford et al., "Language Models are Unsupervised Multitask Learners", 2019 (GPT-2); trained as in
Brown et al., "Language Models are Few-Shot Learners", NeurIPS 2020, arXiv:2005.14165.

A packed row holds several documents; a token sees only its own, and the target of the last token
of a document is the one token that closes it, never the first of the next.

With `prefix`, in a share of the rows a beginning of each document is seen from both sides and only
what follows is guessed (prefix language model, Raffel et al. 2020, arXiv:1910.10683). With
`middle`, in a share of the documents the middle is moved to the end, so that the model learns to
fill (Bavarian et al. 2022, arXiv:2207.14255; cuts lie between tokens). Held-out text is always
scored from left to right.

Departures: matrices move by Muon (Jordan et al. 2024), which reaches the same loss in about a
third of AdamW's steps on small models; set optim.name=adamw for the paper's optimiser. There is no
dropout.
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
from unlabeled.nn import infilling
from unlabeled.nn.guesses import Guess
from unlabeled.nn.token_head import Scores, token_loss, token_scores
from unlabeled.types import Batch, Loss


class GPT(Method):
    """Causal language modelling."""

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
        """Options of GPT."""

        prefix: float = Field(0.0, ge=0, le=1, description="share of rows with a prefix seen whole")
        middle: float = Field(
            0.0, ge=0, le=1, description="share of documents whose middle is moved to the end"
        )

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_attention("gpt", encoder, causal=True)
        self.config = config
        self.encoder: Encoder = encoder
        text: Any = modality
        library: Any = encoder
        library.set_special_ids(text)
        self.vocab_size, self.special_ids = int(text.vocab_size), text.special_ids
        self.head = library.add_head()
        self.marks, self.opens = tuple(text.infill_ids), tuple(text.opens)
        self.end = text.eos_id
        if config.middle and not self.marks:
            raise ConfigError(
                "method.middle needs tokens that mark the parts of a text, and this tokenizer has "
                "none. Set modality.infill=true."
            )

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the mean cross-entropy of all targets in the batch, in nats."""
        x, prefix = self.change(batch["plain"][0], batch.keys)  # (B, 3, T)
        return token_loss(self._guess(x, prefix), x[:, 2].flatten())

    @torch.no_grad()
    def scores(self, batch: Batch) -> Scores:
        """Return what each target costs."""
        x = batch["plain"][0]
        targets = x[:, 2].flatten()
        head, tokens = self._guess(x)
        return token_scores(Guess(head, tokens[targets >= 0]), targets[targets >= 0])

    def change(self, x: Tensor, keys: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return rows with middles moved and targets only after prefixes, and the prefixes."""
        if self.config.middle:
            x = infilling.rearrange(x, keys, self.config.middle, self.marks, self.opens, self.end)
        if not self.config.prefix:
            return x, None
        library: Any = self.encoder
        prefix = infilling.prefixes(library.layout(x), keys, self.config.prefix)
        inside = torch.zeros_like(prefix)  # the next token is still of the prefix
        inside[:, :-1] = prefix[:, 1:] & (x[:, 1, 1:] == x[:, 1, :-1])
        targets = x[:, 2].masked_fill(inside, -1)
        return torch.stack([x[:, 0], x[:, 1], targets], 1), prefix

    def _guess(self, x: Tensor, prefix: Tensor | None = None) -> Guess:
        """Return guesses after every token, of (B T, D)."""
        library: Any = self.encoder
        tokens: Tensor = library.tokens(x, prefix)
        return Guess(self.head, tokens.flatten(0, 1))

    def chance(self, batch_size: int) -> float:
        """Return ln K."""
        return math.log(self.vocab_size)
