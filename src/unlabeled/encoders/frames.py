"""Transformers on log-mel frames; see `steps`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from unlabeled.config import AudioConfig, EncoderConfig
from unlabeled.encoders import language, steps
from unlabeled.encoders.base import config_of, reads_only
from unlabeled.encoders.beside import write_ast
from unlabeled.encoders.steps import Steps
from unlabeled.errors import ConfigError
from unlabeled.modalities import logmel

STACK = 2


class Frames(Steps):
    """A transformer on log-mel frames, (B, T, M + 1); the last column says where sound is.

    Args:
        model: the bare model.
        stack: how many frames make a token.
        audio: how recordings are read.
    """

    modality = "audio"

    def __init__(self, model: Any, stack: int, audio: AudioConfig) -> None:
        super().__init__(model, stack)
        self.audio = audio

    def stacked(self, x: Tensor) -> Tensor:
        """Return what tokens contain, (B, T, M + 1) -> (B, N, stack * M); the end is padded."""
        return self.together(x[..., :-1])

    def heard(self, x: Tensor) -> Tensor:
        """Return which tokens hold sound, (B, T, M + 1) -> (B, N) bool."""
        flags = F.pad(x[..., -1], (0, -x.shape[1] % self.stack))
        return flags.reshape(len(x), -1, self.stack).amax(2) > 0.5

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors, and AST's feature extractor where it fits."""
        settings = self.audio.model_dump()
        self.model.config.unlabeled = {"kind": "audio", "stack": self.stack, "modality": settings}
        super().save(folder)
        audio = self.audio
        if audio.scale == "kaldi":
            length = logmel.num_frames(round(audio.seconds * audio.rate), audio.rate)
            write_ast(folder, audio.mels, length, audio.mean, audio.std, audio.rate)


def build(config: EncoderConfig, audio: AudioConfig) -> Frames:
    """Build a transformer for log-mel frames, fresh or from ``config.init``.

    Raises:
        UsageError: there is no such encoder or folder.
        ConfigError: the folder's encoder reads other frames, or an option is of other networks.
    """
    reads_only(config, "networks of log-mel frames", "patch")
    stack = config.patch or STACK
    if config.init is not None:
        made = _opened(Path(config.init))
        if made is None or (made.stack, made.audio.mels) != (stack, audio.mels):
            raise ConfigError(
                f"The encoder in {config.init} does not read {stack} frames of {audio.mels} bands "
                "a token. Set encoder.patch and modality.mels as in its config.json."
            )
        return Frames(made.model, stack, audio)
    length = logmel.num_frames(round(audio.seconds * audio.rate), audio.rate, audio.scale)
    return Frames(steps.fresh(config.name, stack, audio.mels, length), stack, audio)


def _opened(folder: Path) -> Frames | None:
    """Open an encoder of frames; None where the folder holds another one."""
    note = dict(config_of(folder).get("unlabeled") or {})
    return load(folder, note) if note.get("kind") == "audio" and "stack" in note else None


def load(folder: Path, note: dict[str, Any]) -> Frames:
    """Open a folder that `Frames.save` wrote."""
    model = language.load(folder).model
    return Frames(model, int(note["stack"]), AudioConfig(**note["modality"]))
