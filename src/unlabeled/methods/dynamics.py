"""Context dynamics: one part of an episode must help to say how another part of it goes on.

After Lee, Seo, Lee, Lee and Shin, "Context-aware Dynamics Model for Generalization in Model-Based
Reinforcement Learning", ICML 2020, arXiv:2005.06800, and Zhou, Pinto and Gupta, "Environment
Probing Interaction Policies", ICLR 2019, arXiv:1907.11740.

An encoder reads an episode of which a stretch is hidden, and gives a code. A small network is told
a state and an action inside that stretch, and the code, and says how the state changes. What
states and actions tell by themselves is no reason to write it into the code; what only the rest
of the episode can tell is: which machine it is, how worn, on what ground.

Now and then almost nothing is hidden, because features are read of episodes of which nothing is:
a network that always missed a quarter gave all whole episodes the same feature (docs/log.md).

Departures: the context is all of the episode but the hidden stretch instead of the steps before,
of a length that is drawn anew; there is no backward model, and no ensemble. Logs without actions
are predicted from states alone. `persistence` in the journal is the error of saying that nothing
changes, `gain` what is lost when codes are swapped between episodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.method import Method, MethodConfig
from unlabeled.modalities.base import Modality
from unlabeled.nn.precision import full
from unlabeled.rng import uniform
from unlabeled.types import Batch, Loss, View

_SWAPPED = 4
"""One of so many transitions is asked again with another episode's code."""


class Dynamics(Method):
    """Dynamics that depend on a code of the context."""

    modalities = ("series",)
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 4e-3,
        "batch": 64,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """Options of context dynamics."""

        least: float = Field(0.02, gt=0, lt=1, description="smallest share of steps to hide")
        most: float = Field(0.75, gt=0, lt=1, description="largest share of steps to hide")
        ahead: int = Field(1, ge=1, le=50, description="steps from a state to the one asked for")
        transitions: int = Field(64, ge=1, description="changes that are asked for, a sample")
        hidden_dim: int = Field(256, gt=0, description="width inside the network of changes")
        code_dim: int = Field(32, gt=0, description="numbers by which the context may help")
        beta: float = Field(1.0, gt=0, description="error up to which the loss is a square")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        reads: Any = modality
        self.num_states = len(reads.config.observations)
        channels = self.num_states + len(reads.config.actions)
        std, change = (torch.tensor(x) for x in (reads.config.std, reads.config.change))
        # A change as the encoder sees it, divided by this, has deviation 1 in every channel.
        scale = (change / std)[: self.num_states].clamp(min=1e-6)
        self.scale: Tensor
        self.register_buffer("scale", scale, persistent=False)
        given = 2 * channels + (config.ahead - 1) * (channels - self.num_states)
        self.code = nn.Linear(encoder.dim, config.code_dim)
        self.change = nn.Sequential(
            nn.Linear(given + config.code_dim, config.hidden_dim),
            nn.SiLU(),
            nn.Linear(config.hidden_dim, config.hidden_dim),
            nn.SiLU(),
            nn.Linear(config.hidden_dim, self.num_states),
        )

    def views(self) -> dict[str, View]:
        """Return the whole sample, undistorted."""
        return {"plain": View()}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the error of predicted changes inside the hidden stretch."""
        x = batch["plain"][0]  # (B, T, 2 C)
        start, stop = self.hidden(x, batch.keys)
        places = torch.arange(x.shape[1], device=x.device)
        seen = (places < start[:, None]) | (places >= stop[:, None])  # (B, T)
        code = full(self.code(self.encoder(x * seen[..., None])))  # (B, code)
        given, wanted, known = self.asked(x, batch.keys, start, stop)
        count = known.sum().clamp(min=1)
        error = self._error(code, given, wanted, known)  # (B, M)
        total = error.sum() / count
        with torch.no_grad():
            still = self._distance(torch.zeros_like(wanted), wanted, known).sum() / count
            some = slice(None, None, _SWAPPED)
            first, *rest = given[:, some], wanted[:, some], known[:, some]
            swapped = self._error(code.roll(1, 0), first, *rest) - error[:, some]
            gain = swapped.sum() / rest[1].sum().clamp(min=1)
        return Loss(total, {"targets": count, "persistence": still, "gain": gain})

    def hidden(self, x: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Draw which steps are hidden, from (B,) to (B,), inside what was measured."""
        c = self.config
        there = x.chunk(2, -1)[1].amax(-1) > 0.5  # (B, T)
        steps = torch.arange(x.shape[1], device=x.device)
        length = torch.where(there, steps + 1, 0).amax(1)  # (B,)
        draw = uniform(keys, 2, salt=1)
        share = c.least + (max(c.most, c.least) - c.least) * draw[:, 0]
        count = (share * length).round().long().clamp(min=c.ahead + 1)
        start = (draw[:, 1] * (length - count + 1).clamp(min=1)).long()
        return start, torch.minimum(start + count, length)

    def asked(
        self, x: Tensor, keys: Tensor, start: Tensor, stop: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return some states with actions and flags, what changes, and which changes are known.

        Returns:
            (B, M, P), (B, M, S) and (B, M, S).
        """
        c, S = self.config, self.num_states  # noqa: N806
        room = (stop - start - c.ahead).clamp(min=0)
        draw = uniform(keys, c.transitions, salt=2)
        place = start[:, None] + (draw * room[:, None]).long()  # (B, M)
        place = place.clamp(max=x.shape[1] - 1 - c.ahead)
        rows = torch.arange(len(x), device=x.device)[:, None]
        values, flags = x.chunk(2, -1)
        now, then = x[rows, place], place + c.ahead
        actions = [values[rows, place + i, S:] for i in range(1, c.ahead)]
        wanted = (values[rows, then] - values[rows, place])[..., :S] / self.scale
        known = (flags[rows, then] * flags[rows, place])[..., :S] * (room > 0)[:, None, None]
        return torch.cat([now, *actions], -1), wanted, known

    def _error(self, code: Tensor, given: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
        told = code[:, None].expand(-1, given.shape[1], -1)
        guess = full(self.change(torch.cat([given, told], -1)))
        return self._distance(guess, wanted, known)

    def _distance(self, guess: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
        each = F.smooth_l1_loss(guess, wanted, beta=self.config.beta, reduction="none")
        return (each * known).sum(-1)
