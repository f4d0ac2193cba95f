"""Transformers of transformers' text families on log-mel frames instead of words.

The embedding of a word is a row of a matrix; that of a frame is the frame times the matrix. So
a bare `BertModel` or `LlamaModel` whose vocabulary has as many entries as a token has values
holds everything, and `AutoModel` opens it:

    model(inputs_embeds=frames @ model.get_input_embeddings().weight)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unlabeled.config import AudioConfig, EncoderConfig
from unlabeled.encoders import families, language, sound
from unlabeled.encoders.language import Language
from unlabeled.errors import ConfigError, UsageError
from unlabeled.modalities import logmel
from unlabeled.nn.attention import Layout

STACK = 2
_READS = ("bert", "modernbert", "gpt2", "llama")


class Frames(Language):
    """A transformer on log-mel frames, (B, T, M + 1); the last column says where sound is.

    Args:
        model: the bare model.
        stack: how many frames make a token.
        audio: how recordings are read.
    """

    modality = "audio"

    def __init__(self, model: Any, stack: int, audio: AudioConfig) -> None:
        super().__init__(model)
        self.stack, self.audio = stack, audio

    def stacked(self, x: Tensor) -> Tensor:
        """Return what tokens contain, (B, T, M + 1) -> (B, N, stack * M); the end is padded."""
        x = F.pad(x[..., :-1], (0, 0, 0, -x.shape[1] % self.stack))
        return x.reshape(len(x), x.shape[1] // self.stack, -1)

    def heard(self, x: Tensor) -> Tensor:
        """Return which tokens hold sound, (B, T, M + 1) -> (B, N) bool."""
        flags = F.pad(x[..., -1], (0, -x.shape[1] % self.stack))
        return flags.reshape(len(x), -1, self.stack).amax(2) > 0.5

    def layout(self, x: Tensor) -> Layout:
        """Return where sound ends in (B, T, M + 1)."""
        return Layout.of(self.heard(x).long() - 1)

    def embed(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Turn frames into tokens with their positions, (B, T, M + 1) -> (B, N, D)."""
        positions = (layout or self.layout(x)).positions
        table: Any = self.model.get_input_embeddings()
        tokens: Tensor = self.stacked(x) @ table.weight  # (B, N, D)
        if self.family in ("bert", "modernbert"):
            options = {"position_ids": positions} if self.family == "bert" else {}
            return torch.as_tensor(self.model.embeddings(inputs_embeds=tokens, **options))
        return tokens + self.model.wpe(positions) if self.family == "gpt2" else tokens

    @property
    def num_layers(self) -> int:
        """Return how many layers the stack has."""
        return len(families._stack(self.model))

    def keep_layers(self, count: int) -> None:
        """Drop all layers but the first, for a copy that tells what the middle knows."""
        del families._stack(self.model)[count:]

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors, and AST's feature extractor where it fits."""
        settings = self.audio.model_dump()
        self.model.config.unlabeled = {"kind": "audio", "stack": self.stack, "modality": settings}
        super().save(folder)
        if self.audio.scale == "kaldi" and self.audio.rate == 16_000:
            length = logmel.num_frames(round(self.audio.seconds * 16_000), 16_000)
            sound.write_ast(folder, self.audio.mels, length, self.audio.mean, self.audio.std)


def build(config: EncoderConfig, audio: AudioConfig) -> Frames:
    """Build a transformer for log-mel frames, fresh or from ``config.init``.

    Raises:
        UsageError: there is no such encoder or folder.
        ConfigError: the folder's encoder reads other frames.
    """
    stack = config.patch or STACK
    if config.init is not None:
        made = sound.load(Path(config.init))
        if not isinstance(made, Frames) or (made.stack, made.audio.mels) != (stack, audio.mels):
            raise ConfigError(
                f"The encoder in {config.init} does not read {stack} frames of {audio.mels} bands "
                "a token. Set encoder.patch and modality.mels as in its config.json."
            )
        return Frames(made.model, stack, audio)
    family, layers, width, heads = language.parse(config.name)
    if family not in _READS:
        raise UsageError(
            f"encoder.name='{config.name}' does not read frames; {', '.join(_READS)} do."
        )
    length = -(
        -logmel.num_frames(round(audio.seconds * audio.rate), audio.rate, audio.scale) // stack
    )
    model = families.fresh(family, layers, width, heads, stack * audio.mels, max(1, length))
    return Frames(model, stack, audio)


def load(folder: Path, note: dict[str, Any]) -> Frames:
    """Open a folder that `Frames.save` wrote."""
    model = language.load(folder).model
    return Frames(model, int(note["stack"]), AudioConfig(**note["modality"]))
