"""A small world where the truth is known: images made of a hidden code, and a run that found it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Picture
from torch import Tensor, nn

from unlabeled.config import DataConfig, EncoderConfig, ImageConfig, RunConfig
from unlabeled.encoders.base import Encoder
from unlabeled.modalities.image import Image
from unlabeled.runs import Run

SIZE, WIDTH, CLASSES = 8, 6, 3


def basis() -> np.ndarray:
    """Return the orthonormal pictures that codes mix, (6, 64)."""
    q, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(SIZE * SIZE, WIDTH)))
    return q.T


class PlantedSource:
    """Grey images = code x basis + noise; the class is where the code lies."""

    kind = "image"

    def __init__(self, count: int, seed: int = 0, noise: float = 45.0) -> None:
        rng = np.random.default_rng(seed)
        self.y = np.arange(count) % CLASSES
        centres = np.random.default_rng(9).normal(size=(CLASSES, WIDTH))
        codes = centres[self.y] + rng.normal(size=(count, WIDTH))
        pixels = 128 + 45 * codes @ basis() + noise * rng.normal(size=(count, SIZE * SIZE))
        self.pictures = np.clip(pixels, 0, 255).astype(np.uint8).reshape(count, SIZE, SIZE)
        self.fingerprint = f"planted {count} {seed}"

    def __len__(self) -> int:
        return len(self.y)

    def name(self, index: int) -> str:
        return f"{'abc'[self.y[index]]}/{index:04d}.png"

    def payload(self, index: int, epoch: int = 0) -> bytes:
        file = io.BytesIO()
        Picture.fromarray(self.pictures[index]).save(file, "PNG")
        return file.getvalue()


class Projection(Encoder):
    """One matrix: the planted basis (pre-trained), or chance (untrained)."""

    modality, name = "image", "planted"

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.dim = len(weight)
        self.weight = nn.Parameter(weight)

    def embed(self, x: Tensor) -> Tensor:
        return (x.flatten(1) @ self.weight.T)[:, None]

    def blocks(self, tokens: Tensor, layout: Any = None) -> Tensor:
        return tokens

    def pool(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0]


def random_weight(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(WIDTH, SIZE * SIZE, generator=generator) / SIZE


@dataclass
class PlantedRun:
    """What `evaluate` needs of a run."""

    folder: Path
    found: bool = True
    count: int = 360
    held_out: int = 0
    config: RunConfig = field(init=False)
    column: str = ""
    memory: Any = None

    studies, classifier, for_column = Run.studies, Run.classifier, Run.for_column

    def __post_init__(self) -> None:
        self.config = RunConfig(
            data=DataConfig(path="planted", kind="image"),
            modality=ImageConfig(size=SIZE, channels=1, flip=False, blur=False),
            encoder=EncoderConfig(name="timm:planted"),
            method={"name": "simclr"},
        )
        self._source = PlantedSource(self.count)
        (self.folder / "encoder").mkdir(parents=True, exist_ok=True)

    def source(self) -> PlantedSource:
        return self._source

    def modality(self) -> Image:
        return Image(self.config.modality)

    def encoder(self) -> Projection:
        found = torch.tensor(basis(), dtype=torch.float32)
        return Projection(found if self.found else random_weight(77))

    def fresh(self, seed: int) -> Projection:
        return Projection(random_weight(seed))

    def untrained(self, seed: int) -> Projection:
        return self.fresh(seed)

    def pool_indices(self) -> np.ndarray:
        return np.arange(self.held_out, self.count)

    def held_out_indices(self) -> np.ndarray:
        return np.arange(self.held_out)
