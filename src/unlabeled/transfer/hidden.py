"""The output of every layer of an encoder, of whatever library."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.errors import UsageError


def stack_of(encoder: nn.Module) -> nn.ModuleList | nn.Sequential:
    """Return the blocks of an encoder: its longest list of modules of one class that attend.

    Raises:
        UsageError: it has no such list, as CNNs of unlike stages do not.
    """
    found = [
        part
        for part in encoder.modules()
        if isinstance(part, nn.ModuleList | nn.Sequential)
        and len(part) > 1
        and len({type(block) for block in part}) == 1
        and any(re.search("attn|attention", name, re.I) for name, _ in part[0].named_modules())
    ]
    if not found:
        name = getattr(encoder, "name", type(encoder).__name__)
        raise UsageError(f"{name} has no layers that attend and are alike, to be added up.")
    return max(found, key=len)


def layers_of(encoder: Encoder, x: Tensor) -> list[Tensor]:
    """Return what goes into the first block and what comes out of each, L of (B, N, D).

    The last is what `encoder.tokens` gives, after the norm that follows the blocks.

    Args:
        encoder: with a stack of blocks.
        x: raw views.
    """
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        if not kept:
            kept.append(inputs[0])
        kept.append(output[0] if isinstance(output, tuple) else output)

    handles = [block.register_forward_hook(keep) for block in stack_of(encoder)]
    try:
        last = encoder.tokens(x)
    finally:
        for handle in handles:
            handle.remove()
    return [*kept[:-1], last]


def pooled_layers(encoder: Encoder, x: Tensor) -> Tensor:
    """Return the feature that each layer would give, (B, L, D): pooled as the encoder's own is."""
    layout: Any = encoder.layout(x)
    rest = () if layout is None else (layout,)
    return torch.stack([encoder.pool(part, *rest) for part in layers_of(encoder, x)], dim=1)


def real_tokens(encoder: Encoder, x: Tensor, tokens: Tensor) -> Tensor:
    """Return which tokens of views are no padding, (B, N) bool."""
    layout: Any = encoder.layout(x)
    if layout is None:
        return torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    found: Tensor = getattr(layout, "real", layout)
    return found
