"""A robot's next action from what it observed last: an encoder of logs, and a head.

The encoder is given the last steps up to now, without what was done in them: who sees his own last
action learns to repeat it (de Haan, Jayaraman and Levine, "Causal Confusion in Imitation
Learning", NeurIPS 2019, arXiv:1905.11979). The head is given the token of the last steps, the mean
of all, and the observation of now itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from unlabeled import encoders
from unlabeled.device import device
from unlabeled.encoders.base import Encoder
from unlabeled.errors import UsageError
from unlabeled.journal import read_json
from unlabeled.modalities.series import Series
from unlabeled.nn.precision import full, no_autocast
from unlabeled.tensors import check_file
from unlabeled.transfer.headed import HEAD
from unlabeled.types import PLAIN

TASK, FACTS = "action", "classes.json"
_NARROW = 1e-3


class Head(nn.Module):
    """A small network from what an encoder told, and the observation, to an action.

    Args:
        told: numbers that the encoder tells; 0 without one.
        given: numbers of an observation, its flags included.
        actions: A.
        width: inside.
    """

    offset: Tensor
    spread: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, told: int, given: int, actions: int, width: int = 256) -> None:
        super().__init__()
        for name, size in (("offset", told), ("spread", told), ("low", actions), ("high", actions)):
            self.register_buffer(name, torch.ones(size) if name == "spread" else torch.zeros(size))
        self.layers = nn.Sequential(
            nn.Linear(told + given, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, actions),
        )

    def standardise(self, told: Tensor) -> None:
        """Take over mean and deviation of what the encoder tells of demonstrations, (N, told)."""
        self.offset.copy_(told.mean(0))
        spread = (told - self.offset).square().mean(0).sqrt()
        self.spread.copy_(spread.clamp(min=_NARROW))

    def forward(self, both: Tensor) -> Tensor:
        """Return normalised actions, (B, told + given) -> (B, A), in fp32."""
        both = full(both)
        size = len(self.offset)
        scaled = (both[:, :size] - self.offset) / self.spread
        with no_autocast(both):
            found: Tensor = self.layers(torch.cat([scaled, both[:, size:]], 1))
        return found


class PolicyNet(nn.Module):
    """An encoder of the last steps and a head; without an encoder, the observation alone.

    Args:
        encoder: of logs, or None.
        head: what it tells -> actions.
        num_states: S, columns of observations.
    """

    body = "encoder."

    def __init__(self, encoder: Encoder | None, head: Head, num_states: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head: Head = head
        self.num_states = num_states

    def told(self, x: Tensor) -> Tensor:
        """Return what the head is given, (B, H, 2 C) -> (B, told + 2 S)."""
        values, flags = x[:, -1].chunk(2, -1)
        now = [values[:, : self.num_states], flags[:, : self.num_states]]
        return torch.cat([*_said(self.encoder, x), *now], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return normalised actions, (B, H, 2 C) -> (B, A)."""
        found: Tensor = self.head(self.told(x))
        return found


def _said(encoder: Any, x: Tensor) -> list[Tensor]:
    """Return the last token and the mean of all that hold a number, (B, D) each."""
    if encoder is None:
        return []
    tokens = full(encoder.tokens(x))  # (B, N, D)
    mean = encoder.mean(tokens, x) if hasattr(encoder, "mean") else tokens.mean(1)
    return [tokens[:, -1], mean]


def prepared(modality: Series, log: NDArray[Any], history: int) -> Tensor:
    """Return a log as a policy sees it: actions hidden, and empty steps before, (H - 1 + T, 2 C).

    Args:
        modality: how logs are normalised.
        log: (T, C) as recorded, NaN where missing; actions may be NaN.
        history: H.
    """
    values = torch.from_numpy(np.ascontiguousarray(log, np.float32))[None, None]
    x = modality.distort(values, PLAIN, torch.zeros(1, dtype=torch.int64))[0, 0]
    states, channels = len(modality.config.observations), len(modality.channels)
    x[:, states:channels] = 0.0
    x[:, channels + states :] = 0.0
    return torch.cat([x.new_zeros(history - 1, x.shape[1]), x])


