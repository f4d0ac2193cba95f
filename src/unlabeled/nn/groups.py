"""Parameters in groups: which are held still at first, and how fast each layer learns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn


def hold(
    groups: Iterable[Mapping[str, Any]], last: list[nn.Parameter], until: float
) -> list[dict[str, Any]]:
    """Take parameters out of their groups into one that does not move at first.

    Args:
        groups: as `Method.param_groups` returns them.
        last: what is held.
        until: progress in [0, 1].
    """
    held = {id(p) for p in last}
    rest = [{**g, "params": [p for p in g["params"] if id(p) not in held]} for g in groups]
    return [*rest, {"params": last, "decay": True, "frozen_until": until}]


def layered(
    named: Iterable[tuple[str, nn.Parameter]], num_blocks: int, decay: float, patch: float
) -> list[dict[str, Any]]:
    """Group trained parameters by rate (see `layer_scales`); vectors are not decayed."""
    trained = {name: p for name, p in named if p.requires_grad}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, scale in layer_scales(trained, num_blocks, decay, patch).items():
        groups.setdefault((scale, trained[name].ndim > 1), []).append(trained[name])
    return [{"params": p, "lr_scale": k[0], "decay": k[1]} for k, p in groups.items()]


def layer_scales(
    names: Iterable[str], num_blocks: int, decay: float, patch: float
) -> dict[str, float]:
    """Return the rate of each parameter of a transformer relative to the head's.

    Layer-wise decay as in BEiT and DINOv2 (arXiv:2304.07193): the last norm has 1, a block
    `decay` of the one above it, and what comes before the first block (patch embedding,
    positions, class token, registers) `decay` of the first; the patch embedding `patch` of that.

    Args:
        names: timm's names, such as ``blocks.0.norm1.weight``, perhaps with a prefix.
        num_blocks: depth.
        decay: > 0; 1 for equal rates.
        patch: > 0, factor of the patch embedding.

    >>> names = ["norm.weight", "blocks.1.mlp", "blocks.0.mlp", "pos_embed", "patch_embed.proj"]
    >>> list(layer_scales(names, 2, 0.5, 0.2).values())
    [1.0, 0.5, 0.25, 0.125, 0.025]
    """
    first = re.compile(r"(^|\.)(pos_embed|patch_embed|cls_token|reg_token|mask_token|norm_pre)")
    scales = {}
    for name in names:
        block = re.search(r"(^|\.)blocks\.(\d+)\.", name)
        below = num_blocks - int(block[2]) if block else (num_blocks + 1) * bool(first.search(name))
        scales[name] = decay**below * (patch if "patch_embed" in name else 1.0)
    return scales
