"""The three seams of an encoder: embed, blocks, pool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unlabeled.config import EncoderConfig
from unlabeled.errors import ConfigError, UsageError

_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


def config_of(folder: Path) -> dict[str, Any]:
    """Return the content of an encoder's ``config.json``.

    Raises:
        UsageError: there is none, or it is none.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise UsageError(f"{folder} does not hold an encoder: there is no config.json.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} cannot be read: {error}.") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} is not the configuration of an encoder.")
    return found


def reads_only(config: EncoderConfig, what: str, *options: str) -> None:
    """Refuse options that a kind of network has no use for; ``pool=avg`` is what all do.

    Args:
        config: what was asked for.
        what: the kind of network, for the sentence.
        *options: those that it reads, beside its name and ``init``.

    Raises:
        ConfigError: another one differs from its default.
    """
    usual = {"pool": "avg"}
    for name, field in EncoderConfig.model_fields.items():
        given = getattr(config, name)
        if name in ("name", "init", *options) or given in (field.default, usual.get(name)):
            continue
        raise ConfigError(f"encoder.{name}={given} is not for {what}. Leave it out.")


class Encoder(nn.Module):
    """Raw view -> tokens -> feature.

    Attributes:
        name: how it was asked for, such as ``timm:vit_tiny_patch16_224``.
        modality: the kind of data, one of `kinds.KINDS`.
        dim: D, width of tokens and of the feature.
        num_prefix: tokens before the patches (CLS, registers), 0 for CNNs and text.
        hides_tokens: whether `blocks` accepts any subset of the tokens of `embed`.
        causal: whether a token sees only those before it.
    """

    name: str
    modality: str
    dim: int
    num_prefix: int = 0
    hides_tokens: bool = False
    causal: bool = False

    def embed(self, x: Tensor) -> Tensor:
        """Turn raw views into tokens with their positions, (B, N, D)."""
        raise NotImplementedError

    def blocks(self, tokens: Tensor, layout: Any = None) -> Tensor:
        """Let tokens attend to each other, (B, N, D) -> (B, N, D); normalised output.

        `layout` is what `layout(x)` returned: for text, where documents begin in each row.
        """
        raise NotImplementedError

    def pool(self, tokens: Tensor) -> Tensor:
        """Reduce tokens to the feature, (B, N, D) -> (B, D)."""
        raise NotImplementedError

    def layout(self, x: Tensor) -> Any:
        """Return what `blocks` must know of `x` beside its tokens (nothing for images)."""
        return None

    def tokens(self, x: Tensor) -> Tensor:
        """Return all contextual tokens of raw views, (B, N, D)."""
        return self.blocks(self.embed(x), self.layout(x))

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature of raw views, (B, D)."""
        return self.pool(self.tokens(x))

    def open_branches(self) -> None:
        """Give normalisations that start with a scale of zero a scale of one, in place.

        Many residual networks are built with their branches shut by them (Goyal et al., "Accurate,
        Large Minibatch SGD", arXiv:1706.02677, section 5.1).
        """
        for module in self.modules():
            if isinstance(module, _NORMALISATIONS) and module.weight is not None:
                scale: Any = module.weight
                if not scale.any():
                    nn.init.ones_(scale)

    def save(self, folder: Path) -> None:
        """Write the encoder in its library's own format; no code of ours is needed to load it."""
        raise NotImplementedError
