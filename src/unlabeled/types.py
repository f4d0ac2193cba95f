"""The three nouns that cross folder borders: `View`, `Batch`, `Loss`.

Dimension letters: B batch, V views, N tokens, T text length, C channels, H W pixels, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True, slots=True)
class View:
    """What one kind of view shows of a sample; a modality says what that means for its data.

    Args:
        count: how many cuts of this kind are made of each sample, >= 1.
        extent: smallest and largest share of a sample that a cut covers (area of an image),
            each in (0, 1]; (1, 1) is the whole sample.
        size: edge of the cut relative to the encoder's input, in (0, 1].
        flip: whether a cut may be mirrored.
        distort: strength of value distortions (colour jitter), >= 0; 0 is none, 1 the
            strength used on ImageNet, 0.5 the strength used on CIFAR.
        grey: probability that colour is removed.
        blur: probability of blurring, one a cut (the last is repeated).
        solarize: probability of solarising, one a cut (the last is repeated).
    """

    count: int = 1
    extent: tuple[float, float] = (1.0, 1.0)
    size: float = 1.0
    flip: bool = False
    distort: float = 0.0
    grey: float = 0.0
    blur: tuple[float, ...] = (0.0,)
    solarize: tuple[float, ...] = (0.0,)


PLAIN = View()
"""The undistorted whole sample, as used for features."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Views of B samples. There is no field for a label, on purpose.

    Args:
        views: kind -> (count, B, ...), as the method's `views()` asked for.
        keys: (B,) int64, one random key a sample and epoch. Everything that a method draws
            per sample (masks, noise) comes from it through `rng.uniform`, so that neither
            batch size, workers nor ranks change what is drawn.
    """

    views: Mapping[str, Tensor]
    keys: Tensor
    names: tuple[str, ...] = field(default=(), compare=False)

    def __getitem__(self, kind: str) -> Tensor:
        """Return the views of `kind`, (count, B, ...)."""
        return self.views[kind]

    def __len__(self) -> int:
        """Return B."""
        return len(self.keys)

    def split(self, size: int) -> Iterator[Batch]:
        """Yield micro-batches of at most `size` samples, in order."""
        for start in range(0, len(self), size):
            stop = start + size
            yield Batch(
                {kind: x[:, start:stop] for kind, x in self.views.items()},
                self.keys[start:stop],
                self.names[start:stop],
            )


class Loss(NamedTuple):
    """What a method returns for a batch.

    Args:
        total: scalar with gradient, fp32.
        parts: detached scalars for the journal. Some are read by name: `targets` (how many
            targets the mean was taken over, where samples differ in it) by the loop;
            `projection_spread` (see `health.spread`), `entropy` (nats, of the mean target
            distribution) and `target_entropy` (nats, mean over samples).
    """

    total: Tensor
    parts: Mapping[str, Tensor]
