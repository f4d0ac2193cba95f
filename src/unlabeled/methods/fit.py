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


_SEE = {True: "see only what came before", False: "see both sides"}
"""What is asked of attention, by whether it is causal."""


def _unfit(method: str, wanted: str, encoder: Encoder, fitting: str, end: str = ".") -> ConfigError:
    return ConfigError(
        f"{method} needs {wanted}, and '{encoder.name}' is none. Choose encoder.name from "
        f"{fitting}, ...{end}"
    )


def require_frames(method: str, encoder: Encoder, causal: bool) -> None:
    """Refuse an encoder that does not read log-mel frames, or sees too much or too little of them.

    Raises:
        ConfigError: names what would work.
    """
    if hasattr(encoder, "stacked") and encoder.causal == causal:
        return
    wanted = f"an encoder of steps (log-mel frames, or logs) whose tokens {_SEE[causal]}"
    fitting = "hf:llama-4x192h3, hf:gpt2-mini" if causal else "hf:modernbert-4x192h3, hf:bert-mini"
    raise _unfit(method, wanted, encoder, fitting, "; for recordings with modality.form=frames.")


def require_waves(method: str, encoder: Encoder) -> None:
    """Refuse an encoder that does not read samples.

    Raises:
        ConfigError: names what would work.
    """
    if not hasattr(encoder, "convolved"):
        fitting = "hf:wav2vec2-tiny, hf:hubert-mini"
        raise _unfit(method, "an encoder of samples", encoder, fitting, " with modality.form=wave.")


def require_channels(method: str, encoder: Encoder) -> None:
    """Refuse an encoder that does not read the channels of a log apart.

    Raises:
        ConfigError: names what would work.
    """
    if not hasattr(encoder, "attended"):
        wanted, fitting = "an encoder that reads channels apart", "hf:patchtst-2x64h4"
        raise _unfit(method, wanted, encoder, f"{fitting}, hf:patchtst-3x128h8")


def require_stills(method: str, encoder: Any, moments: int) -> None:
    """Refuse an encoder that does not look at frames of a clip apart, and clips of too few.

    Raises:
        ConfigError: names what would work.
    """
    if not hasattr(encoder, "still"):
        wanted = "an encoder that looks at one frame at a time"
        raise _unfit(method, wanted, encoder, "timm:resnet18, timm:vit_tiny_patch16_224")
    if encoder.video.frames < moments:
        raise ConfigError(
            f"{method} compares {moments} frames of a clip, and modality.frames="
            f"{encoder.video.frames}. Raise it."
        )


def require_attention(method: str, encoder: Encoder, causal: bool) -> None:
    """Refuse an encoder of no text, or whose tokens see too much or too little.

    Raises:
        ConfigError: names what would work.
    """
    decodes = getattr(encoder, "decodes", False)
    if encoder.modality == "text" and encoder.causal == causal and not decodes:
        return
    fitting = "hf:gpt2-mini, hf:llama-mini" if causal else "hf:bert-mini, hf:modernbert-mini"
    other = f", or method {'bert' if causal else 'gpt'}."
    raise _unfit(method, f"an encoder whose tokens {_SEE[causal]}", encoder, fitting, other)


def require_words(method: str, encoder: Encoder) -> None:
    """Refuse an encoder that does not read text, or has a decoder beside it.

    Raises:
        ConfigError: names what would work.
    """
    if encoder.modality != "text" or getattr(encoder, "decodes", False):
        wanted = "an encoder or a decoder of text by itself"
        raise _unfit(method, wanted, encoder, "hf:bert-mini, hf:gpt2-mini")


def require_decoder(method: str, encoder: Encoder) -> None:
    """Refuse an encoder that has no decoder beside it.

    Raises:
        ConfigError: names what would work.
    """
    if not getattr(encoder, "decodes", False):
        fitting = "hf:t5-mini, hf:bart-mini"
        raise _unfit(method, "an encoder with a decoder", encoder, fitting, ", or method bert.")


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
