"""CPC: tell what comes next from what comes at other times and in other samples.

Van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018,
arXiv:1807.03748.

A causal network reads a sample; for each of the next few tokens a linear map says what it will
be (Equation 3), and must find it among tokens drawn from the batch (Equation 4). What is to be
found is the embedding of a token before it saw any other, with gradient.

Departures: a causal transformer in place of a recurrent network; one layer in place of a stack of
convolutions makes a token; other tokens are drawn from all times and samples of a rank's batch;
products are divided by the root of the width. `found` in the journal is how often the right one
was the likeliest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_frames
from unlabeled.modalities.base import Modality
from unlabeled.nn.precision import full
from unlabeled.rng import uniform
from unlabeled.types import Batch, Loss, View


class CPC(Method):
    """Contrastive predictive coding."""

    modalities = ("series", "audio")
    needs = "causal"
    couples_samples = True
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 1e-3,
        "batch": 64,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """Options of CPC."""

        ahead: int = Field(4, ge=1, le=50, description="tokens that are foretold")
        num_negatives: int = Field(63, ge=1, description="K, other tokens to tell the right from")
        out_dim: int = Field(64, gt=0, description="width of what is compared")
        crop: float = Field(0.8, gt=0, le=1, description="smallest share of a sample in a view")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_frames("cpc", encoder, causal=True)
        c = self.config = config
        self.encoder: Encoder = encoder
        self.target = nn.Linear(encoder.dim, c.out_dim, bias=False)
        self.foretell = nn.ModuleList(
            nn.Linear(encoder.dim, c.out_dim, bias=False) for _ in range(c.ahead)
        )

    def views(self) -> dict[str, View]:
        """Return one window of each sample."""
        return {"plain": View(extent=(self.config.crop, 1.0))}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the mean cross-entropy of all tokens that are foretold."""
        steps: Any = self.encoder
        x = batch["plain"][0]
        heard, layout = steps.heard(x), steps.layout(x)  # (B, N)
        tokens = steps.embed(x, layout)
        told, aims = steps.blocks(tokens, layout), full(self.target(tokens))
        pool = aims[heard]  # (S, P)
        row = torch.zeros_like(heard, dtype=torch.long)
        row[heard] = torch.arange(len(pool), device=x.device)
        logits, wrong = [], []
        for k, layer in enumerate(self.foretell, start=1):
            if k >= heard.shape[1]:
                break
            asked = heard[:, k:] & heard[:, :-k]
            guess = full(layer(told[:, :-k]))[asked]  # (M, P)
            others = self._others(batch.keys, asked, len(pool), salt=k)
            logits.append(self._compare(guess, aims[:, k:][asked], pool[others]))
            wrong.append(others == row[:, k:][asked][:, None])
        return _nce(torch.cat(logits), torch.cat(wrong))

    def _others(self, keys: Tensor, asked: Tensor, size: int, salt: int) -> Tensor:
        """Draw tokens of the batch for each asked one, (M, K) rows of the pool."""
        count = self.config.num_negatives
        draws = uniform(keys, asked.shape[1] * count, salt=salt).view(*asked.shape, count)
        return (draws[asked] * size).long().clamp(max=size - 1)

    def _compare(self, guess: Tensor, right: Tensor, others: Tensor) -> Tensor:
        """Return products with the right token first, (M, 1 + K)."""
        every = torch.cat([right[:, None], others], 1)  # (M, 1 + K, P)
        return torch.einsum("mp,mkp->mk", guess, every) / math.sqrt(guess.shape[-1])

    def chance(self, batch_size: int) -> float:
        """Return ln(1 + K): every token is as likely."""
        return math.log(1 + self.config.num_negatives)


def _nce(logits: Tensor, same: Tensor) -> Loss:
    """Return the loss of finding column 0; others that are the right one do not count."""
    logits = torch.cat([logits[:, :1], logits[:, 1:].masked_fill(same, float("-inf"))], 1)
    aim = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    found = (logits.argmax(1) == 0).float().mean()
    return Loss(F.cross_entropy(logits, aim), {"found": found})
