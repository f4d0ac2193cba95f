"""MTM: hide some states and actions of an episode, and reconstruct them from the others.

Wu et al., "Masked Trajectory Models for Prediction, Representation, and Control", ICML 2023,
arXiv:2305.02968.

What is hidden is drawn for each sample: a share of the (time, states) and (time, actions) parts,
and, for a half of the samples, all that comes after a moment as well, so that some is to be told
without a future ("random autoregressive masking"). States without actions and the reverse are
among what remains, so one network learns forward dynamics, inverse dynamics and what to do.

Departures: states and actions of a time share a token, and what is hidden of it is marked by the
flags that mark gaps, instead of a token each; the reconstruction is a linear layer; the loss is of
what was hidden. `interpolation` in the journal is the error of a straight line between what was
seen before and after: a model above it has learned nothing that matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_frames
from unlabeled.modalities.base import Modality
from unlabeled.nn.interpolate import gaps, interpolate
from unlabeled.nn.patches import Reconstruction
from unlabeled.nn.precision import full
from unlabeled.rng import uniform
from unlabeled.types import Batch, Loss, View


class MTM(Method):
    """Masked trajectory modelling."""

    modalities = ("series",)
    needs = "bidirectional"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 1e-3,
        "batch": 64,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """Options of MTM."""

        least: float = Field(0.15, gt=0, lt=1, description="smallest share that is hidden")
        most: float = Field(0.95, gt=0, lt=1, description="largest share that is hidden")
        future: float = Field(0.5, ge=0, le=1, description="share of samples that lose an end too")
        crop: float = Field(0.5, gt=0, le=1, description="smallest share of a sample in a view")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_frames("mtm", encoder, causal=False)
        self.config = config
        self.encoder: Encoder = encoder
        steps: Any = encoder
        reads: Any = modality
        self.num_states = len(reads.config.observations)
        self.num_channels = self.num_states + len(reads.config.actions)
        self.predict = nn.Linear(encoder.dim, steps.stack * self.num_channels)

    def views(self) -> dict[str, View]:
        """Return one window of each sample."""
        return {"plain": View(extent=(self.config.crop, 1.0))}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the mean squared error of what was measured and hidden."""
        x = batch["plain"][0]  # (B, T, 2 C)
        values, flags = x.chunk(2, -1)
        hidden = self.hidden(x, batch.keys)  # (B, T, C)
        seen = flags * ~hidden
        guess = self.rebuilt(x, seen)
        asked = hidden & (flags > 0.5)
        count = asked.sum().clamp(min=1)
        with torch.no_grad():
            line = _error(interpolate(values, seen > 0.5), values, asked) / count
        parts = {"targets": count, "interpolation": line, "hidden": hidden.float().mean()}
        return Loss(_error(guess, values, asked) / count, parts)

    def rebuilt(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return what all channels are guessed to be, (B, T, C), given what is seen of them."""
        steps: Any = self.encoder
        layout = steps.layout(x)  # of the whole: a hidden end is not the end
        values = x.chunk(2, -1)[0]
        tokens = steps.embed(torch.cat([values * seen, seen], -1), layout)
        guess = full(self.predict(steps.blocks(tokens, layout)))  # (B, N, stack C)
        return guess.reshape(len(x), -1, self.num_channels)[:, : x.shape[1]]

    @torch.inference_mode()
    def reconstruct(self, batch: Batch) -> Reconstruction:
        """Return logs, (B, T, C) each: as they are, with NaN where hidden, and as guessed."""
        x = batch["plain"][0]
        values, flags = x.chunk(2, -1)
        seen = flags * ~self.hidden(x, batch.keys)
        return gaps(values, flags, seen, self.rebuilt(x, seen))

    def hidden(self, x: Tensor, keys: Tensor) -> Tensor:
        """Draw what is hidden, (B, T, C) bool: whole states or whole actions of a token."""
        c = self.config
        steps: Any = self.encoder
        count = -(-x.shape[1] // steps.stack)
        draws = uniform(keys, 3 + 2 * count, salt=0x3723)
        share = c.least + (max(c.most, c.least) - c.least) * draws[:, :1]
        noise = draws[:, 3:].view(len(x), count, 2)
        lost = noise < share[..., None]  # (B, N, 2): states, actions
        lost[:, :, 0] |= noise[:, :, 0] == noise[:, :, 0].amin(1, True)  # at least one a sample
        end = (1 + draws[:, 1] * (count - 1)).long()
        later = torch.arange(count, device=x.device) >= end[:, None]
        lost |= (later & (draws[:, 2:3] < c.future))[..., None]
        wide = [self.num_states, self.num_channels - self.num_states]
        every = lost.repeat_interleave(torch.tensor(wide, device=x.device), dim=2)
        return every.repeat_interleave(steps.stack, dim=1)[:, : x.shape[1]]


def _error(guess: Tensor, values: Tensor, asked: Tensor) -> Tensor:
    return ((guess - values).square() * asked).sum()
