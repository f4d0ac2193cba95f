"""Recordings read in parts of time, and apart from what all recordings of a speaker share.

Two things separate what was said from who said it, and need no label: where in the clip a sound
was (the mean over each of a few equal parts, not over all), and how a voice or a microphone differs
from others on average (subtracted by speaker or source, never by clip, which would take what was
said with it). The second reads the samples of a speaker together, those of the test part too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from unlabeled.nn import parts
from unlabeled.transfer.baselines import Plain
from unlabeled.transfer.features import of_inputs
from unlabeled.transfer.hidden import real_tokens

if TYPE_CHECKING:
    from unlabeled.transfer.material import Material

NUM_PARTS = 8
"""Parts of a clip; between 4 and 8 it made no difference on spoken digits."""

_BELIEVED = 10.0
"""Recordings of a speaker whose mean is believed by half."""


def in_time(encoder: nn.Module) -> bool:
    """Return whether an encoder's tokens follow one another in time."""
    return hasattr(encoder, "heard")


class Parted(nn.Module):
    """An encoder whose feature is the mean token of each part of time, (B, K D).

    Args:
        encoder: of recordings, with tokens that follow one another in time.
    """

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.dim = NUM_PARTS * int(encoder.dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the means of the parts, one after another."""
        tokens = self.encoder.tokens(x)
        lengths = real_tokens(self.encoder, x, tokens).sum(1)
        return parts.means(tokens, lengths, NUM_PARTS)

    def save(self, folder: Path) -> None:
        """Write the encoder in its library's own format."""
        self.encoder.save(folder)


def as_read(encoder: Any) -> Any:
    """Return an encoder as classifiers read it: recordings in parts, all else as it is."""
    return Parted(encoder) if encoder.modality == "audio" and in_time(encoder) else encoder


def centred(
    x: NDArray[np.float32], group: NDArray[Any], centre: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Move the mean of each group to `centre`, less so where the group is small.

    Args:
        x: (N, D).
        group: (N,) speakers or sources.
        centre: (D,) where small groups are believed to lie.
    """
    names, rows = np.unique(group, return_inverse=True)
    counts = np.bincount(rows, minlength=len(names)).astype(np.float64)
    sums = np.zeros((len(names), x.shape[1]))
    np.add.at(sums, rows, x - centre)
    shift = sums / (counts + _BELIEVED)[:, None]
    found: NDArray[np.float32] = (x - shift[rows]).astype(np.float32)
    return found


def apart(material: Material, make: Callable[[], Plain]) -> Plain:
    """Return features without what the samples of each group share."""
    plain = make()
    assert material.group_train is not None
    assert material.group is not None
    centre = plain.train.mean(axis=0)
    train = centred(plain.train, material.group_train, centre)
    return Plain(train, centred(plain.test, material.group, centre), plain.whiten)


def for_audio(
    material: Material,
    encoders: Mapping[str, Callable[[], nn.Module]],
    plain: Mapping[str, Callable[[], Plain]],
) -> dict[str, Callable[[], Plain]]:
    """Return features in parts, and the same apart from the group where groups are known.

    Args:
        material: the samples.
        encoders: arm -> makes its encoder.
        plain: arm -> makes features that are in parts already.
    """

    def of(make: Callable[[], nn.Module]) -> Plain:
        encoder = Parted(make())
        return Plain(of_inputs(encoder, material.train), of_inputs(encoder, material.test), True)

    found = {name: partial(of, make) for name, make in encoders.items()} | dict(plain)
    if material.group is None or material.group_train is None:
        return found
    return found | {f"{name}_apart": partial(apart, material, make) for name, make in found.items()}
