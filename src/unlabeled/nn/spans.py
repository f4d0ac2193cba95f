"""Masks of spans over time, what stands there instead, and negatives among what is masked."""

from __future__ import annotations

import torch
from torch import Tensor

from unlabeled.rng import uniform


def span_masks(
    keys: Tensor, lengths: Tensor, size: int, share: float, span: int, least: int = 2
) -> Tensor:
    """Choose spans that may overlap, as wav2vec 2.0 does (arXiv:2006.11477, section 3.1).

    Of a clip of L tokens, ``share * L / span`` starts are drawn without replacement, rounded up or
    down at random; 0.65 with spans of 10 hides 49 % of a long clip. A clip of less than two spans
    gets spans of half its length, so that every clip has something hidden and something seen.

    Args:
        keys: (B,) int64, what the draws come from.
        lengths: (B,) int64, tokens that hold sound, >= 1.
        size: N, tokens in a row.
        share: > 0; may be above 1.
        span: tokens in a span.
        least: smallest number of starts.

    Returns:
        (B, N) bool, at least one True a row, none at padding.
    """
    width = torch.minimum(torch.full_like(lengths, span), (lengths // 2).clamp(min=1))  # (B,)
    draws = uniform(keys, size + 1, salt=0x5BA2)
    places = lengths - width + 1
    count = (share * lengths / width + draws[:, 0]).long().clamp(min=least)
    count = torch.minimum(count, (lengths - 1) // width).clamp(min=1)
    index = torch.arange(size, device=keys.device)
    noise = draws[:, 1:].masked_fill(index >= places[:, None], 2.0)
    starts = noise.argsort(1).argsort(1) < count[:, None]  # (B, N)
    begun = starts.long().cumsum(1)
    earlier = index - width[:, None]
    ended = torch.where(earlier >= 0, begun.gather(1, earlier.clamp(min=0)), 0)
    return begun > ended


def negatives(keys: Tensor, masks: Tensor, count: int) -> Tensor:
    """Draw for each masked token others that are masked in the same clip, never itself.

    Args:
        keys: (B,) int64.
        masks: (B, N) bool.
        count: K, how many for each.

    Returns:
        (S, K) int64, rows of the S masked tokens in order (clip by clip); a clip with a single
        masked token has no other, and names that one.
    """
    sizes = masks.sum(1)  # (B,)
    most = int(sizes.max())
    draws = uniform(keys, most * count, salt=0x9E6A).view(-1, most, count)
    own = torch.arange(most, device=keys.device)[:, None]  # (M, 1)
    others = (sizes - 1).clamp(min=1)[:, None, None]
    found = torch.minimum((draws * others).long(), others - 1)
    found = found + (found >= own)
    found = torch.where(sizes[:, None, None] > 1, found, 0)
    first = (sizes.cumsum(0) - sizes)[:, None, None]
    inside = torch.arange(most, device=keys.device) < sizes[:, None]  # (B, M)
    return (found + first)[inside]


def silenced(x: Tensor, hidden: Tensor, stack: int, fill: Tensor | None = None) -> Tensor:
    """Replace the frames of hidden tokens, (B, T, M + 1) -> same; what says where sound is stays.

    Args:
        x: frames; the last column is 1 where there is sound.
        hidden: (B, N) bool, tokens.
        stack: frames in a token.
        fill: (B, T, M) what is put there; 0, the mean of all frames, if absent.
    """
    frames = hidden.repeat_interleave(stack, 1)[:, : x.shape[1], None]
    values = x[..., :-1]
    put = torch.zeros_like(values) if fill is None else fill
    return torch.cat([torch.where(frames, put, values), x[..., -1:]], -1)


def over_time(x: Tensor, real: Tensor, eps: float = 1e-5) -> Tensor:
    """Give every channel of every row mean 0 and variance 1 over its real tokens; others are 0.

    Instance normalisation, into which padding would leak if it took part.

    Args:
        x: (B, N, D).
        real: (B, N) bool.
        eps: added to the variance.
    """
    weight = real[..., None].to(x.dtype)
    count = weight.sum(1, keepdim=True).clamp(min=1)
    centred = (x - (x * weight).sum(1, keepdim=True) / count) * weight
    variance = centred.square().sum(1, keepdim=True) / count
    return centred / (variance + eps).sqrt()
