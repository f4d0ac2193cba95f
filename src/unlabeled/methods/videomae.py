"""VideoMAE: hide most places of a clip at all times and reconstruct what happens there.

Tong, Song, Wang and Wang, "VideoMAE: Masked Autoencoders are Data-Efficient Learners for
Self-Supervised Video Pre-Training", NeurIPS 2022, arXiv:2203.12602.

Targets are boxes of space and time (tubelets) whose channels each have mean 0 and deviation 1.
Departures: a random resized crop in place of crops of a few fixed sizes; the default decoder
(width 128, 2 blocks) and learning rate suit small encoders and short runs; the authors' are
decoder_heads=12 decoder_depth=4 and optim.lr=1.5e-4 a batch of 256.
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
from unlabeled.nn.masks import take
from unlabeled.nn.patches import Reconstruction
from unlabeled.nn.positions import sinusoid
from unlabeled.nn.precision import full
from unlabeled.nn.tubes import standardise_tubes, tube_masks, tubes, untubes
from unlabeled.types import Batch, Loss, View


class VideoMAE(Method):
    """Masked autoencoding of boxes of space and time."""

    encoder: Any  # one with boxes
    modalities = ("video",)
    needs = "tokens"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 1e-3,
        "lr_rule": "linear",
        "batch": 64,
        "betas": (0.9, 0.95),
        "weight_decay": 0.05,
        "warmup": 0.1,
    }

    class Config(MethodConfig):
        """Options of VideoMAE."""

        mask_ratio: float = Field(0.9, gt=0, lt=1, description="share of places that is hidden")
        decoder_heads: int = Field(4, ge=1, description="heads of the decoder, each 32 wide")
        decoder_depth: int = Field(2, ge=1, description="blocks of the decoder")
        norm_pix: bool = Field(True, description="reconstruct boxes of mean 0 and deviation 1")
        crop: float = Field(0.4, gt=0, le=1, description="smallest share of a frame in a view")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_tokens("videomae", encoder)
        self.config, self.encoder = config, encoder
        self.cut = {"length": self.encoder.length, "patch": self.encoder.patch}
        video, width = self.encoder.video, 32 * config.decoder_heads
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.narrow = nn.Linear(encoder.dim, width, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(width))
        blocks = range(config.decoder_depth)
        self.decoder = nn.Sequential(
            *[Block(width, config.decoder_heads, qkv_bias=True, norm_layer=norm) for _ in blocks]
        )
        choose_attention(self.decoder)
        self.norm = norm(width)
        values = self.encoder.length * self.encoder.patch**2 * video.channels
        self.predict = nn.Linear(width, values)
        table = sinusoid(self.encoder.slots * self.encoder.side**2, width)
        self.positions: Tensor
        self.register_buffer("positions", table, persistent=False)  # (N, width)
        self.scale: Tensor
        moments = torch.tensor([video.mean, video.std])[:, :, None, None]
        self.register_buffer("scale", moments.expand(-1, video.channels, 1, 1), persistent=False)
        self._start()

    def views(self) -> dict[str, View]:
        """Return one crop: hiding is all the distortion that is needed."""
        return {"global": View(extent=(self.config.crop, 1.0), flip=True)}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Compare hidden boxes with what was guessed."""
        clips = batch["global"][0]  # (B, T, C, H, W)
        visible, hidden = self.masks(batch.keys)
        boxes = tubes(self._seen(clips), **self.cut)  # (B, N, Q, C)
        target = take(boxes.flatten(2), hidden).view(*hidden.shape, *boxes.shape[2:])
        target = standardise_tubes(target)[0] if self.config.norm_pix else target
        target = target.flatten(2)  # (B, M, P)
        total = (full(self.guess(clips, visible, hidden)) - target).square().mean()
        return Loss(total, {"explained": 1 - total.detach() / target.var()})

    def masks(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return positions of visible and of hidden boxes."""
        return tube_masks(keys, self.encoder.slots, self.encoder.side**2, self.config.mask_ratio)

    def _seen(self, clips: Tensor) -> Tensor:
        """Undo the normalisation: values in [0, 1]."""
        return full(clips) * self.scale[1] + self.scale[0]

    def guess(self, clips: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        """Guess the hidden boxes from the visible ones, (B, M, P).

        Args:
            clips: (B, T, C, H, W).
            visible: (B, N - M) positions of boxes that the encoder sees.
            hidden: (B, M) positions of the others.
        """
        latent = self.narrow(self.encoder.blocks(take(self.encoder.embed(clips), visible)))
        asked = self.mask_token + self.positions[hidden]  # (B, M, width)
        decoded = self.decoder(torch.cat([latent + self.positions[visible], asked], 1))
        guessed: Tensor = self.predict(self.norm(decoded[:, -hidden.shape[1] :]))
        return guessed

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> Reconstruction:
        """Show what is hidden and what is guessed, for the report; clips (B, T, C, H, W)."""
        clips = batch["global"][0]
        visible, hidden = self.masks(batch.keys)
        boxes = tubes(self._seen(clips), **self.cut)
        asked = take(boxes.flatten(2), hidden).view(*hidden.shape, *boxes.shape[2:])
        guessed = full(self.guess(clips, visible, hidden)).view(asked.shape)
        if self.config.norm_pix:  # the box's own mean and contrast, which are not guessed
            _, mean, deviation = standardise_tubes(asked)
            guessed = guessed * deviation + mean
        index = hidden[..., None].expand(-1, -1, boxes[0, 0].numel())
        flat = boxes.flatten(2)
        shown = (flat, flat.scatter(1, index, 0.5), flat.scatter(1, index, guessed.flatten(2)))
        back = [untubes(x.view(boxes.shape), **self.cut, side=self.encoder.side) for x in shown]
        return Reconstruction(*((x - self.scale[0]) / self.scale[1] for x in back))

    def _start(self) -> None:
        """Start weights as the authors do, but keep those that were loaded."""
        fresh = [self.narrow, self.predict, *self.decoder.modules()]
        if not self.encoder.pretrained:
            fresh += list(self.encoder.modules())
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        for layer in fresh:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
