"""Encoders from timm and transformers, reached through embed, blocks and pool."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from unlabeled.config import MODALITIES, EncoderConfig
from unlabeled.encoders.base import Encoder, config_of
from unlabeled.kinds import KINDS, part

__all__ = ["NOTE", "Encoder", "build", "load"]

NOTE = "unlabeled"
"""Entry of config.json for what only this package needs, such as the kind of data."""


def build(
    config: EncoderConfig,
    modality: BaseModel,
    vocab_size: int | None = None,
) -> Encoder:
    """Build the network that a configuration asks for.

    Fresh weights come from torch's global generator; `config.init` names a local folder instead.

    Raises:
        UsageError: there is no such network.
        ConfigError: it cannot be built for this data.
    """
    kind = next(name for name, model in MODALITIES.items() if isinstance(modality, model))
    encoder: Encoder = part(kind, "encoders").build(config, modality, vocab_size)
    return encoder


def load(folder: Path) -> Encoder:
    """Open a folder that `Encoder.save` wrote, in timm's or transformers' format, offline.

    Raises:
        UsageError: the folder does not hold an encoder.
    """
    encoder: Encoder = part(_kind(config_of(folder)), "encoders").load(folder)
    return encoder


def _kind(content: Mapping[str, Any]) -> str:
    """Return the kind of data that an encoder's config.json is for: as noted, or by its library."""
    noted = dict(content.get(NOTE) or {}).get("kind")
    if noted in KINDS:
        return str(noted)
    if content.get("model_type") in ("wav2vec2", "hubert"):
        return "audio"
    if content.get("model_type") == "videomae":
        return "video"
    return "image" if "architecture" in content else "text"
