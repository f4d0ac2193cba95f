"""What an image encoder is, apart from its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Blueprint:
    """Everything but the weights.

    Args:
        architecture: timm's name.
        model_args: what timm is told beside the name, JSON.
        small_stem: whether the stem is the 3x3 one of `stem.shrink`.
        size: edge of the input in pixels.
        mean: per channel, as inputs are normalised; its length is the number of channels.
        std: per channel.
        kind: what the images are of: pictures, or spectrograms (``audio``).
    """

    architecture: str
    model_args: dict[str, Any]
    small_stem: bool
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    kind: str = "image"

    @property
    def channels(self) -> int:
        """C of the input."""
        return len(self.mean)
