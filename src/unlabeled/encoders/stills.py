"""Encoders of clips that look at one frame at a time: any image network of timm.

``timm:NAME`` for clips is the network that it is for images; the feature of a clip is the mean of
its frames' features, and what moves is not seen. It is saved in timm's format, so that a policy
that sees single pictures can start from it:

    timm.create_model("local-dir:FOLDER", pretrained=True, num_classes=0)(frames)
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from torch import Tensor

from unlabeled.config import EncoderConfig, ImageConfig, VideoConfig
from unlabeled.encoders import vision
from unlabeled.encoders.base import Encoder, config_of
from unlabeled.encoders.vision import ImageEncoder
from unlabeled.errors import UsageError


class Stills(Encoder):
    """An image network on every frame of a clip, (B, T, C, H, W), any T.

    Args:
        still: the network.
        video: how clips are read.
    """

    modality = "video"

    def __init__(self, still: ImageEncoder, video: VideoConfig) -> None:
        super().__init__()
        self.still, self.video = still, video
        self.name, self.dim, self.pretrained = still.name, still.dim, still.pretrained

    def embed(self, x: Tensor) -> Tensor:
        """Return the feature of every frame, (B, T, C, H, W) -> (B, T, D)."""
        found: Tensor = self.still(x.flatten(0, 1))  # (B T, D)
        return found.view(*x.shape[:2], -1)

    def blocks(self, tokens: Tensor, layout: Tensor | None = None) -> Tensor:
        """Return frames as they are: they do not see each other."""
        return tokens

    def pool(self, tokens: Tensor) -> Tensor:
        """Average over time, (B, T, D) -> (B, D)."""
        return tokens.mean(1)

    def save(self, folder: Path) -> None:
        """Write a folder that timm and transformers open, with a note of how clips are read."""
        self.still.save(folder)
        path = folder / "config.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content["unlabeled"]["modality"] = self.video.model_dump()
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def build(config: EncoderConfig, video: VideoConfig) -> Stills:
    """Build a network of timm for frames, fresh or from ``config.init``.

    Raises:
        UsageError: there is no such network.
        ConfigError: an option or a size does not fit it.
    """
    image = ImageConfig(size=video.size, channels=video.channels, mean=video.mean, std=video.std)
    return _of_clips(vision.build(config, image), video)


def load(folder: Path) -> Stills:
    """Open a folder that `Stills.save` wrote.

    Raises:
        UsageError: it does not say how clips are read.
    """
    content = config_of(folder)
    note = dict(content.get("unlabeled") or {}).get("modality")
    if note is None:
        raise UsageError(
            f"{folder} holds an encoder of images. Start from it with encoder.init={folder}."
        )
    return _of_clips(vision.load(folder), VideoConfig(**note))


def _of_clips(made: ImageEncoder, video: VideoConfig) -> Stills:
    made.blueprint = dataclasses.replace(made.blueprint, kind="video")
    return Stills(made, video)
