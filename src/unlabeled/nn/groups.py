"""Parameters in groups: which are held still at first, and how fast each layer learns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn


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


def layers(names: Sequence[str]) -> list[int]:
    """Return how deep each parameter lies, counted in numbered blocks, in order of definition.

    >>> layers(["conv.weight", "blocks.0.a", "blocks.0.b", "blocks.1.a", "norm.weight"])
    [0, 1, 1, 2, 3]
    """
    seen: list[str] = []
    found = []
    for name in names:
        parts = name.partition(".parametrizations.")[0].split(".")
        number = next((i for i, part in enumerate(parts) if part.isdigit()), None)
        if number is None:
            found.append(len(seen) + bool(seen))
            continue
        block = ".".join(parts[: number + 1])
        if block not in seen:
            seen.append(block)
        found.append(seen.index(block) + 1)
    return found


def encoder_groups(
    groups: Iterable[Mapping[str, Any]],
    names: Mapping[Tensor, str],
    decay: float,
    until: float = 0.0,
) -> list[dict[str, Any]]:
    """Let the deep layers of the encoder learn slowly, and all of it not before `until`.

    Args:
        groups: as `Method.param_groups` returns them; scales that they have are multiplied.
        names: of every parameter, those of the encoder beginning with ``encoder.``.
        decay: factor from one numbered block to the one below; 1 for equal rates.
        until: progress in [0, 1] before which the encoder stays as it is.
    """
    if decay == 1 and until == 0:
        return [dict(group) for group in groups]
    inside = [p for p, name in names.items() if name.startswith("encoder.")]
    depths = dict(zip(inside, layers([names[p] for p in inside]), strict=True))
    most = max(depths.values(), default=0)
    found: list[dict[str, Any]] = []
    for group in groups:
        parts: dict[int | None, list[Any]] = {}
        for p in group["params"]:
            parts.setdefault(depths.get(p), []).append(p)
        for depth, params in parts.items():
            part = {**group, "params": params}
            if depth is not None:
                part["lr_scale"] = group.get("lr_scale", 1.0) * decay ** (most - depth)
                part["frozen_until"] = max(group.get("frozen_until", 0.0), until)
            found.append(part)
    return found
