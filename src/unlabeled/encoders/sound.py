"""Encoders of recordings: frames, spectrograms as images, and samples.

``hf:FAMILY-SIZE`` with a family of text models reads log-mel frames, ``timm:NAME`` a square
spectrogram, ``hf:wav2vec2-SIZE`` and ``hf:hubert-SIZE`` samples. All are saved in their library's
format; where transformers has a feature extractor that computes the same, it lies beside them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from unlabeled.config import AudioConfig, EncoderConfig, ImageConfig
from unlabeled.encoders import vision
from unlabeled.encoders.base import Encoder, config_of
from unlabeled.encoders.beside import rate_of, write_ast
from unlabeled.encoders.vision import ImageEncoder
from unlabeled.errors import ConfigError, UsageError

WAVES = ("wav2vec2", "hubert")
_NOTE = "unlabeled"


class Spectrogram(ImageEncoder):
    """A timm network on square log-mel images, (B, 1, M, M).

    Attributes:
        rate: of the recordings, in hertz.
    """

    rate = 16_000

    def save(self, folder: Path) -> None:
        """Write a folder that timm and transformers open, with AST's feature extractor."""
        super().save(folder)
        b = self.blueprint
        write_ast(folder, b.size, b.size, b.mean[0], b.std[0] / 2, self.rate)


def build(config: EncoderConfig, audio: AudioConfig, vocab_size: int | None = None) -> Encoder:
    """Build the network that reads what the modality gives.

    Raises:
        UsageError: there is no such network.
        ConfigError: it does not read this form.
    """
    reads = "spectrogram" if config.name.startswith("timm:") else "frames"
    if config.name.removeprefix("hf:").startswith(WAVES):
        reads = "wave"
    if reads != audio.form:
        raise ConfigError(
            f"encoder.name='{config.name}' reads {_WORDS[reads]}, but modality.form={audio.form}. "
            f"Set modality.form={reads}, or take {_NETWORKS[audio.form]}."
        )
    if reads == "spectrogram":
        pixels = ImageConfig(size=audio.mels, channels=1, mean=(audio.mean,), std=(2 * audio.std,))
        return _of_sound(vision.build(config, pixels), audio.rate)
    if reads == "wave":
        from unlabeled.encoders import waves

        return waves.build(config, audio)
    from unlabeled.encoders import frames

    return frames.build(config, audio)


_WORDS = {"frames": "log-mel frames", "spectrogram": "a square spectrogram", "wave": "samples"}
_NETWORKS = {
    "frames": "hf:modernbert-4x192h3 or hf:llama-4x192h3",
    "spectrogram": "timm:resnet18 or timm:vit_tiny_patch16_224",
    "wave": "hf:wav2vec2-tiny or hf:hubert-tiny",
}


def _of_sound(made: ImageEncoder, rate: int) -> Spectrogram:
    blueprint = dataclasses.replace(made.blueprint, kind="audio")
    found = Spectrogram(blueprint, made.model, made.pretrained)
    found.rate = rate
    return found


def load(folder: Path) -> Encoder:
    """Open a folder that `save` wrote, or one of wav2vec 2.0's or HuBERT's family.

    Raises:
        UsageError: it holds no encoder of recordings.
    """
    content = config_of(folder)
    if "architecture" in content:
        return _of_sound(vision.load(folder), rate_of(folder))
    if content.get("model_type") in WAVES:
        from unlabeled.encoders import waves

        return waves.load(folder)
    if not content.get(_NOTE):
        raise UsageError(f"{folder} does not hold an encoder of recordings.")
    from unlabeled.encoders import frames

    return frames.load(folder, dict(content[_NOTE]))
