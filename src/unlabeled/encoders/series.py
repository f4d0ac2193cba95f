"""Encoders of logs: transformers of text families on steps of numbers; see `steps`.

Several steps make a token, which holds their channels and the flags of what was measured:

    model(inputs_embeds=tokens @ model.get_input_embeddings().weight)

The folder says in config.json, under ``unlabeled``, how many steps make a token and by which means
and deviations channels are normalised; ``read_logs.py`` beside it does both with torch alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlabeled.config import EncoderConfig, SeriesConfig
from unlabeled.encoders import language, patchtst, steps
from unlabeled.encoders.base import config_of, reads_only
from unlabeled.encoders.beside import write_page
from unlabeled.encoders.patchtst import FAMILY, PatchTST
from unlabeled.encoders.steps import Steps
from unlabeled.errors import ConfigError, UsageError
from unlabeled.nn.attention import Layout
from unlabeled.nn.precision import full

STACK = 4


class SeriesEncoder(Steps):
    """A transformer on logs, (B, T, 2 C): C normalised channels, then their flags.

    Steps at which nothing was measured keep their place in time, and do not count in the feature.

    Args:
        model: the bare model.
        stack: how many steps make a token.
        series: how logs are read.
    """

    modality = "series"

    def __init__(self, model: Any, stack: int, series: SeriesConfig) -> None:
        super().__init__(model, stack)
        self.series = series

    def stacked(self, x: Tensor) -> Tensor:
        """Return what tokens contain, (B, T, 2 C) -> (B, N, stack * 2 C); the end is padded."""
        return self.together(x)

    def heard(self, x: Tensor) -> Tensor:
        """Return which tokens hold a number, (B, T, 2 C) -> (B, N) bool."""
        return self.together(x.chunk(2, -1)[1]).amax(2) > 0.5

    def layout(self, x: Tensor) -> Layout:
        """Return where logs end: gaps inside are tokens that say so."""
        later = self.heard(x).long().flip(1).cummax(1).values.flip(1)
        return Layout.of(later - 1)

    def mean(self, tokens: Tensor, x: Tensor) -> Tensor:
        """Average the tokens of views that hold a number, (B, N, D) -> (B, D)."""
        weight = self.heard(x)[..., None].to(torch.float32)
        return (full(tokens) * weight).sum(1) / weight.sum(1).clamp(min=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature of views, (B, D)."""
        return self.mean(self.tokens(x), x)

    def save(self, folder: Path) -> None:
        """Write config.json, model.safetensors, and a page of code that reads logs for it."""
        settings = self.series.model_dump()
        self.model.config.unlabeled = {"kind": "series", "stack": self.stack, "modality": settings}
        super().save(folder)
        write_page(folder)


def build(
    config: EncoderConfig, series: SeriesConfig, vocab_size: int | None = None
) -> SeriesEncoder | PatchTST:
    """Build a transformer for logs, fresh or from ``config.init``.

    Raises:
        UsageError: there is no such encoder or folder.
        ConfigError: the folder's encoder reads other channels, or an option is of other networks.
    """
    alone = ("options",) if config.name.startswith(f"hf:{FAMILY}") else ()
    if not config.name.startswith("timm:"):
        reads_only(config, "networks of logs", "patch", *alone)
    channels = len(series.observations) + len(series.actions)
    stack = config.patch or STACK
    if config.init is not None:
        made = load(Path(config.init))
        there = len(made.series.observations) + len(made.series.actions)
        reads = made.patch if isinstance(made, PatchTST) else made.stack
        if (reads, there) != (stack, channels):
            raise ConfigError(
                f"The encoder in {config.init} reads {reads} steps of {there} channels a "
                f"token, not {stack} of {channels}. Set encoder.patch and the columns "
                "(modality.observations, modality.actions) as in its config.json."
            )
        if isinstance(made, PatchTST):
            return PatchTST(made.model, series)
        return SeriesEncoder(made.model, stack, series)
    if config.name.startswith(f"hf:{FAMILY}"):
        return patchtst.build(config, series, stack)
    if config.name.startswith("timm:"):
        raise ConfigError(
            f"encoder.name='{config.name}' reads images. For logs take hf:modernbert-2x64h2, "
            "hf:llama-2x64h2, hf:patchtst-2x64h4, ..."
        )
    return SeriesEncoder(
        steps.fresh(config.name, stack, 2 * channels, series.length), stack, series
    )


def load(folder: Path) -> SeriesEncoder | PatchTST:
    """Open a folder that `save` wrote.

    Raises:
        UsageError: it holds no encoder of logs.
    """
    content = config_of(folder)
    note = dict(content.get("unlabeled") or {})
    if note.get("kind") != "series":
        raise UsageError(f"{folder} does not hold an encoder of logs.")
    if content.get("model_type") == FAMILY:
        return patchtst.load(folder)
    model = language.load(folder).model
    return SeriesEncoder(model, int(note["stack"]), SeriesConfig(**note["modality"]))
