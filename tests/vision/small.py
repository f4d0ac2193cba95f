"""Small encoders, modalities and batches that the image tests share."""

from __future__ import annotations

from typing import Any

import torch

from unlabeled.config import EncoderConfig, ImageConfig
from unlabeled.encoders import Encoder, build
from unlabeled.method import Method
from unlabeled.methods import load
from unlabeled.modalities.image import Image
from unlabeled.rng import sample_key
from unlabeled.types import Batch

IMAGE = ImageConfig(size=16)


def encoder(kind: str = "vit", **options: Any) -> Encoder:
    """Return a small transformer (patches of 4 in 16 pixels) or ResNet."""
    if kind == "vit":
        return build(EncoderConfig(name="timm:test_vit", patch=4, **options), IMAGE)
    return build(EncoderConfig(name="timm:test_resnet", **options), IMAGE)


def method(
    name: str, kind: str = "vit", encoder_options: dict[str, Any] | None = None, **options: Any
) -> Method:
    """Return a method on a small encoder."""
    small = {
        "simclr": {"hidden_dim": 32, "out_dim": 16},
        "mae": {"decoder_heads": 1, "decoder_depth": 1},
        "moco": {"hidden_dim": 32, "out_dim": 16, "queue": 20},
        "mocov3": {"hidden_dim": 32, "out_dim": 16},
        "byol": {"hidden_dim": 32, "out_dim": 16},
        "swav": {
            "num_prototypes": 12,
            "hidden_dim": 32,
            "out_dim": 16,
            "num_local": 2,
            "queue": 16,
        },
        "barlow": {"hidden_dim": 32, "out_dim": 16},
        "vicreg": {"hidden_dim": 32, "out_dim": 16},
        "nnclr": {"hidden_dim": 32, "predictor_dim": 32, "out_dim": 16, "queue": 20},
        "lejepa": {"hidden_dim": 32, "out_dim": 8, "lines": 32},
        "dinov2": {"out_dim": 32, "hidden_dim": 32, "bottleneck_dim": 16, "num_local": 2},
        "simmim": {},
        "data2vec": {"top_blocks": 2},
        "ijepa": {"predictor_heads": 1, "predictor_depth": 1},
        "ibot": {"out_dim": 32, "hidden_dim": 32, "bottleneck_dim": 16, "num_local": 2},
        "dino": {"out_dim": 32, "hidden_dim": 32, "bottleneck_dim": 16, "num_local": 2},
    }[name]
    found = load(name)
    return found(
        found.Config(**{**small, **options}),
        encoder(kind, options=encoder_options or {}),
        Image(IMAGE, patch=4),
    )


def batch(task: Method, size: int = 8, seed: int = 0, dtype: torch.dtype = torch.float32) -> Batch:
    """Return random views as the method asks for them."""
    draw = torch.Generator().manual_seed(seed)
    keys = torch.tensor([sample_key(seed, 0, index) for index in range(size)])
    views = {}
    for kind, view in task.views().items():
        edge = round(IMAGE.size * view.size)
        views[kind] = torch.randn(
            view.count, size, IMAGE.channels, edge, edge, generator=draw, dtype=dtype
        )
    return Batch(views, keys)
