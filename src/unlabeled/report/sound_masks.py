"""What a method of recordings was asked, as a spectrogram: what was heard, hidden and said.

A method that names codes says nothing that could be seen; so a code is drawn as the mean of the
frames that have it, over clips of the pool.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from unlabeled.nn.spans import span_masks
from unlabeled.types import Batch


class Asked(NamedTuple):
    """Frames of B recordings, (B, T, M) each.

    Args:
        original: what was there.
        masked: what the network heard of it.
        said: what it said of what it did not hear; as it was elsewhere.
    """

    original: Tensor
    masked: Tensor
    said: Tensor


METHODS = ("hubert", "apc")
"""Methods whose guesses can be drawn as frames."""


@torch.no_grad()
def asked(method: Any, batch: Batch, clips: Tensor) -> Asked:
    """Return what a method is asked about a batch, and what it answers.

    Args:
        method: one of `METHODS`.
        batch: as it is trained on.
        clips: (N, T, M + 1) of the pool, from which the looks of codes are taken.
    """
    x = batch["plain"][0]  # (B, T, M + 1)
    named = hasattr(method, "codes_of")
    found = _named(method, x, batch.keys, clips) if named else _foretold(method, x)
    values = x[..., :-1]
    length = values.shape[1]
    frames = [part[:, :length] for part in found]
    hidden = frames[0].bool()[..., :1]
    return Asked(values, frames[1], torch.where(hidden, frames[2], values))


def _named(method: Any, x: Tensor, keys: Tensor, clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return hidden frames, what was heard, and the mean frames of the codes that are named."""
    c, encoder = method.config, method.encoder
    heard = encoder.heard(x)  # (B, N)
    hidden = span_masks(keys, heard.sum(1), heard.shape[1], c.mask_share, c.mask_span)
    masked = method.hide(x, hidden, keys)
    guess = method.head(encoder.tokens(masked)).argmax(-1)  # (B, N)
    looks = means(method, clips, c.num_codes)[guess]  # (B, N, stack * M)
    wide = hidden[..., None].expand(*hidden.shape, looks.shape[2])
    return _frames(encoder, wide.float()), masked[..., :-1], _frames(encoder, looks)


def means(method: Any, clips: Tensor, count: int) -> Tensor:
    """Return the mean of the stacked frames that each code has, (K, P); 0 where none has it."""
    encoder = method.encoder
    heard = encoder.heard(clips)
    frames, codes = encoder.stacked(clips)[heard], method.codes_of(clips)[heard]
    one = torch.nn.functional.one_hot(codes, count).to(frames)  # (S, K)
    return torch.as_tensor(one.T @ frames / one.sum(0).clamp(min=1)[:, None])


def _foretold(method: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return which frames are foretold, those that are heard before any is, and the guesses."""
    ahead, encoder = method.config.ahead, method.encoder
    guess = method.predict(encoder.tokens(x))  # (B, N, P)
    moved = torch.zeros_like(guess)
    moved[:, ahead:] = guess[:, :-ahead]
    told = torch.zeros_like(guess)
    told[:, ahead:] = encoder.heard(x)[:, ahead:, None].float()
    shown = _frames(encoder, told)
    length = x.shape[1]
    return shown, torch.where(shown[:, :length].bool(), 0.0, x[..., :-1]), _frames(encoder, moved)


def _frames(encoder: Any, tokens: Tensor) -> Tensor:
    """Take the frames of tokens apart, (B, N, stack * M) -> (B, N * stack, M)."""
    return tokens.reshape(len(tokens), tokens.shape[1] * encoder.stack, -1)
