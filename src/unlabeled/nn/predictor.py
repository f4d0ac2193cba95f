"""A narrow transformer that guesses features of hidden places from those of others.

Assran et al., 2023 (arXiv:2301.08243), section 3, and Bardes et al., 2024 (arXiv:2404.08471),
section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from unlabeled.nn.kernels import choose_kernels

HEAD = 32
"""Width of a head."""


class Predictor(nn.Module):
    """Blocks between a projection to their width W and one back, and a token for what is asked.

    Args:
        dim: D, width of the features.
        places: W -> (N, W), positions of all places.
        heads: of a block; W is 32 times as many.
        depth: blocks.
        num_masks: kinds of masks, each with a mask token of its own.
    """

    positions: Tensor

    def __init__(
        self,
        dim: int,
        places: Callable[[int], Tensor],
        heads: int,
        depth: int,
        num_masks: int = 1,
    ) -> None:
        super().__init__()
        width, norm = HEAD * heads, partial(nn.LayerNorm, eps=1e-6)
        self.narrow, self.widen = nn.Linear(dim, width), nn.Linear(width, dim)
        self.mask_tokens = nn.Parameter(torch.zeros(num_masks, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, qkv_bias=True, norm_layer=norm) for _ in range(depth)
        )
        self.norm = norm(width)
        for layer in (self.narrow, self.widen, *self.blocks.modules()):
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        choose_kernels(self.blocks)
        self.register_buffer("positions", places(width), persistent=False)  # (N, W)

    def context(self, features: Tensor, where: Tensor) -> Tensor:
        """Return what is seen as the blocks take it, (B, L, D) at places (B, L) -> (B, L, W)."""
        seen: Tensor = self.narrow(features) + self.positions[where]
        return seen

    def forward(
        self,
        context: Tensor,
        seen: Tensor,
        asked: Tensor,
        real: Tensor | None = None,
        mask: int = 0,
    ) -> Tensor:
        """Guess the features of places, (B, M, D).

        Args:
            context: (B, L, W), as `context` returns it.
            seen: (B, L) bool, which of it is real and not padding.
            asked: (B, M) places.
            real: (B, M) bool, which of them are real; None: all.
            mask: of which kind the mask is, in [0, num_masks).
        """
        real = torch.ones_like(asked, dtype=torch.bool) if real is None else real
        attended = torch.cat([seen, real], 1)[:, None, None]  # (B, 1, 1, L + M)
        queries = self.mask_tokens[mask] + self.positions[asked]  # (B, M, W)
        x = torch.cat([context, queries.to(context.dtype)], 1)  # (B, L + M, W)
        for block in self.blocks:
            x = block(x, attn_mask=attended)
        guessed: Tensor = self.widen(self.norm(x[:, -asked.shape[1] :]))
        return guessed
