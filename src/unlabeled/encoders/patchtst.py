"""transformers' PatchTST on logs: every channel is read by itself, in patches of several steps.

Nie, Nguyen, Sinthong and Kalagnanam, "A Time Series is Worth 64 Words", ICLR 2023,
arXiv:2211.14730. Before it is read, a channel of a sample is normalised by the mean and deviation
of what is seen of it, and what is not seen of it by nothing: hidden values leave no trace there.

The feature holds the mean over time of each channel's tokens, one channel after another. The
folder opens with `AutoModel`; ``read_logs.py`` beside it shows what it is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from unlabeled.config import EncoderConfig, SeriesConfig
from unlabeled.encoders import hub_folder
from unlabeled.encoders.base import Encoder, config_of
from unlabeled.encoders.beside import write_page
from unlabeled.encoders.patchtst_layers import through
from unlabeled.encoders.sizes import parse
from unlabeled.errors import ConfigError
from unlabeled.nn.precision import full

FAMILY = "patchtst"
_FLAT = 0.01
"""Variance that is added, where that of a channel over the pool is 1: what stands still in what is
seen of a sample is not blown up when it moves where it is hidden."""


class PatchTST(Encoder):
    """A transformer on channels apart, (B, T, 2 C): C normalised channels, then their flags.

    Args:
        model: a bare `PatchTSTModel`, whose patches do not overlap.
        series: how logs are read.

    Attributes:
        width: D of a token; the feature has C D numbers.
        patch: how many steps make a token.
    """

    modality = "series"

    def __init__(self, model: Any, series: SeriesConfig) -> None:
        super().__init__()
        self.model, self.series, config = model, series, model.config
        self.patch, self.width = int(config.patch_length), int(config.d_model)
        self.num_channels = int(config.num_input_channels)
        self.dim = self.num_channels * self.width
        self.name = f"hf:{FAMILY}-{config.num_hidden_layers}x{self.width}"

    def patches(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return values and flags of patches, (B, T, 2 C) -> (B, C, N, P) each; the end is padded.

        Values are 0 where nothing was measured.
        """
        x = F.pad(x, (0, 0, 0, -x.shape[1] % self.patch))
        values, flags = x.reshape(len(x), -1, self.patch, x.shape[2]).movedim(3, 1).chunk(2, 1)
        return full(values) * flags, full(flags)

    def scale(self, values: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of what is seen of channels, (B, C, N, P) -> (B, C, 1, 1)."""
        count = seen.sum((2, 3), keepdim=True).clamp(min=1)
        mean = (values * seen).sum((2, 3), keepdim=True) / count
        variance = ((values - mean).square() * seen).sum((2, 3), keepdim=True) / count
        return mean, (variance + float(self.model.config.minimum_scale)).sqrt()

    def attended(self, scaled: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return the tokens of channels, (B, C, N, P) -> (B, C, N, D).

        Args:
            scaled: normalised patches.
            asked: (B, C, N) bool; with it, only those tokens are returned, (K, D).
        """
        stack = self.model.encoder
        count = scaled.shape[2]
        x = stack.embedder(scaled) + stack.positional_encoder.position_enc[:count]
        return through(stack.layers, x, asked)

    def seen(self, values: Tensor, flags: Tensor) -> Tensor:
        """Return the tokens of what is seen; what is not is 0, as is a channel's mean."""
        mean, deviation = self.scale(values, flags)
        return self.attended((values - mean) / deviation * flags)

    def tokens(self, x: Tensor) -> Tensor:
        """Return all tokens, those of the channels of a time side by side, (B, N, C D)."""
        return self.seen(*self.patches(x)).transpose(1, 2).flatten(2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature of views, (B, C D): a mean over the patches that hold a number."""
        values, flags = self.patches(x)
        weight = (flags.amax(3) > 0.5).to(torch.float32)[..., None]  # (B, C, N, 1)
        found = full(self.seen(values, flags)) * weight
        return (found.sum(2) / weight.sum(2).clamp(min=1)).flatten(1)

    def save(self, folder: Path) -> None:
        """Write config.json, model.safetensors, and a page of code that reads logs for it."""
        note = {"kind": "series", "stack": self.patch, "modality": self.series.model_dump()}
        hub_folder.write(folder, self.model, unlabeled=note)
        write_page(folder)


def build(config: EncoderConfig, series: SeriesConfig, patch: int) -> PatchTST:
    """Build a PatchTST for logs with fresh weights.

    Raises:
        UsageError: there is no such size.
        ConfigError: a log would be a single patch.
    """
    _, layers, width, heads = parse(config.name, (FAMILY,))
    count = -(-series.length // patch)
    if count < 2:
        raise ConfigError(
            f"encoder.patch={patch} makes one patch of the {series.length} steps of a log; "
            f"patchtst needs several. Give encoder.patch={max(1, series.length // 16)}."
        )
    settings = transformers.PatchTSTConfig(
        num_input_channels=len(series.observations) + len(series.actions),
        context_length=count * patch,
        patch_length=patch,
        patch_stride=patch,
        num_hidden_layers=layers,
        d_model=width,
        num_attention_heads=heads,
        ffn_dim=2 * width,
        **config.options,
    )
    settings.minimum_scale = _FLAT
    settings._attn_implementation = "sdpa"
    return PatchTST(transformers.PatchTSTModel(settings), series)


def load(folder: Path) -> PatchTST:
    """Open a folder that `PatchTST.save` wrote.

    Raises:
        UsageError: it holds no safetensors.
    """
    note = config_of(folder)["unlabeled"]
    model = hub_folder.read(folder, transformers.PatchTSTModel)
    return PatchTST(model, SeriesConfig(**note["modality"]))
