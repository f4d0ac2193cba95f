"""Contriever: two crops of one document are a pair, the crops of other documents its negatives.

Izacard et al., "Unsupervised Dense Information Retrieval with Contrastive Learning", TMLR 2022,
arXiv:2112.09118.

Independent cropping (section 3.1): two spans of neighbouring tokens, each of 5 % to 50 % of a
document, drawn apart, so that they may overlap. Equation 1 with negatives from the batch (section
3.2): cross-entropy of finding the other crop by cosines divided by 0.05. Features begin to be
learned from nothing, for unlike dropouts of one sentence (SimCSE), crops differ in their words.
With `bert` beside it in `combine` it is DeCLUTR's sum (Giorgi et al., ACL 2021, arXiv:2006.03659).

Departures: no queue of a slow teacher's keys; as in DeCLUTR and SimCLR both crops look for each
other among all crops of the batch, 2B - 1 candidates; a document is the longest in a packed row,
as far as the row holds it (the authors' have 256 tokens too); matrices move by Muon (set
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
from unlabeled.health import projected
from unlabeled.method import Method, MethodConfig
from unlabeled.modalities.base import Modality
from unlabeled.nn import text_crops
from unlabeled.nn.contrast import nt_xent
from unlabeled.types import Batch, Loss


class Contriever(Method):
    """Contrast of crops."""

    modalities = ("text",)
    couples_samples = True
    special: Tensor
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "muon",
        "lr": 2e-3,
        "muon_lr": 0.02,
        "batch": 128,
        "betas": (0.9, 0.98),
        "eps": 1e-6,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """Options of Contriever."""

        temperature: float = Field(0.05, gt=0, description="divides cosines")
        smallest: float = Field(0.05, gt=0, le=1, description="least share of a document in a crop")
        largest: float = Field(0.5, gt=0, le=1, description="largest share")
        delete: float = Field(0.1, ge=0, lt=1, description="share of a crop's tokens left out")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        if config.smallest > config.largest:
            raise ConfigError(
                f"method.smallest={config.smallest} is above method.largest={config.largest}; "
                "a crop has a share between the two."
            )
        self.config, self.encoder = config, encoder
        library: Any = encoder
        text: Any = modality
        library.set_special_ids(text)
        special = torch.zeros(int(text.vocab_size), dtype=torch.bool)
        special[list(text.special_ids)] = True
        self.register_buffer("special", special, persistent=False)
        self.edges, self.padding = (text.opens, text.closes), text.pad_id or 0

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the mean cross-entropy of finding each crop's other one, in nats."""
        one, two = self.features(batch)
        total, found = nt_xent(one, two, self.config.temperature)
        return Loss(total, {"found": found, **projected(one)})

    def features(self, batch: Batch) -> Tensor:
        """Return the features of two crops of a document in each row, (2, B, D)."""
        options = self.config
        extent = options.smallest, options.largest
        x = batch["plain"][0]  # (B, 2 or 3, T)
        crops = text_crops.crop(
            x, batch.keys, extent, self.special, self.edges, self.padding, options.delete
        )
        library: Any = self.encoder
        features, _ = library.by_document(crops.x)  # (R, M, D)
        return crops.features(features)

    def chance(self, batch_size: int) -> float:
        """Return ln(2B - 1): every other crop is as likely."""
        return math.log(2 * batch_size - 1)
