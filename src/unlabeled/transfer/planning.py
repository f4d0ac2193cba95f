"""Planning: look for actions after which a world model says that the goal is reached.

Two searches over sequences of actions. The cross-entropy method draws from a Gaussian, keeps the
best few, and fits the Gaussian to them (Rubinstein and Kroese, 2004, doi:10.1007/978-1-4757-4321-0;
as a planner Chua et al., 2018, arXiv:1805.12114). MPPI weighs all that were drawn by the
exponential of their cost (Williams et al., 2017, doi:10.2514/1.G001921). What is done is the first
part of what was found; then it is looked for again, from what was found before (model-predictive
control).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlabeled.device import device
from unlabeled.errors import UsageError
from unlabeled.modalities.series import Series
from unlabeled.rng import generator, mix
from unlabeled.types import PLAIN

METHOD = "leworldmodel"
_LEAST = 0.05


@dataclass(frozen=True)
class Search:
    """How actions are looked for.

    Args:
        way: ``cem`` or ``mppi``.
        horizon: H, frames ahead.
        samples: N, sequences that are tried at once.
        rounds: how often the distribution is fitted again.
        elites: of cem, how many of the best it is fitted to.
        temperature: of mppi, in deviations of the costs of a round.
        spread: first deviation of actions, in halves of their range.
    """

    way: Literal["cem", "mppi"] = "cem"
    horizon: int = 5
    samples: int = 256
    rounds: int = 4
    elites: int = 24
    temperature: float = 0.2
    spread: float = 0.7


Cost = Callable[[Tensor], Tensor]
"""Of sequences of actions (B, N, H, A), what each costs, (B, N)."""


def search(cost: Cost, start: Tensor, low: Tensor, high: Tensor, how: Search, key: int) -> Tensor:
    """Return the sequences that were found, (B, H, A).

    Args:
        cost: of B robots, what sequences of actions cost.
        start: (B, H, A) where the search begins, such as what was found a moment ago.
        low: (A,) least actions.
        high: (A,) greatest actions.
        how: the search.
        key: of what is drawn.
    """
    half = (high - low) / 2
    mean, deviation = start.clamp(low, high), (how.spread * half).expand_as(start).clone()
    for round_ in range(how.rounds):
        shape = (len(start), how.samples, *start.shape[1:])
        noise = torch.from_numpy(generator(mix(key, round_)).standard_normal(shape)).to(start)
        tried = mean[:, None] + deviation[:, None] * noise
        tried = torch.minimum(torch.maximum(tried, low), high)
        tried[:, 0] = mean  # what is known is never lost
        costs = cost(tried)  # (B, N)
        weights = _weights(costs, how)[..., None, None]
        mean = (weights * tried).sum(1)
        deviation = (weights * (tried - mean[:, None]).square()).sum(1).sqrt()
        deviation = torch.maximum(deviation, _LEAST * half)
    return mean


def _weights(costs: Tensor, how: Search) -> Tensor:
    """Return what each sequence counts, (B, N), summing to 1."""
    if how.way == "cem":
        best = costs.topk(min(how.elites, costs.shape[1]), largest=False).indices
        return torch.zeros_like(costs).scatter(1, best, 1.0 / best.shape[1])
    scale = costs.std(1, keepdim=True).clamp(min=1e-9) * how.temperature
    return torch.softmax(-costs / scale, 1)


class Planner:
    """What a run of `leworldmodel` is for: actions that bring about what is wanted.

    Args:
        method: the trained method, with its predictor.
        modality: names and normalises the columns.
        low: (A,) least actions that may be done, in their units.
        high: (A,) greatest ones.
        how: the search.
    """

    def __init__(
        self, method: Any, modality: Series, low: Any, high: Any, how: Search | None = None
    ) -> None:
        self.method, self.modality, self.how = method.to(device()).eval(), modality, how or Search()
        states = len(modality.config.observations)
        mean, std = modality.mean[states:], modality.std[states:]
        self.low, self.high = (
            ((torch.as_tensor(np.asarray(x, np.float32)) - mean) / std).to(device())
            for x in (low, high)
        )
        self.skip, self.frame = method.config.skip, method.config.frame

    @classmethod
    def from_run(
        cls, folder: str | Path, low: Any, high: Any, how: Search | None = None
    ) -> Planner:
        """Open the world model of a run.

        Args:
            folder: a run of `leworldmodel` on logs with actions.
            low: (A,) least actions, in the order of ``modality.config.actions``.
            high: (A,) greatest ones.
            how: the search.

        Raises:
            UsageError: the run has no such model, or bounds do not fit.
        """
        from unlabeled.runs import Run

        run = Run.open(folder)
        config: Any = run.config.modality
        if run.config.method.get("name") != METHOD or not config.actions:
            raise UsageError(
                f"{folder} has no model to plan with. Make one from logs with actions: "
                f"unlabeled pretrain LOGS --method {METHOD}"
            )
        bounds = [np.asarray(x, np.float32) for x in (low, high)]
        count = len(config.actions)
        if any(x.shape != (count,) for x in bounds) or not (bounds[0] < bounds[1]).all():
            raise UsageError(
                f"Bounds are {count} numbers each, low < high, of {', '.join(config.actions)}; "
                f"given {bounds[0].shape} and {bounds[1].shape}."
            )
        modality: Any = run.modality()
        return cls(run.method(), modality, bounds[0], bounds[1], how)

    @torch.inference_mode()
    def embed(self, observations: NDArray[Any]) -> Tensor:
        """Return the embeddings of what was observed, (B, t, S) -> (B, K); the last frame counts.

        Of fewer steps than a frame has, what is before them is missing.
        """
        seen = np.asarray(observations, np.float32)[:, -self.frame :]
        room = len(self.modality.channels) - seen.shape[2]
        given = np.pad(seen, ((0, 0), (self.frame - seen.shape[1], 0), (0, room)),
                       constant_values=np.nan)  # fmt: skip
        keys = torch.zeros(len(seen), dtype=torch.int64)
        x = self.modality.distort(torch.from_numpy(given)[None], PLAIN, keys)[0]
        found: Tensor = self.method.embed(x.to(device()))
        return found

    def cost(self, now: Tensor, goal: Tensor) -> Cost:
        """Return how far from the goal embeddings are after actions, each held for a frame.

        The mean over all frames ahead: who plans anew at every frame and asks only where the last
        one is can put off the way for ever.

        Args:
            now: (B, K).
            goal: (B, K).
        """

        def of(actions: Tensor) -> Tensor:
            B, N, H, A = actions.shape  # noqa: N806
            z = now[:, None].expand(B, N, -1)
            held = actions[..., None, :].expand(B, N, H, self.skip, A).flatten(3)
            total = torch.zeros(B, N, device=actions.device)
            for step in range(H):
                z = self.method.predict(z, held[:, :, step])
                total += (z - goal[:, None]).square().mean(-1)
            return total / H

        return of

    @torch.inference_mode()
    def plan(
        self,
        observations: NDArray[Any],
        goals: NDArray[Any],
        before: NDArray[Any] | None = None,
        seed: int = 0,
    ) -> NDArray[np.float32]:
        """Return what to do: the first row for the next `skip` steps, and what might follow.

        Args:
            observations: (B, t, S) what B robots observed up to now, NaN where missing.
            goals: (B, t', S) what they shall observe.
            before: (B, H, A) what was planned for the steps that are now over, or None.
            seed: of what is drawn.

        Returns:
            (B, H, A), in the units of the logs.
        """
        states, where = len(self.modality.config.observations), device()
        mean, std = (x[states:].to(where) for x in (self.modality.mean, self.modality.std))
        now, goal = self.embed(observations), self.embed(goals)
        start = ((self.low + self.high) / 2).expand(len(now), self.how.horizon, -1)
        if before is not None:
            old = (torch.as_tensor(np.asarray(before, np.float32)).to(where) - mean) / std
            start = torch.cat([old[:, 1:], old[:, -1:]], 1)
        found = search(self.cost(now, goal), start, self.low, self.high, self.how, seed)
        return np.asarray((found * std + mean).cpu().numpy(), np.float32)
