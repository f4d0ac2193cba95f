"""SimCLR: two views of a sample find each other among all other views of the batch.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020,
arXiv:2002.05709; projection head after "Big Self-Supervised Models", arXiv:2006.10029.

Departures: the loss is the mean over both directions, half of the authors' sum. Defaults are
their CIFAR-10 setting (appendix B.9: temperature 0.5, half the colour distortion, no blur on
small images); for ImageNet set temperature=0.1 distort=1. The optimiser is SGD with momentum,
which at a batch of some hundreds does as well as LARS; optim.name=lars is theirs. BatchNorm and
negatives are those of all ranks, as theirs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from unlabeled.encoders.base import Encoder
from unlabeled.health import projected
from unlabeled.method import Method, MethodConfig
from unlabeled.modalities.base import Modality
from unlabeled.nn.contrast import nt_xent
from unlabeled.nn.heads import projector
from unlabeled.types import Batch, Loss, View


class SimCLR(Method):
    """Contrastive learning with the batch as its own negatives."""

    couples_samples = True
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "sgd",
        "lr": 0.12,
        "lr_rule": "linear",
        "batch": 256,
        "weight_decay": 5e-4,
        "momentum": 0.9,
        "warmup": 0.05,
    }

    class Config(MethodConfig):
        """Options of SimCLR."""

        temperature: float = Field(0.5, gt=0, description="sharpness; 0.1 for large images")
        hidden_dim: int = Field(512, gt=0, description="width inside the projector")
        out_dim: int = Field(128, gt=0, description="width of a projection")
        num_layers: int = Field(2, ge=1, description="layers of the projector; 3 in SimCLR v2")
        crop: float = Field(0.08, gt=0, le=1, description="smallest share of an image in a view")
        distort: float = Field(0.5, ge=0, description="colour distortion; 1 for large images")
        grey: float = Field(0.2, ge=0, le=1, description="probability of removing colour")
        blur: float = Field(0.5, ge=0, le=1, description="probability of blurring")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.projector = projector(
            encoder.dim, config.hidden_dim, config.out_dim, config.num_layers
        )

    def views(self) -> dict[str, View]:
        """Return two strongly distorted crops."""
        c = self.config
        return {
            "global": View(
                count=2,
                extent=(c.crop, 1.0),
                flip=True,
                distort=c.distort,
                grey=c.grey,
                blur=(c.blur,),
            )
        }

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Contrast both views with each other and with the rest of the batch."""
        images = batch["global"].flatten(0, 1)  # (2B, C, H, W): BatchNorm sees both views
        one, two = self.projector(self.encoder(images)).chunk(2)  # (B, out_dim) each
        total, found = nt_xent(one, two, self.config.temperature)
        return Loss(total, {"found": found, **projected(one)})

    def chance(self, batch_size: int) -> float:
        """Return ln(2B - 1): every other view is as likely."""
        return math.log(2 * batch_size - 1)
