"""PatchTST: hide patches of every channel by itself, and reconstruct them from the channel's rest.

Nie, Nguyen, Sinthong and Kalagnanam, "A Time Series is Worth 64 Words: Long-term Forecasting with
Transformers", ICLR 2023, arXiv:2211.14730, section 3.2.

A channel of a sample is cut into patches, 40 % of which are hidden, other ones in each channel;
the error is squared and counts where something was hidden and measured.

Departures: the mean and deviation by which a channel is normalised (RevIN) are those of what is
seen of it, where the authors also use what is hidden, which tells of it; missing values take no
part, and count in no error. `interpolation` in the journal is the error of a straight line between
what was seen before and after: a model above it has learned nothing that matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_channels
from unlabeled.modalities.base import Modality
from unlabeled.nn.interpolate import gaps, interpolate
from unlabeled.nn.patches import Reconstruction
from unlabeled.nn.precision import full
from unlabeled.rng import uniform
from unlabeled.types import Batch, Loss, View


class PatchTST(Method):
    """Masked patches, channel by channel."""

    modalities = ("series",)
    needs = "channels"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 1e-3,
        "batch": 64,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """Options of PatchTST."""

        mask_ratio: float = Field(0.4, gt=0, lt=1, description="share of patches that is hidden")
        crop: float = Field(1.0, gt=0, le=1, description="smallest share of a sample in a view")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_channels("patchtst", encoder)
        self.config = config
        self.encoder: Encoder = encoder
        net: Any = encoder
        self.predict = nn.Linear(net.width, net.patch)

    def views(self) -> dict[str, View]:
        """Return one window of each sample."""
        return {"plain": View(extent=(self.config.crop, 1.0))}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the mean squared error of what was measured and hidden."""
        net: Any = self.encoder
        values, flags = net.patches(batch["plain"][0])  # (B, C, N, P)
        hidden = self.hidden(flags, batch.keys)  # (B, C, N, 1)
        places = hidden[..., 0]  # (B, C, N), K of them
        guess, wanted, line = self.rebuilt(values, flags, hidden, places)
        wanted, line, asked = wanted[places], line[places], flags[places]  # (K, P)
        count = asked.sum().clamp(min=1)
        parts = {"targets": count, "interpolation": _error(line, wanted, asked) / count}
        return Loss(_error(guess, wanted, asked) / count, parts)

    def rebuilt(
        self, values: Tensor, flags: Tensor, hidden: Tensor, places: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is guessed, what is there, and a straight line, normalised, (B, C, N, P).

        With `places`, (B, C, N) bool, only they are guessed, (K, P).
        """
        net: Any = self.encoder
        seen = flags * ~hidden
        mean, deviation = net.scale(values, seen)
        wanted = (values - mean) / deviation
        guess = full(self.predict(net.attended(wanted * seen, places)))
        with torch.no_grad():
            flat, known = (x.flatten(2).transpose(1, 2) for x in (wanted * seen, seen))
            line = interpolate(flat, known > 0.5).transpose(1, 2).reshape(wanted.shape)
        return guess, wanted, line

    @torch.inference_mode()
    def reconstruct(self, batch: Batch) -> Reconstruction:
        """Return logs, (B, T, C) each: as they are, with NaN where hidden, and as guessed."""
        net: Any = self.encoder
        values, flags = net.patches(batch["plain"][0])
        hidden = self.hidden(flags, batch.keys)
        guess = self.rebuilt(values, flags, hidden)[0]
        mean, deviation = net.scale(values, flags * ~hidden)
        parts = (values, flags, flags * ~hidden, guess * deviation + mean)
        return gaps(*(part.flatten(2).transpose(1, 2) for part in parts))

    def hidden(self, flags: Tensor, keys: Tensor) -> Tensor:
        """Draw which patches of each channel are hidden, (B, C, N, P) -> (B, C, N, 1) bool.

        A share of the patches of a channel in which something was measured; one at least is seen.
        """
        B, C, N, _ = flags.shape  # noqa: N806
        held = flags.amax(3) > 0.5  # (B, C, N)
        noise = uniform(keys, C * N, salt=0x9A7C).reshape(B, C, N)
        rank = noise.masked_fill(~held, 2.0).argsort(dim=2, stable=True).argsort(2)
        kept = (held.sum(2, keepdim=True) * (1 - self.config.mask_ratio)).long().clamp(min=1)
        return ((rank >= kept) & held)[..., None]


def _error(guess: Tensor, wanted: Tensor, asked: Tensor) -> Tensor:
    return ((guess - wanted).square() * asked).sum()
