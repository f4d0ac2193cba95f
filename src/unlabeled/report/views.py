"""A sheet of images beside their views, as a method will see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from unlabeled import rng
from unlabeled.data.loader import distort, stack
from unlabeled.report import grid
from unlabeled.types import PLAIN, Batch, View


def draw(
    items: Sequence[tuple[Any, str]], modality: Any, views: Mapping[str, View], seed: int
) -> Batch:
    """Return the views of raw samples with their names, drawn as in the first epoch."""
    made = []
    for position, (raw, name) in enumerate(items):
        key = rng.sample_key(seed, 0, position)
        draws = rng.generator(key)
        cuts = {kind: modality.cut(raw, view, draws) for kind, view in views.items()}
        made.append((cuts, key, name))
    return distort(stack(made), modality, views)


def pixels(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> grid.Pixels:
    """Undo a normalisation, (..., C, H, W) -> (..., H, W, C) uint8."""
    means, deviations = (torch.tensor(v)[:, None, None] for v in (mean, std))
    values = (x.float() * deviations + means).clamp(0, 1).mul(255).round()
    return values.movedim(-3, -1).to(torch.uint8).numpy()


def rows(whole: grid.Pixels, copies: Sequence[grid.Pixels]) -> list[list[grid.Pixels | None]]:
    """Return one row a sample: the whole of it, then each copy."""
    found: list[list[grid.Pixels | None]] = [[image] for image in whole]
    for copy in copies:
        for row, image in zip(found, copy, strict=True):
            row.append(image)
    return found


def sheet(
    items: Sequence[tuple[Any, str]], modality: Any, views: Mapping[str, View], seed: int = 0
) -> tuple[Image.Image, str]:
    """Return a picture of samples beside their views, and what its columns are."""
    mean, std = modality.config.mean, modality.config.std
    batch = draw(items, modality, views, seed)
    whole = pixels(draw(items, modality, {"plain": PLAIN}, seed)["plain"][0], mean, std)
    copies = [copy for x in batch.views.values() for copy in pixels(x, mean, std)]
    page = grid.montage(rows(whole, copies), after=[0])
    scale = grid.scale_for(whole.shape[1])
    page = page.resize((page.width * scale, page.height * scale), Image.Resampling.NEAREST)
    columns = ", ".join(f"{len(x)} {kind}" for kind, x in batch.views.items())
    return page, f"the sample, then {columns}"
