"""The layers of transformers' PatchTST with fewer passes over memory, and the same numbers.

Queries, keys and values are one product; BatchNorm runs over rows as they lie, where the library
makes transposed copies; on a CPU, where PyTorch's fused attention is slow on short sequences of
narrow heads, scores are plain products. The last layer's feed-forward part may be asked for some
tokens alone: nothing comes after it that would mix them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_SHORT = 128
"""Tokens up to which a CPU attends by plain products."""


def through(layers: Sequence[Any], x: Tensor, asked: Tensor | None = None) -> Tensor:
    """Return the tokens that a stack of layers makes.

    Args:
        layers: of transformers' encoder.
        x: (B, C, N, D) tokens of channels.
        asked: (B, C, N) bool, of which tokens are wanted; None of all.

    Returns:
        (B, C, N, D), or (K, D) of those asked for.
    """
    if any(layer.channel_attention for layer in layers):
        for layer in layers:
            x = layer(hidden_state=x)[0]
        return x if asked is None else x[asked]
    B, C, N, D = x.shape  # noqa: N806
    x = x.reshape(B * C, N, D)
    some = None if asked is None else asked.reshape(B * C, N)
    for layer in layers[:-1]:
        x = _layer(layer, x)
    x = _layer(layers[-1], x, some)
    return x if asked is not None else x.view(B, C, N, D)


def _layer(layer: Any, x: Tensor, asked: Tensor | None = None) -> Tensor:
    """Return tokens (M, N, D), or (K, D) of those asked for."""
    if layer.pre_norm:
        x = x + layer.dropout_path1(_attend(layer.self_attn, _norm(layer.norm_sublayer1, x)))
        inner = _norm(layer.norm_sublayer3, x)
        if asked is not None:
            x, inner = x[asked], inner[asked]
        return torch.as_tensor(x + layer.dropout_path3(layer.ff(inner)))
    x = _norm(layer.norm_sublayer1, x + layer.dropout_path1(_attend(layer.self_attn, x)))
    x = _norm(layer.norm_sublayer3, x + layer.dropout_path3(layer.ff(x)))
    return x if asked is None else x[asked]


def _norm(norm: Any, x: Tensor) -> Tensor:
    """Normalise tokens (M, N, D); BatchNorm over all M N of them."""
    batch = getattr(norm, "batchnorm", None)
    found: Tensor = norm(x) if batch is None else batch(x.reshape(-1, x.shape[-1])).view(x.shape)
    return found


def _attend(attention: Any, x: Tensor) -> Tensor:
    """Let tokens of a sequence attend to one another, (M, N, D) -> (M, N, D)."""
    M, N, D = x.shape  # noqa: N806
    parts = attention.q_proj, attention.k_proj, attention.v_proj
    bias = None if parts[0].bias is None else torch.cat([part.bias for part in parts])
    made = F.linear(x, torch.cat([part.weight for part in parts]), bias)
    q, k, v = made.view(M, N, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)  # (M, H, N, d)
    dropout = attention.dropout if attention.training else 0.0
    if x.device.type == "cpu" and N <= _SHORT:
        mixed = _plain(q, k, v, attention.scaling, dropout)
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, None, dropout, scale=attention.scaling)
    found: Tensor = attention.out_proj(mixed.transpose(1, 2).reshape(M, N, D))
    return found


def _plain(q: Tensor, k: Tensor, v: Tensor, scaling: float, dropout: float) -> Tensor:
    """Return values mixed by scores, (M, H, N, d) each."""
    shape = q.shape
    q, k, v = (part.reshape(-1, *shape[2:]) for part in (q, k, v))
    nothing = q.new_zeros(()).expand(len(q), shape[2], shape[2])
    scores = torch.baddbmm(nothing, q, k.transpose(1, 2), beta=0, alpha=scaling)
    return torch.bmm(F.dropout(scores.softmax(-1), dropout), v).view(shape)
