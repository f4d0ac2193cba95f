"""SimMIM: the encoder sees hidden patches as one token, and one layer guesses their pixels.

Xie et al., "SimMIM: A Simple Framework for Masked Image Modeling", CVPR 2022, arXiv:2111.09886.

Departures: timm's transformer keeps its own positions and has no relative bias; what is hidden at
once is one patch, since patches of small images are as large a share of them as the authors' 32
pixels of 224 are (mask_unit=2 for patches of 16 pixels); the rate suits short runs (the authors':
optim.lr=1e-4 a batch of 256). Pixels are normalised by data set, not by patch, as in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.errors import ConfigError
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_tokens
from unlabeled.modalities.base import Modality
from unlabeled.nn.masks import random_masks, take
from unlabeled.nn.patches import Reconstruction, patchify, unpatchify
from unlabeled.nn.precision import full
from unlabeled.types import Batch, Loss, View


class SimMIM(Method):
    """Regression of hidden pixels by a linear head."""

    encoder: Any  # one with patches
    modalities = ("image", "audio")
    needs = "tokens"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 5e-4,
        "lr_rule": "linear",
        "batch": 256,
        "weight_decay": 0.05,
        "warmup": 0.1,
        "clip": 5.0,
    }

    class Config(MethodConfig):
        """Options of SimMIM."""

        mask_ratio: float = Field(0.6, gt=0, lt=1, description="share of patches that is hidden")
        mask_unit: int = Field(1, ge=1, description="patches along an edge of what is hidden")
        crop: float = Field(0.67, gt=0, le=1, description="smallest share of an image in a view")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_tokens("simmim", encoder)
        self.config, self.encoder = config, encoder
        self.side = self.encoder.blueprint.size // self.encoder.patch
        if self.side % config.mask_unit:
            raise ConfigError(
                f"method.mask_unit={config.mask_unit} does not tile {self.side} patches along an "
                f"edge. Choose a divisor of {self.side}, such as 1."
            )
        self.mask_token = nn.Parameter(torch.empty(encoder.dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.channels: int = self.encoder.blueprint.channels
        self.predict = nn.Linear(encoder.dim, self.encoder.patch**2 * self.channels)

    def views(self) -> dict[str, View]:
        """Return one crop."""
        return {"global": View(extent=(self.config.crop, 1.0), flip=True)}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the mean absolute error of hidden pixels (Eq. 1)."""
        images = batch["global"][0]
        hidden = self.hide(batch.keys)  # (B, M)
        target = take(full(patchify(images, self.encoder.patch)), hidden)  # (B, M, P)
        total = (full(self.guess(images, hidden)) - target).abs().mean()
        plain = (target - target.mean()).abs().mean()
        return Loss(total, {"explained": 1 - total.detach() / plain})

    def hide(self, keys: Tensor) -> Tensor:
        """Draw the hidden patches, (B, M) positions; units are hidden whole."""
        unit, units = self.config.mask_unit, self.side // self.config.mask_unit
        _, chosen = random_masks(keys, units**2, self.config.mask_ratio)  # (B, m)
        within = torch.arange(unit, device=keys.device)
        row = (chosen // units)[..., None] * unit + within  # (B, m, unit)
        column = (chosen % units)[..., None] * unit + within
        positions: Tensor = row[..., :, None] * self.side + column[..., None, :]
        return positions.flatten(1)

    def guess(self, images: Tensor, hidden: Tensor) -> Tensor:
        """Guess the hidden patches, (B, M, P)."""
        where = torch.zeros(len(images), self.side**2, dtype=torch.bool, device=images.device)
        where.scatter_(1, hidden, True)
        _, patches = self.encoder.feature_and_patches(images, where, self.mask_token)
        guessed: Tensor = self.predict(take(patches, hidden))
        return guessed

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> Reconstruction:
        """Show what is hidden and what is guessed, for the report."""
        images = batch["global"][0]
        hidden, patches = self.hide(batch.keys), patchify(images, self.encoder.patch)
        guessed = full(self.guess(images, hidden))
        index = hidden[..., None].expand_as(guessed)
        shown = (patches.scatter(1, index, 0.0), patches.scatter(1, index, guessed))
        return Reconstruction(
            images, *(unpatchify(x, self.encoder.patch, self.channels) for x in shown)
        )
