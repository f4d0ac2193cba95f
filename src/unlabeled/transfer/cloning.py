"""Behaviour cloning: actions of demonstrations from an encoder that was trained on logs without.

Four ways of learning are compared on demonstrations set aside: a head on the frozen encoder, the
encoder moved with it, the same network from scratch, and a head that sees the observation alone.
All have the same head, the same search, and choose their rate and length on the same steps.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unlabeled.data.find import find
from unlabeled.device import device
from unlabeled.errors import DataError, UsageError
from unlabeled.journal import write_json
from unlabeled.modalities.base import Modality
from unlabeled.modalities.series import Series
from unlabeled.rng import order
from unlabeled.transfer import headed
from unlabeled.transfer.policy import FACTS, TASK, Head, Policy, PolicyNet, prepared
from unlabeled.transfer.roster import FIRST_LAYER
from unlabeled.transfer.training import Recipe, train
from unlabeled.types import PLAIN, View

if TYPE_CHECKING:
    from unlabeled.runs import Run

ARMS = ("frozen", "fine-tuned", "from scratch", "observation alone")
TOKENS = 4
"""Tokens of the past that a policy looks at."""

RATES, STOPS, BATCH = (1e-3, 3e-3), (200, 500, 1000), 128
QUICK_RATES, QUICK_STOPS = (1e-3,), (150, 300)
_SHARE = 0.2


@dataclass(frozen=True)
class Cloned:
    """A policy, and how far its actions are from those of demonstrations set aside.

    Args:
        policy: which was kept: the better of ``frozen`` and ``fine-tuned``.
        scores: arm -> share of the variance of actions that is explained; 0 is always doing the
            mean of what was demonstrated. The steps also chose the training: slightly too high.
        arm: which arm was kept.
        learned: demonstrations that were learned from.
        checked: demonstrations set aside.
        left_out: name and reason of what could not be read.
        folder: where it lies.
    """

    policy: Policy
    scores: dict[str, float]
    arm: str
    learned: int
    checked: int
    left_out: list[tuple[str, str]]
    folder: Path


class Windows:
    """Steps of demonstrations with those before them, as `training.train` asks for them.

    Args:
        modality: how logs are normalised.
        logs: (T, C) each; steps whose action is missing are not learned from.
        history: H.
    """

    def __init__(self, modality: Series, logs: Sequence[NDArray[Any]], history: int) -> None:
        self.modality: Modality = modality
        states = len(modality.config.observations)
        mean, std = modality.mean[states:], modality.std[states:]
        parts = [prepared(modality, log, history) for log in logs]
        actions = torch.cat([torch.from_numpy(np.asarray(log[:, states:])) for log in logs])
        ends = np.cumsum([0, *(len(part) for part in parts)])
        last = np.concatenate([np.arange(a + history - 1, b) for a, b in pairwise(ends)])
        known = ~actions.isnan().any(1).numpy()
        self.steps, self.history, self.last = torch.cat(parts), history, last[known]
        self.raw = actions[torch.from_numpy(known)]
        self.y = ((self.raw - mean) / std).numpy()  # (N, A)
        self.indices = np.arange(len(self.last))

    def __len__(self) -> int:
        """Return N."""
        return len(self.last)

    def view(self, rows: NDArray[np.int64], view: View, keys: NDArray[np.int64]) -> Tensor:
        """Return steps with those before them, (B, H, 2 C)."""
        places = self.last[rows][:, None] + np.arange(1 - self.history, 1)
        return self.steps[torch.from_numpy(places)]


class Told:
    """What a frozen encoder says of windows, read once.

    Args:
        windows: of what.
        net: says it.
    """

    def __init__(self, windows: Windows, net: PolicyNet) -> None:
        self.modality, self.indices, self.y = windows.modality, windows.indices, windows.y
        self.x = told(net, windows)

    def view(self, rows: NDArray[np.int64], view: View, keys: NDArray[np.int64]) -> Tensor:
        """Return some of it, (B, told + 2 S)."""
        return self.x[torch.from_numpy(rows)]


@torch.no_grad()
def told(net: PolicyNet, windows: Windows) -> Tensor:
    """Return what the head is given of every window, (N, told + 2 S)."""
    where = device()
    net.to(where).eval()
    blocks = np.array_split(windows.indices, max(1, len(windows) // 512))
    return torch.cat([net.told(windows.view(b, PLAIN, b).to(where)).cpu() for b in blocks])


def error(net: nn.Module, windows: Windows | Told) -> float:
    """Return the mean squared error of normalised actions."""
    where = device()
    net.to(where).eval()
    total = 0.0
    with torch.inference_mode():
        for rows in np.array_split(windows.indices, max(1, len(windows.indices) // 512)):
            guess = net(windows.view(rows, PLAIN, rows).to(where)).cpu().numpy()
            total += float(np.square(guess - windows.y[rows]).sum())
    return total / windows.y.size


def fresh(run: Run, arm: str, windows: Windows, seed: int) -> PolicyNet:
    """Return the network of an arm before it has learned, its head a function of the seed."""
    if arm not in ARMS:
        raise ValueError(f"{arm} is none of {ARMS}")
    encoder: Any = None
    if arm != "observation alone":
        encoder = run.fresh(seed) if arm == "from scratch" else run.encoder()
    config: Any = run.config.modality
    states, actions = len(config.observations), len(config.actions)
    size = 0 if encoder is None else 2 * encoder.dim
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = Head(size, 2 * states, actions)
    head.low.copy_(windows.raw.amin(0))
    head.high.copy_(windows.raw.amax(0))
    net = PolicyNet(encoder, head, states)
    head.standardise(told(net, windows)[:, :size])
    return net


def learn(
    run: Run, arm: str, learned: Windows, checked: Windows, *, quick: bool = False, seed: int = 0
) -> tuple[PolicyNet, float]:
    """Train one arm; rate and length are those of the least error on other demonstrations.

    Returns:
        The network, and its mean squared error of normalised actions there.
    """
    best: tuple[float, PolicyNet] | None = None
    stops = QUICK_STOPS if quick else STOPS
    for rate in QUICK_RATES if quick else RATES:
        net = fresh(run, arm, learned, seed)
        still = arm == "frozen"
        given: Any = Told(learned, net) if still else learned
        other: Any = Told(checked, net) if still else checked
        recipe = Recipe(
            rate, stops[-1], PLAIN, BATCH, FIRST_LAYER if arm == "fine-tuned" else 1.0,
            frozen_statistics=arm == "fine-tuned", decay=0.01,
        )  # fmt: skip
        trained: nn.Module = net.head if still else net
        for _, averaged in train(
            trained, given, given.indices, given.y, recipe, seed, stops, _squared
        ):
            found = error(averaged, other)
            if best is None or found < best[0]:
                kept: Any = copy.deepcopy(averaged)
                best = found, PolicyNet(net.encoder, kept, net.num_states) if still else kept
    assert best is not None
    return best[1].cpu().eval(), best[0]


def _squared(guess: Tensor, wanted: Tensor) -> Tensor:
    return (guess - wanted).square().mean()


def demonstrations(
    run: Run, path: str | Path
) -> tuple[list[NDArray[np.float32]], list[tuple[str, str]]]:
    """Read whole episodes, (T, C) each, and say which could not be read.

    Raises:
        UsageError: the run is not of logs with actions, or nothing can be read.
    """
    config: Any = run.config.modality
    if run.config.data.kind != "series" or not config.actions:
        raise UsageError(
            f"--task {TASK} is for logs with actions; this run is of {run.config.data.kind}"
            + (". Name them when pre-training: modality.actions='[\"u0\"]'."
               if run.config.data.kind == "series" else ".")
        )  # fmt: skip
    source: Any = find(str(path), "series", None)
    modality = run.modality()
    episodes: dict[int, list[NDArray[np.float32]]] = {}
    bad: dict[int, tuple[str, str]] = {}
    for index in range(len(source)):
        group = int(source.groups[index])
        try:
            episodes.setdefault(group, []).append(modality.read(source.payload(index)))
        except DataError as wrong:
            bad.setdefault(group, (source.episode(index), str(wrong)))
    whole = [np.concatenate(parts) for group, parts in episodes.items() if group not in bad]
    if not whole:
        first = next(iter(bad.values()), ("", "it is empty"))
        raise UsageError(f"{path}: no demonstration can be read ({first[0]}: {first[1]}).")
    return whole, list(bad.values())


def history(run: Run) -> int:
    """Return how many steps up to now a policy looks at: whole tokens."""
    encoder: Any = run.encoder()
    return TOKENS * int(getattr(encoder, "stack", 0) or encoder.patch)


def finetune(run: Run, labels: str | Path, *, quick: bool = False, seed: int = 0) -> Cloned:
    """Learn from demonstrations, compare with what needs no pre-training, and save RUN/finetune.

    Args:
        run: pre-trained on logs with the same columns; theirs need no demonstrator.
        labels: logs of demonstrations.
        quick: a short training without a search.
        seed: of the split and of training.

    Raises:
        UsageError: with the sentence to print.
    """
    episodes, left_out = demonstrations(run, labels)
    if len(episodes) < 2:
        raise UsageError(
            f"{labels} holds one demonstration; at least 2 are needed, one to learn from and one "
            "to check with."
        )
    places = order(seed, 0, len(episodes))
    count = max(1, round(_SHARE * len(episodes)))
    modality: Any = run.modality()
    checked, learned = (
        Windows(modality, [episodes[i] for i in chosen], history(run))
        for chosen in (places[:count], places[count:])
    )
    if not len(checked) or not len(learned):
        raise UsageError(f"{labels}: no step has all of the actions {', '.join(_actions(run))}.")
    nets: dict[str, PolicyNet] = {}
    scores: dict[str, float] = {}
    spread = float(np.square(checked.y - learned.y.mean(0)).mean())
    for arm in ARMS:
        nets[arm], missed = learn(run, arm, learned, checked, quick=quick, seed=seed)
        scores[arm] = 1 - missed / max(spread, 1e-12)
    arm = max(ARMS[:2], key=scores.__getitem__)
    found = Cloned(
        Policy(nets[arm], modality, history(run)), scores, arm, len(episodes) - count, count,
        left_out, run.folder / "finetune",
    )  # fmt: skip
    _save(run, found, episodes[int(places[0])])
    return found


def _actions(run: Run) -> tuple[str, ...]:
    config: Any = run.config.modality
    return tuple(config.actions)


def _save(run: Run, found: Cloned, log: NDArray[np.float32]) -> None:
    """Write encoder, head and facts, open them again, and compare.

    Raises:
        DataError: what was written does something else.
    """
    found.folder.mkdir(parents=True, exist_ok=True)
    headed.save(found.folder, found.policy.net)
    facts = {
        "task": TASK,
        "classes": list(found.policy.actions),
        "history": found.policy.history,
        "arm": found.arm,
        "explained": found.scores,
        "train": found.learned,
        "validation": found.checked,
    }
    write_json(found.folder / FACTS, facts)
    again = Policy.from_run(run.folder).along(log)
    if not np.allclose(again, found.policy.along(log), rtol=1e-3, atol=1e-3):
        raise DataError(
            f"The policy written to {found.folder} acts otherwise than the trained one. "
            "Please report this."
        )
