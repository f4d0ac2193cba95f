"""What dynamics foretell step by step, each from the one before, against what happened."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

SHARE, MOST = 0.4, 32
_AFTER = (1, 5, 20)


class Rollout(NamedTuple):
    """Observations (B, T, S), normalised; NaN where nothing is said.

    Args:
        truth: what happened.
        guess: what the network foretells inside the hidden stretch.
        still: the last state that was seen.
        hidden: bool, the stretch.
    """

    truth: Tensor
    guess: Tensor
    still: Tensor
    hidden: Tensor


@torch.inference_mode()
def roll(method: Any, x: Tensor) -> Rollout:
    """Foretell the last `SHARE` of logs, at most `MOST` steps, from what was seen before.

    The code is read of what comes before; the state at the stretch's begin and all actions are
    given.

    Args:
        method: context dynamics.
        x: (B, T, 2 C), whole logs.
    """
    S, ahead = method.num_states, method.config.ahead  # noqa: N806
    values, flags = x.chunk(2, -1)
    there = flags.amax(-1) > 0.5
    length = int(torch.where(there, torch.arange(x.shape[1]) + 1, 0).amax(1).min())
    count = max(ahead, min(MOST, int(SHARE * length)) // ahead * ahead)
    begin = length - count - 1
    seen = x.clone()
    seen[:, begin + 1 :] = 0.0
    code = method.code(method.encoder(seen)).float()
    state, known = values[:, begin, :S].clone(), flags[:, begin, :S]
    guess = torch.full_like(values[..., :S], float("nan"))
    still = guess.clone()
    for step in range(begin, begin + count, ahead):
        now = [state, values[:, step, S:], known, flags[:, step, S:]]
        actions = [values[:, step + i, S:] for i in range(1, ahead)]
        change = method.change(torch.cat([*now, *actions, code], -1)).float() * method.scale
        state = state + change
        guess[:, step + ahead] = state
        still[:, step + ahead] = values[:, begin, :S]
    truth = torch.where(flags[..., :S] > 0.5, values[..., :S], float("nan"))
    return Rollout(truth, guess, still, ~guess.isnan())


def errors(found: Rollout) -> list[tuple[int, float, float]]:
    """Return how many steps ahead, and the mean squared errors of network and no change."""
    asked = [int(i) for i in found.hidden.any(0).any(-1).nonzero().flatten()]
    ahead = asked[1] - asked[0] if len(asked) > 1 else 1
    rows = []
    for place in asked:
        ours, theirs = (
            float((line[:, place] - found.truth[:, place]).square().nanmean())
            for line in (found.guess, found.still)
        )
        rows.append((place - asked[0] + ahead, ours, theirs))
    return rows


def sentence(found: Rollout) -> str:
    """Say the errors after a few steps."""
    rows = errors(found)
    chosen = [row for row in rows if row[0] in _AFTER or row in (rows[:1] + rows[-1:])]
    told = "; ".join(f"{k}: {ours:.3f} ({still:.3f})" for k, ours, still in chosen)
    return (
        f"Mean squared error in deviations of the pool by foretold step, over {len(found.truth)} "
        f"logs, in brackets if nothing changed: {told}."
    )
