"""MAE: hide most patches of an image and reconstruct them from the few that are left.

He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, arXiv:2111.06377.

Departures: the decoder is not put back in image order, since attention knows no order but the
positions that are added, and predicts hidden patches only; both leave the loss as it is. The
default decoder (width 128, 2 blocks) and learning rate suit small encoders and short runs; the
authors' are decoder_heads=16 decoder_depth=8 and optim.lr=1.5e-4 a batch of 256.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import Field
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_tokens
from unlabeled.modalities.base import Modality
from unlabeled.nn.kernels import choose_attention
from unlabeled.nn.masks import random_masks, take
from unlabeled.nn.patches import Reconstruction, patchify, standardise, unpatchify
from unlabeled.nn.positions import sincos_2d
from unlabeled.nn.precision import full
from unlabeled.types import Batch, Loss, View


class MAE(Method):
    """Masked autoencoding of pixels."""

    modalities = ("image", "audio")
    needs = "tokens"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 1e-3,
        "lr_rule": "linear",
        "batch": 256,
        "betas": (0.9, 0.95),
        "weight_decay": 0.05,
        "warmup": 0.1,
    }

    class Config(MethodConfig):
        """Options of MAE."""

        mask_ratio: float = Field(0.75, gt=0, lt=1, description="share of patches that is hidden")
        decoder_heads: int = Field(4, ge=1, description="heads of the decoder, each 32 wide")
        decoder_depth: int = Field(2, ge=1, description="blocks of the decoder")
        norm_pix: bool = Field(True, description="reconstruct patches of mean 0 and variance 1")
        crop: float = Field(0.2, gt=0, le=1, description="smallest share of an image in a view")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_tokens("mae", encoder)
        self.config = config
        self.encoder: Any = encoder
        image: Any = encoder  # an encoder that hides tokens knows its patches
        self.patch, self.prefix = image.patch, encoder.num_prefix
        self.channels, side = image.blueprint.channels, image.blueprint.size // image.patch
        width = 32 * config.decoder_heads
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.narrow = nn.Linear(encoder.dim, width)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.decoder = nn.Sequential(
            *[
                Block(width, config.decoder_heads, qkv_bias=True, norm_layer=norm)
                for _ in range(config.decoder_depth)
            ]
        )
        choose_attention(self.decoder)
        self.norm = norm(width)
        self.predict = nn.Linear(width, self.patch**2 * self.channels)
        self.positions: Tensor
        self.register_buffer("positions", sincos_2d(side, width), persistent=False)  # (N, width)
        self._start(image, sincos_2d(side, encoder.dim))

    def views(self) -> dict[str, View]:
        """Return one crop: hiding is all the distortion that is needed."""
        return {"global": View(extent=(self.config.crop, 1.0), flip=True)}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Compare hidden patches with what was guessed."""
        images = batch["global"][0]
        visible, hidden = random_masks(batch.keys, len(self.positions), self.config.mask_ratio)
        target = take(patchify(images, self.patch), hidden)  # (B, M, P)
        target = standardise(target)[0] if self.config.norm_pix else full(target)
        total = (full(self.guess(images, visible, hidden)) - target).square().mean()
        return Loss(total, {"explained": 1 - total.detach() / target.var()})

    def guess(self, images: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        """Guess the hidden patches from the visible ones, (B, M, P).

        Args:
            images: (B, C, H, W).
            visible: (B, N - M) positions of patches that the encoder sees.
            hidden: (B, M) positions of the others.
        """
        tokens = self.encoder.embed(images)  # (B, prefix + N, D)
        seen = torch.cat([tokens[:, : self.prefix], take(tokens[:, self.prefix :], visible)], 1)
        latent = self.narrow(self.encoder.blocks(seen, places=visible))  # (B, prefix + N - M, w)
        first, rest = latent[:, : self.prefix], latent[:, self.prefix :]
        asked = self.mask_token + self.positions[hidden]  # (B, M, width)
        decoded = self.decoder(torch.cat([first, rest + self.positions[visible], asked], 1))
        guessed: Tensor = self.predict(self.norm(decoded[:, -hidden.shape[1] :]))
        return guessed

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> Reconstruction:
        """Show what is hidden and what is guessed, for the report."""
        images = batch["global"][0]
        visible, hidden = random_masks(batch.keys, len(self.positions), self.config.mask_ratio)
        guessed = full(self.guess(images, visible, hidden))
        patches = patchify(images, self.patch)
        if self.config.norm_pix:  # the patch's own mean and contrast, which are not guessed
            _, mean, deviation = standardise(take(patches, hidden))
            guessed = guessed * deviation + mean
        index = hidden[..., None].expand_as(guessed)
        masked, filled = patches.scatter(1, index, 0.0), patches.scatter(1, index, guessed)
        back = partial(unpatchify, patch=self.patch, channels=self.channels)
        return Reconstruction(images, back(masked), back(filled))

    def _start(self, image: Any, grid: Tensor) -> None:
        """Start weights as the authors do, but keep those that were loaded."""
        fresh = [self.narrow, self.predict, *self.decoder.modules()]
        if not image.pretrained:
            image.place(grid, torch.zeros(self.prefix, grid.shape[1]))
            projection = image.model.patch_embed.proj.weight
            nn.init.xavier_uniform_(projection.view(len(projection), -1))
            fresh += list(image.modules())
            if image.model.cls_token is not None:
                nn.init.normal_(image.model.cls_token, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)
        for layer in fresh:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
