"""Encoders of clips: transformers' VideoMAE, a plain transformer over boxes of space and time.

``hf:videomae-SIZE`` builds one with fresh weights; ``encoder.init`` opens any folder of the family.
``timm:NAME`` looks at one frame at a time, see `stills`.
It is saved in transformers' format, and `AutoModel` opens it:

    model(pixel_values=clips).last_hidden_state.mean(1)
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

from unlabeled.config import EncoderConfig, VideoConfig
from unlabeled.device import device
from unlabeled.encoders import hub_folder, stills
from unlabeled.encoders.base import Encoder, config_of, reads_only
from unlabeled.encoders.beside import write_extractor
from unlabeled.errors import ConfigError, UsageError, nearest
from unlabeled.nn.positions import sinusoid

SIZES = {"tiny": (2, 128, 2), "mini": (4, 192, 3), "small": (12, 384, 6), "base": (12, 768, 12)}
"""Layers, width and heads; small and base are the paper's."""

TUBELET, PATCH = 2, 16


class ClipEncoder(Encoder):
    """A transformer on clips, (B, T, C, H, W).

    Args:
        model: a bare `VideoMAEModel`, whose tokens are normalised at the end.
        video: how clips are read.
        pretrained: whether its weights came from a file, so that no method starts them anew.
    """

    modality = "video"
    hides_tokens = True

    def __init__(self, model: Any, video: VideoConfig, pretrained: bool = False) -> None:
        super().__init__()
        self.model, self.video, self.pretrained = model, video, pretrained
        config = model.config
        self.dim = int(config.hidden_size)
        heads = config.num_attention_heads
        self.name = f"hf:videomae-{config.num_hidden_layers}x{self.dim}h{heads}"
        self.patch, self.length = int(config.patch_size), int(config.tubelet_size)
        self.slots = int(config.num_frames) // self.length
        self.side = int(config.image_size) // self.patch
        table = sinusoid(self.slots * self.side**2, self.dim)  # (N, D)
        self.positions: Tensor
        self.register_buffer("positions", table, persistent=False)

    def embed(self, x: Tensor) -> Tensor:
        """Turn clips into tokens with their positions, (B, T, C, H, W) -> (B, N, D).

        Smaller frames than the encoder was made for get positions between its own.
        """
        boxes = self.model.embeddings.patch_embeddings.projection(x.transpose(1, 2))
        tokens: Tensor = boxes.flatten(2).transpose(1, 2)  # (B, N, D)
        return tokens + self._places(*boxes.shape[2:]).to(tokens.dtype)

    def _places(self, slots: int, rows: int, columns: int) -> Tensor:
        """Return positions of a grid of tokens, (N, D)."""
        own = (self.slots, self.side, self.side)
        if (slots, rows, columns) == own:
            return self.positions
        table = self.positions.T.reshape(1, self.dim, *own)
        placed = F.interpolate(table, (slots, rows, columns), mode="trilinear")
        return placed.flatten(2)[0].T

    def blocks(
        self, tokens: Tensor, layout: Tensor | None = None, places: Tensor | None = None
    ) -> Tensor:
        """Let any subset of the tokens attend to each other, (B, N, D).

        Args:
            tokens: (B, N, D).
            layout: (B, N) bool, which tokens are real, where clips differ in their number.
            places: which they are; positions are in the tokens, so nothing is done with it.
        """
        for layer in self.model.encoder.layer:
            tokens = _layer(layer, tokens, layout)
        return torch.as_tensor(self.model.layernorm(tokens))

    def pool(self, tokens: Tensor) -> Tensor:
        """Average all tokens, (B, N, D) -> (B, D)."""
        return tokens.mean(1)

    def save(self, folder: Path) -> None:
        """Write config.json, model.safetensors and the library's processor of clips."""
        v = self.video
        note = {"kind": "video", "modality": v.model_dump()}
        hub_folder.write(folder, self.model, unlabeled=note)
        settings: dict[str, Any] = {
            "image_processor_type": "VideoMAEImageProcessor",
            "do_resize": True, "size": {"shortest_edge": v.size}, "resample": 3,
            "do_center_crop": True, "crop_size": {"height": v.size, "width": v.size},
            "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
            "image_mean": _per_channel(v.mean, v.channels),
            "image_std": _per_channel(v.std, v.channels),
        }  # fmt: skip
        write_extractor(folder, settings)


def _per_channel(values: tuple[float, ...], channels: int) -> list[float]:
    return list(values) * (channels if len(values) == 1 else 1)


def _layer(layer: Any, x: Tensor, real: Tensor | None) -> Tensor:
    """Compute a layer of VideoMAE where some tokens may be no tokens, (B, N, D).

    As the library does, but for the mask, which it has no argument for; and on a CPU with plain
    products, whose backward pass is faster there.
    """
    inner, given = layer.attention.attention, layer.layernorm_before(x)
    heads = inner.num_attention_heads
    q, k, v = (
        part(given).unflatten(-1, (heads, -1)).transpose(1, 2)  # (B, heads, N, d)
        for part in (inner.query, inner.key, inner.value)
    )
    mask = None if real is None else real[:, None, None]
    if device().type == "cpu":
        looks = (q * inner.scaling) @ k.transpose(-2, -1)
        looks = looks if mask is None else looks.masked_fill(~mask, float("-inf"))
        mixed = looks.softmax(-1) @ v
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    x = x + layer.attention.output.dense(mixed.transpose(1, 2).flatten(2))
    found: Tensor = layer.output(layer.intermediate(layer.layernorm_after(x)), x)
    return found


