"""SOP: tell whether two neighbouring segments of a text stand in their order.

Lan et al., "ALBERT: A Lite BERT for Self-supervised Learning of Language Representations", ICLR
2020, arXiv:1909.11942.

Section 3.1: a document is cut in two; in half of the cases the halves change places; two classes
are told apart at the first token. It is made to be a part beside hidden tokens:
`--method combine method.tasks='["bert", "sop"]'`.

Departures: the pass is one of its own, so that no hidden token disturbs it and it costs as much as
BERT's; there are no segment embeddings, the token between the halves says where they meet; the cut
lies between sentences where there are several.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from unlabeled.encoders.base import Encoder
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_attention
from unlabeled.modalities.base import Modality
from unlabeled.nn.segments import Ids, Judge, Piece, relation_loss
from unlabeled.nn.token_head import Scores, token_scores
from unlabeled.types import Batch, Loss


class SOP(Method):
    """Sentence order prediction."""

    modalities = ("text",)
    needs = "bidirectional"
    scored = "paired"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 5e-4,
        "batch": 64,
        "betas": (0.9, 0.98),
        "eps": 1e-6,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """There are no options."""

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_attention("sop", encoder, causal=False)
        text: Any = modality
        library: Any = encoder
        self.config = config
        self.encoder: Encoder = encoder
        library.set_special_ids(text)
        self.special_ids = ()
        self.judge = Judge(encoder.dim, text)

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the mean cross-entropy over documents, in nats."""
        return relation_loss(*self.judge(self.encoder, batch, self.relate))

    @torch.no_grad()
    def scores(self, batch: Batch) -> Scores:
        """Return what each pair costs."""
        return token_scores(*self.judge(self.encoder, batch, self.relate))

    @staticmethod
    def relate(piece: Piece, others: Sequence[Piece]) -> tuple[Ids, Ids, int]:
        """Return the halves, in half of the cases swapped (class 1)."""
        if piece.draws.random() < 0.5:
            return piece.two, piece.one, 1
        return piece.one, piece.two, 0

    def chance(self, batch_size: int) -> float:
        """Return ln 2."""
        return math.log(2)
