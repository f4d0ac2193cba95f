"""transformers' encoders of samples: wav2vec 2.0 and HuBERT."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from unlabeled.config import AudioConfig, EncoderConfig
from unlabeled.encoders import hub_folder
from unlabeled.encoders.base import Encoder, config_of, reads_only
from unlabeled.encoders.beside import rate_of, write_extractor
from unlabeled.encoders.dropout import set_dropout
from unlabeled.errors import UsageError, nearest
from unlabeled.nn.precision import full

FAMILIES = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert"}
SIZES = {"tiny": (2, 128), "mini": (4, 256), "small": (6, 384), "base": (12, 768)}
_NO_DROPOUT = (
    "hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout", "layerdrop",
    "final_dropout", "feat_quantizer_dropout", "mask_time_prob", "mask_feature_prob",
)  # fmt: skip


class Waves(Encoder):
    """A convolutional front and a transformer on samples, (B, 2, T); the second row is 1 in sound.

    Args:
        model: a bare `Wav2Vec2Model` or `HubertModel`.
        rate: of the samples, in hertz.
    """

    modality = "audio"

    def __init__(self, model: Any, rate: int) -> None:
        super().__init__()
        self.model, self.rate, config = model, rate, model.config
        self.family = str(config.model_type)
        self.dim = int(config.hidden_size)
        self.name = f"hf:{self.family}-{config.num_hidden_layers}x{self.dim}"

    def layout(self, x: Tensor) -> Tensor | None:
        """Return which tokens hold sound, (B, N) bool; None where all do."""
        found = self.heard(x)
        return None if bool(found.all()) else found

    def heard(self, x: Tensor) -> Tensor:
        """Return which tokens hold sound, (B, 2, T) -> (B, N) bool."""
        lengths = x[:, 1].sum(-1).long()
        count = self.model._get_feat_extract_output_lengths(lengths).clamp(min=1)  # (B,)
        most = int(self.model._get_feat_extract_output_lengths(x.shape[-1]))
        return torch.as_tensor(torch.arange(most, device=x.device) < count[:, None])

    def convolved(self, x: Tensor) -> Tensor:
        """Return what the convolutions make of samples, (B, 2, T) -> (B, N, C)."""
        return torch.as_tensor(self.model.feature_extractor(x[:, 0])).transpose(1, 2)

    def project(self, convolved: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (B, N, D) and the normalised convolutions (B, N, C) they come from."""
        part: Any = self.model.feature_projection
        normal = part.layer_norm(convolved) if hasattr(part, "layer_norm") else convolved
        return part.dropout(part.projection(normal)), normal

    def embed(self, x: Tensor) -> Tensor:
        """Turn samples into tokens, (B, N, D); positions are added in `blocks`."""
        return self.project(self.convolved(x))[0]

    def blocks(self, tokens: Tensor, layout: Any = None) -> Tensor:
        """Let the tokens that hold sound attend to each other, (B, N, D)."""
        found = self.model.encoder(tokens.clone(), attention_mask=layout)
        return torch.as_tensor(found.last_hidden_state)

    def pool(self, tokens: Tensor, layout: Tensor | None = None) -> Tensor:
        """Average the tokens that hold sound, (B, N, D) -> (B, D)."""
        tokens = full(tokens)
        if layout is None:
            return tokens.mean(1)
        real = layout[..., None].to(tokens.dtype)
        return (tokens * real).sum(1) / real.sum(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature of samples, (B, D)."""
        layout = self.layout(x)
        return self.pool(self.blocks(self.embed(x), layout), layout)

    def save(self, folder: Path) -> None:
        """Write config.json, model.safetensors and the library's feature extractor."""
        hub_folder.write(folder, self.model)
        settings = {
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "feature_size": 1,
            "sampling_rate": self.rate,
            "do_normalize": True,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": True,
        }
        write_extractor(folder, settings)


def parse(name: str) -> tuple[str, int, int]:
    """Return family, layers and width of a name.

    Raises:
        UsageError: there is no such family or size.

    >>> parse("hf:wav2vec2-mini"), parse("hf:hubert-2x64")
    (('wav2vec2', 4, 256), ('hubert', 2, 64))
    """
    family, _, size = name.removeprefix("hf:").partition("-")
    shape = re.fullmatch(r"(\d+)x(\d+)", size)
    if family not in FAMILIES or (size not in SIZES and shape is None):
        known = [f"hf:{f}-{s}" for f in FAMILIES for s in SIZES]
        raise UsageError(
            f"encoder.name='{name}' is no encoder of samples.{nearest(name, known)} "
            f"Families: {', '.join(FAMILIES)}; sizes: {', '.join(SIZES)}, or layers x width, such "
            "as hf:wav2vec2-4x256; the width is a multiple of 32."
        )
    layers, width = SIZES[size] if shape is None else (int(shape[1]), int(shape[2]))
    if layers < 1 or width < 32 or width % 32:
        raise UsageError(f"encoder.name='{name}': the width must be a multiple of 32.")
    return family, layers, width


def build(config: EncoderConfig, audio: AudioConfig) -> Waves:
    """Build an encoder of samples, fresh or from ``config.init``.

    Raises:
        UsageError: there is no such encoder or folder.
        ConfigError: an option is of other networks.
    """
    reads_only(config, "networks of samples", "options")
    if config.init is not None:
        return Waves(load(Path(config.init)).model, audio.rate)
    family, layers, width = parse(config.name)
    heads = max(1, width // 64)
    settings = getattr(transformers, f"{FAMILIES[family]}Config")(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        conv_dim=[min(512, width)] * 7,
        num_conv_pos_embedding_groups=16,
        do_stable_layer_norm=True,
        feat_extract_norm="layer",
        **config.options,
    )
    for name in _NO_DROPOUT:
        if hasattr(settings, name):
            setattr(settings, name, 0.0)
    return Waves(getattr(transformers, f"{FAMILIES[family]}Model")(settings), audio.rate)


def load(folder: Path) -> Waves:
    """Open a folder in transformers' format, offline and without pickle.

    Raises:
        UsageError: it holds no encoder of samples.
    """
    family = str(config_of(folder).get("model_type"))
    if family not in FAMILIES:
        raise UsageError(
            f"{folder} holds a model of type '{family}'; encoders of samples are "
            f"{', '.join(FAMILIES)}."
        )
    model = hub_folder.read(folder, transformers.AutoModel)
    set_dropout(model, 0.0)
    model.config.layerdrop = 0.0
    return Waves(model, rate_of(folder))
