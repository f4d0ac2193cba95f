"""Whether an encoder offers what a method needs."""

from __future__ import annotations

from typing import Any

from unlabeled.encoders.base import Encoder
from unlabeled.errors import ConfigError
from unlabeled.kinds import KINDS
from unlabeled.methods import catalogue
from unlabeled.types import View


def require_tokens(method: str, encoder: Encoder) -> None:
    """Refuse an encoder that cannot run on a part of its tokens.

    Raises:
        ConfigError: names what would work.
    """
    if encoder.hides_tokens:
        return
    cards = [catalogue.describe(name) for name in catalogue.names()]
    others = [c.name for c in cards if c.needs == "feature" and encoder.modality in c.modalities]
    raise ConfigError(
        f"{method} hides tokens, but encoder '{encoder.name}' offers only a pooled feature. "
        f"Choose a transformer ({KINDS[encoder.modality].network}, ...) "
        f"or a method that needs no tokens: {', '.join(others)}."
    )


def require_tiles(encoder: Any, modality: Any, view: View) -> None:
    """Refuse views that an encoder's patches do not tile.

    Raises:
        ConfigError: says what the sizes are.
    """
    if not encoder.hides_tokens:
        return
    edge = modality.edge(view)
    if edge % encoder.patch:
        raise ConfigError(
            f"Views of {edge} pixels (size {view.size} of {encoder.blueprint.size}) are not tiled "
            f"by patches of {encoder.patch}. Choose a size that gives a multiple, such as "
            f"{max(1, round(edge / encoder.patch)) * encoder.patch / encoder.blueprint.size}, "
            f"or another encoder.patch."
        )


def require_frames(method: str, encoder: Encoder, causal: bool) -> None:
    """Refuse an encoder that does not read log-mel frames, or sees too much or too little of them.

    Raises:
        ConfigError: names what would work.
    """
    if hasattr(encoder, "stacked") and encoder.causal == causal:
        return
    wanted = "see only what came before" if causal else "see both sides"
    fitting = "hf:llama-4x192h3, hf:gpt2-mini" if causal else "hf:modernbert-4x192h3, hf:bert-mini"
    raise ConfigError(
        f"{method} needs an encoder of steps (log-mel frames, or logs) whose tokens {wanted}, and "
        f"'{encoder.name}' is none. Choose encoder.name from {fitting}, ...; for recordings with "
        "modality.form=frames."
    )


def require_waves(method: str, encoder: Encoder) -> None:
    """Refuse an encoder that does not read samples.

    Raises:
        ConfigError: names what would work.
    """
    if not hasattr(encoder, "convolved"):
        raise ConfigError(
            f"{method} needs an encoder of samples, and '{encoder.name}' is none. Choose "
            "encoder.name from hf:wav2vec2-tiny, hf:hubert-mini, ... with modality.form=wave."
        )


def require_channels(method: str, encoder: Encoder) -> None:
    """Refuse an encoder that does not read the channels of a log apart.

    Raises:
        ConfigError: names what would work.
    """
    if not hasattr(encoder, "attended"):
        raise ConfigError(
            f"{method} needs an encoder that reads channels apart, and '{encoder.name}' is none. "
            "Choose encoder.name from hf:patchtst-2x64h4, hf:patchtst-3x128h8, ..."
        )


def require_stills(method: str, encoder: Any, moments: int) -> None:
    """Refuse an encoder that does not look at frames of a clip apart, and clips of too few.

    Raises:
        ConfigError: names what would work.
    """
    if not hasattr(encoder, "still"):
        raise ConfigError(
            f"{method} needs an encoder that looks at one frame at a time, and '{encoder.name}' "
            "sees whole clips. Choose encoder.name from timm:resnet18, "
            "timm:vit_tiny_patch16_224, ..."
        )
    if encoder.video.frames < moments:
        raise ConfigError(
            f"{method} compares {moments} frames of a clip, and modality.frames="
            f"{encoder.video.frames}. Raise it."
        )


def require_attention(method: str, encoder: Encoder, causal: bool) -> None:
    """Refuse an encoder whose tokens see too much or too little.

    Raises:
        ConfigError: names what would work.
    """
    decodes = getattr(encoder, "decodes", False)
    if encoder.modality == "text" and encoder.causal == causal and not decodes:
        return
    wanted = "see only what came before" if causal else "see both sides"
    fitting = "hf:gpt2-mini, hf:llama-mini" if causal else "hf:bert-mini, hf:modernbert-mini"
    raise ConfigError(
        f"{method} needs an encoder whose tokens {wanted}, and '{encoder.name}' is none. "
        f"Choose encoder.name from {fitting}, ..., or method {'bert' if causal else 'gpt'}."
    )


def require_words(method: str, encoder: Encoder) -> None:
    """Refuse an encoder that does not read text, or has a decoder beside it.

    Raises:
        ConfigError: names what would work.
    """
    if encoder.modality != "text" or getattr(encoder, "decodes", False):
        raise ConfigError(
            f"{method} needs an encoder or a decoder of text by itself, and '{encoder.name}' is "
            "neither. Choose encoder.name from hf:bert-mini, hf:gpt2-mini, ..."
        )


def require_decoder(method: str, encoder: Encoder) -> None:
    """Refuse an encoder that has no decoder beside it.

    Raises:
        ConfigError: names what would work.
    """
    if not getattr(encoder, "decodes", False):
        raise ConfigError(
            f"{method} needs an encoder with a decoder, and '{encoder.name}' has none. Choose "
            "encoder.name from hf:t5-mini, hf:bart-mini, ..., or method bert."
        )


def require_mask(method: str, modality: Any) -> None:
    """Refuse a tokenizer that has no mask token.

    Raises:
        ConfigError: names what would work.
    """
    if modality.mask_id is None:
        raise ConfigError(
            f"{method} needs a mask token and this tokenizer has none. Train one "
            "(modality.tokenizer=wordpiece or bpe), or use method gpt."
        )