def parse(name: str) -> tuple[int, int, int]:
    """Return layers, width and heads of a name.

    Raises:
        UsageError: there is no such family or size.

    >>> parse("hf:videomae-mini"), parse("hf:videomae-2x48h2")
    ((4, 192, 3), (2, 48, 2))
    """
    family, _, size = name.removeprefix("hf:").partition("-")
    shape = re.fullmatch(r"(\d+)x(\d+)(?:h(\d+))?", size)
    if family != "videomae" or (size not in SIZES and shape is None):
        known = [f"hf:videomae-{s}" for s in SIZES]
        raise UsageError(
            f"encoder.name='{name}' is no encoder of clips.{nearest(name, known)} Choose "
            f"{', '.join(known)}, or layers x width and heads, such as hf:videomae-4x192h3; or an "
            "image network that looks at one frame at a time, such as timm:resnet18."
        )
    if shape is None:
        return SIZES[size]
    layers, width = int(shape[1]), int(shape[2])
    heads = int(shape[3]) if shape[3] else max(1, width // 64)
    if layers < 1 or heads < 1 or width % (2 * heads):
        raise UsageError(
            f"encoder.name='{name}': {layers} layers of width {width} cannot have {heads} heads; "
            "the width of a head must be even."
        )
    return layers, width, heads


def build(config: EncoderConfig, video: VideoConfig, vocab_size: int | None = None) -> Encoder:
    """Build an encoder of clips, fresh or from ``config.init``.

    Raises:
        UsageError: there is no such encoder or folder.
        ConfigError: an option or a size does not fit it.
    """
    if config.name.startswith("timm:"):
        return stills.build(config, video)
    reads_only(config, "networks of clips", "patch", "options")
    if config.init is not None:
        return _started(Path(config.init), video)
    layers, width, heads = parse(config.name)
    options = {"tubelet_size": TUBELET, "layer_norm_eps": 1e-6, **config.options}
    try:
        settings = transformers.VideoMAEConfig(
            image_size=video.size, patch_size=config.patch or PATCH, num_channels=video.channels,
            num_frames=video.frames, hidden_size=width, num_hidden_layers=layers,
            num_attention_heads=heads, intermediate_size=4 * width, use_mean_pooling=False,
            **options,
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"encoder.options={config.options} do not fit VideoMAE: {error}"
        ) from None
    _check_grid(settings)
    model: Any = transformers.VideoMAEModel(settings)
    # As the authors start it; the port's deviation of 0.02 drowns small boxes in their positions.
    model.embeddings.patch_embeddings.projection.reset_parameters()
    return ClipEncoder(model, video)


def _check_grid(settings: Any) -> None:
    """Raise if boxes do not tile the clip."""
    size, patch = settings.image_size, settings.patch_size
    frames, length = settings.num_frames, settings.tubelet_size
    if size % patch or size < 2 * patch:
        fitting = [edge for edge in range(1, size) if size % edge == 0 and size // edge >= 2]
        raise ConfigError(
            f"Patches of {patch} pixels do not tile frames of {size}. Set encoder.patch to one of "
            f"{', '.join(map(str, fitting))}, or change modality.size."
        )
    if frames % length:
        raise ConfigError(
            f"Boxes of {length} frames do not tile {frames} frames. Set modality.frames to a "
            f"multiple of {length}, or encoder.options.tubelet_size=1."
        )


def _started(folder: Path, video: VideoConfig) -> ClipEncoder:
    """Open weights to start from, which must fit how clips are read.

    Raises:
        ConfigError: they do not.
    """
    made = _family(folder, config_of(folder))
    there = made.model.config
    own = (there.image_size, there.num_channels, there.num_frames)
    if own != (video.size, video.channels, video.frames):
        raise ConfigError(
            f"The encoder in {folder} reads {own[2]} frames of {own[0]} pixels and {own[1]} "
            f"channels. Set modality.frames={own[2]} modality.size={own[0]} "
            f"modality.channels={own[1]}."
        )
    return ClipEncoder(made.model, video, pretrained=True)


def load(folder: Path) -> Encoder:
    """Open a folder that an encoder of clips was saved to.

    Raises:
        UsageError: it holds no encoder of clips.
    """
    content = config_of(folder)
    return stills.load(folder) if "architecture" in content else _family(folder, content)


def _family(folder: Path, content: dict[str, Any]) -> ClipEncoder:
    """Open a folder of VideoMAE's family in transformers' format, offline and without pickle.

    Raises:
        UsageError: it holds none.
    """
    if content.get("model_type") != "videomae":
        raise UsageError(f"{folder} does not hold an encoder of clips.")
    model = hub_folder.read(folder, transformers.VideoMAEModel)
    if model.layernorm is None:  # a classifier's, whose norm comes after pooling
        model.layernorm = nn.LayerNorm(model.config.hidden_size, eps=model.config.layer_norm_eps)
        model.config.use_mean_pooling = False
    note = dict(content.get("unlabeled") or {}).get("modality")
    return ClipEncoder(model, VideoConfig(**(note or _as_made(model.config))), pretrained=True)


def _as_made(config: Any) -> dict[str, Any]:
    """Return how the authors' own weights read clips."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return {
        "size": config.image_size, "channels": config.num_channels, "frames": config.num_frames,
        "stride": 4, "mean": mean, "std": std,
    }  # fmt: skip
