"""What of a recording is known without training: its spectrum on average, and how it moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unlabeled.nn import parts

_CEPSTRA = 13
_PARTS = 8


def statistics(frames: Sequence[NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """Return ``logmel`` and ``mfcc``: mean, deviation and mean absolute step of each dimension.

    ``mfcc_parts`` holds the mean cepstra of each of 8 equal parts of the clip, which keep the
    order of its sounds.

    Args:
        frames: N arrays (T, M) of log-mel frames.
    """
    mels = [np.asarray(x, np.float32) for x in frames]
    cosines = cepstra(mels[0].shape[1]) if mels else np.zeros((1, 1), np.float32)
    return {
        "logmel": np.stack([_summary(x) for x in mels]),
        "mfcc": np.stack([_summary(x @ cosines) for x in mels]),
        "mfcc_parts": np.stack([_in_parts(x @ cosines) for x in mels]),
    }


def _in_parts(x: NDArray[np.float32]) -> NDArray[np.float32]:
    found = parts.means(torch.from_numpy(x)[None], torch.tensor([len(x)]), _PARTS)
    return np.asarray(found[0].numpy(), np.float32)


def cepstra(mels: int) -> NDArray[np.float32]:
    """Return the orthonormal cosine transform that makes 13 cepstra of a frame, (M, 13)."""
    place = (np.arange(mels)[:, None] + 0.5) / mels
    found = np.cos(np.pi * place * np.arange(min(_CEPSTRA, mels))) * np.sqrt(2 / mels)
    found[:, 0] /= np.sqrt(2)
    return np.asarray(found, np.float32)


def _summary(x: NDArray[np.float32]) -> NDArray[np.float32]:
    steps = np.abs(np.diff(x, axis=0)) if len(x) > 1 else np.zeros_like(x)
    return np.concatenate([x.mean(0), x.std(0), steps.mean(0)]).astype(np.float32)
