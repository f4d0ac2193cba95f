"""ELECTRA: tell which tokens of a text were replaced by a small generator's guesses.

Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators",
ICLR 2020, arXiv:2003.10555.

Equation of section 2: L = L_MLM(generator) + 50 L_Disc(encoder). A generator of a quarter of the
width guesses hidden tokens (85 % masked, 15 % left); its guesses are drawn from its logits in
fp32 and put into the unhidden text. The encoder says of every real token whether it is the
original; a guess that happens to be right counts as original. No gradient passes the drawing.
Both share the embeddings of tokens and positions. What is exported is the encoder.

Other ways to spoil the text, without a generator: `shuffled` permutes the chosen tokens of a
document (Panda et al. 2021, https://doi.org/10.18653/v1/2021.naacl-srw.12), `random` draws
ordinary tokens (Di Liello et al. 2022, arXiv:2210.13536).

Departures: exactly the share of tokens is chosen, none twice; means are taken in each row and then
over rows; rows are packed with attention inside documents; matrices move by Muon; no dropout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from unlabeled.encoders.base import Encoder
from unlabeled.encoders.generator import Generator
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_attention, require_mask
from unlabeled.modalities.base import Modality
from unlabeled.nn.cross_entropy import cross_entropy
from unlabeled.nn.guesses import cost_of
from unlabeled.nn.hiding import Hiding, sample, shuffle
from unlabeled.nn.token_head import Detector, Scores, replaced_nats
from unlabeled.rng import uniform
from unlabeled.types import Batch, Loss


class ELECTRA(Method):
    """Replaced-token detection."""

    modalities = ("text",)
    needs = "bidirectional"
    scored = "replaced"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "muon",
        "lr": 2e-3,
        "muon_lr": 0.02,
        "batch": 64,
        "betas": (0.9, 0.999),
        "eps": 1e-6,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """Options of ELECTRA."""

        spoil: Literal["replaced", "shuffled", "random"] = Field(
            "replaced", description="by a generator's guesses, by permuting, by random tokens"
        )
        mask_ratio: float = Field(0.15, gt=0, lt=1, description="share of tokens chosen")
        generator_size: float = Field(
            0.25, gt=0, le=1, description="width of the generator as a share of the encoder's"
        )
        weight: float = Field(50.0, gt=0, description="of the encoder's loss; lambda")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_attention("electra", encoder, causal=False)
        require_mask("electra", modality)
        text: Any = modality
        library: Any = encoder
        self.config = config
        self.encoder: Encoder = encoder
        library.set_special_ids(text)
        self.vocab_size, self.special_ids = int(text.vocab_size), ()
        self.hiding = Hiding(text, "token", 0.85, 0.0)
        self.generator: Generator | None = None
        if config.spoil == "replaced":
            self.generator = Generator(library, config.generator_size, text.config.length)
        self.detector: Detector = library.add_detector()

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the generator's loss plus the weighted loss of the encoder, in nats."""
        x = batch["plain"][0]  # (B, 2 or more, T)
        spoiled, guessing = self.spoil(x, batch.keys)
        logits, wrong, real = self._judge(x, spoiled)
        detection = replaced_nats(logits, wrong)
        detection = ((detection * real).sum(1) / real.sum(1).clamp(min=1)).mean()
        found = (logits > 0) & real & wrong
        parts = {
            "detection": detection.detach(),
            "replaced": (wrong & real).sum() / real.sum().clamp(min=1),
            "caught": found.sum() / (wrong & real).sum().clamp(min=1),
        }
        if guessing is None:
            return Loss(detection, {**parts, "nats": detection.detach()})
        return Loss(guessing + self.config.weight * detection, {**parts, "nats": guessing.detach()})

    def spoil(self, x: Tensor, keys: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return spoiled ids, (B, T), and what the generator's guesses cost in nats."""
        hidden, chosen = self.hiding(x, keys, self.config.mask_ratio)
        ids = x[:, 0]
        if self.generator is None and self.config.spoil == "shuffled":
            return shuffle(ids, x[:, 1], chosen, uniform(keys, ids.shape[1], salt=5)), None
        if self.generator is None:
            return torch.where(chosen, self.hiding.words(ids, keys), ids), None
        where = chosen.flatten().nonzero().flatten()  # (S,)
        library: Any = self.encoder
        guess = self.generator(library, torch.stack([hidden, x[:, 1]], 1), where)
        targets, noise = ids.flatten()[where], uniform(keys, ids.shape[1], salt=5).flatten()[where]
        share = (1 / chosen.sum(1).clamp(min=1)).repeat_interleave(chosen.sum(1)) / len(x)
        drawn = torch.empty_like(targets)

        def cost(logits: Tensor, part: slice) -> Tensor:
            drawn[part] = sample(logits[:, : self.vocab_size], noise[part])
            nats = cross_entropy(logits, targets[part], "none")
            return torch.sum(nats * share[part])

        nats = cost_of(guess, cost)
        return ids.flatten().index_copy(0, where, drawn).view_as(ids), nats

    def _judge(self, x: Tensor, spoiled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of being replaced, whether it is so, and which tokens are real, (B, T)."""
        tokens = self.encoder.tokens(torch.stack([spoiled, x[:, 1]], 1))
        return self.detector(tokens), spoiled != x[:, 0], x[:, 1] >= 0

    @torch.no_grad()
    def scores(self, batch: Batch) -> Scores:
        """Return what each real token costs the encoder; targets are 1 where it was replaced."""
        x = batch["plain"][0]
        logits, wrong, real = self._judge(x, self.spoil(x, batch.keys)[0])
        right = (logits > 0) == wrong
        return Scores(replaced_nats(logits, wrong)[real], wrong[real].long(), right[real])

    def chance(self, batch_size: int) -> float:
        """Return ln K, the generator's; ln 2 where there is none."""
        return math.log(self.vocab_size if self.generator is not None else 2)