class Policy:
    """What `unlabeled finetune RUN --labels DEMOS --task action` leaves.

    Attributes:
        modality: names and normalises the columns.
        history: steps up to now that are looked at.
        actions: names of what is done.
    """

    def __init__(self, net: PolicyNet, modality: Series, history: int) -> None:
        self.net, self.modality, self.history = net.eval(), modality, history
        self.actions = modality.config.actions

    @classmethod
    def from_run(cls, folder: str | Path) -> Policy:
        """Open the policy of a run.

        Raises:
            UsageError: the run has none.
        """
        place = Path(folder) / "finetune"
        facts = read_json(place / FACTS)
        if facts.get("task") != TASK:
            raise UsageError(
                f"{folder} has no policy yet. Make one with "
                f"`unlabeled finetune {folder} --labels DEMOS --task {TASK}`."
            )
        check_file(place / HEAD)
        state = load_file(place / HEAD)
        encoder: Any = encoders.load(place)
        told, (width, given) = len(state["offset"]), state["layers.0.weight"].shape
        head = Head(told, given - told, len(state["low"]), width)
        head.load_state_dict(state)
        modality = Series(encoder.series)
        return cls(
            PolicyNet(encoder, head, len(modality.config.observations)),
            modality,
            int(facts["history"]),
        )

    def read(self, payload: Any) -> NDArray[np.float32]:
        """Return a stretch of a log as `along` takes it; it needs no columns of actions.

        Raises:
            DataError: a column of observations is not there.
        """
        seen = payload.read(self.modality.config.observations)  # (T, S)
        room = np.full((len(seen), len(self.actions)), np.nan, np.float32)
        return np.concatenate([seen, room], 1)

    def act(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Return what to do now.

        Args:
            observations: (T, S) what was observed up to now, in the order of
                ``modality.config.observations``, or (B, T, S) of several robots; the last
                `history` steps are looked at, NaN is missing.

        Returns:
            (A,) or (B, A), in the units of the demonstrations and never beyond their extremes.
        """
        given = np.asarray(observations, np.float32)
        many = given if given.ndim == 3 else given[None]
        if many.ndim != 3 or many.shape[2] != self.net.num_states or not many.shape[1]:
            raise UsageError(
                f"A policy is given (steps, {self.net.num_states}) or (robots, steps, "
                f"{self.net.num_states}) observations; this is {given.shape}. Columns: "
                f"{', '.join(self.modality.config.observations)}."
            )
        room = np.full((len(self.actions),), np.nan, np.float32)
        last = many[:, -self.history :]
        logs = np.concatenate([last, np.broadcast_to(room, (*last.shape[:2], len(room)))], 2)
        x = torch.stack([prepared(self.modality, log, self.history) for log in logs])
        found = self._said(x[:, -self.history :])
        return found if given.ndim == 3 else found[0]

    def along(self, log: NDArray[Any]) -> NDArray[np.float32]:
        """Return what it would have done at each step of a log (T, C), (T, A)."""
        x = prepared(self.modality, log, self.history)
        return self._said(x.unfold(0, self.history, 1).transpose(1, 2))

    @torch.inference_mode()
    def _said(self, x: Tensor) -> NDArray[np.float32]:
        """Return actions in their units, (B, H, 2 C) -> (B, A)."""
        where, states = device(), self.net.num_states
        self.net.to(where)
        normal = [self.net(part.to(where)).cpu() for part in torch.split(x, 512)]
        mean, std = self.modality.mean[states:], self.modality.std[states:]
        found = torch.cat(normal) * std + mean
        low, high = self.net.head.low.cpu(), self.net.head.high.cpu()
        return np.asarray(torch.minimum(torch.maximum(found, low), high).numpy(), np.float32)
