"""Encoders from timm and transformers, reached through embed, blocks and pool."""

from __future__ import annotations

import json
from pathlib import Path

from unlabeled.config import EncoderConfig, ImageConfig, TextConfig
from unlabeled.encoders.base import Encoder
from unlabeled.errors import UsageError

__all__ = ["Encoder", "build", "load"]


def build(
    config: EncoderConfig,
    modality: ImageConfig | TextConfig,
    vocab_size: int | None = None,
) -> Encoder:
    """Build the network that a configuration asks for.

    Fresh weights come from torch's global generator; `config.init` names a local folder instead.

    Raises:
        UsageError: there is no such network.
        ConfigError: it cannot be built for this data.
    """
    if isinstance(modality, ImageConfig):
        from unlabeled.encoders import vision

        return vision.build(config, modality)
    from unlabeled.encoders import language

    encoder: Encoder = language.build(config, modality, vocab_size)
    return encoder


def load(folder: Path) -> Encoder:
    """Open a folder that `Encoder.save` wrote, in timm's or transformers' format, offline.

    Raises:
        UsageError: the folder does not hold an encoder.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise UsageError(f"{folder} does not hold an encoder: there is no config.json.")
    if "architecture" in json.loads(path.read_text(encoding="utf-8")):
        from unlabeled.encoders import vision

        return vision.load(folder)
    from unlabeled.encoders import language

    encoder: Encoder = language.load(folder)
    return encoder
