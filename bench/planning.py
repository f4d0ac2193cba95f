"""Planning on Reacher with a world model: success of reaching a posture, beside what is plain.

    python bench/reacher.py logs play PLAY --episodes 1000
    unlabeled pretrain PLAY --method leworldmodel --steps 1500 encoder.patch=1 --out RUN
    python bench/planning.py RUN --episodes 50 --out scores.json

No one demonstrates and no reward is known. The arm of Reacher-v5 begins as in a new episode of
play at step 10, and shall stand as it was there 20 steps later; an episode of 40 steps succeeds if
the fingertip is within 2 cm of where it shall be at the end. All ways have the same starts and
goals, the same bounds, the same search (CEM unless --way mppi) and replan as often:

- the world model: distance of embeddings,
- the same network before training,
- plain dynamics: a network of the predictor's width is told state and actions and says how the
  state changes, learned from the same logs for as many steps; distance of normalised states,
- the simulator itself as the model: the same distance of states; what a perfect model gives,
- random actions, and none.

Intervals are Wilson's for the episodes of one model; models of several seeds are several runs.
Needs `pip install "unlabeled[simulation]"` and no screen.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reacher import NEAR, Player, wilson

FIRST, LATER, BUDGET, TRIALS = 10, 20, 40, 700_000
TIP = slice(8, 10)


def begin(seed: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return an environment at its start, its state, and the observation that is wanted."""
    import gymnasium

    env: Any = gymnasium.make("Reacher-v5", max_episode_steps=10_000)
    rng, player = np.random.default_rng(seed), Player()
    state, _ = env.reset(seed=seed)
    kept = None
    for step in range(FIRST + LATER):
        if step == FIRST:
            data = env.unwrapped.data
            kept = data.qpos.copy(), data.qvel.copy()
        state = env.step(player(step, state, rng))[0]
    goal = state.copy()
    goal[6:8] = 0.0
    env.unwrapped.set_state(*kept)
    return env, env.unwrapped._get_obs(), goal


def tip(state: np.ndarray) -> np.ndarray:
    """Return where the fingertip is: the target, and the way to it."""
    return state[..., 4:6] + state[..., TIP]


class Act:
    """Something that says what to do next: (B, t, S) observations and goals -> (B, A)."""

    skip = 4

    def __call__(self, seen: np.ndarray, goals: np.ndarray, step: int) -> np.ndarray:
        """Return the action that is held for the next `skip` steps."""
        raise NotImplementedError


class Planned(Act):
    """By a `Planner`."""

    def __init__(self, planner: Any) -> None:
        self.planner, self.skip, self.before = planner, planner.skip, None

    def __call__(self, seen: np.ndarray, goals: np.ndarray, step: int) -> np.ndarray:
        """Plan anew, from what was planned before."""
        self.before = self.planner.plan(seen, goals[:, None], self.before, seed=step)
        return self.before[:, 0]


class Searched(Act):
    """By the same search with another cost of actions: (B, N, H, A) -> (B, N)."""

    def __init__(self, how: Any, skip: int) -> None:
        self.how, self.skip, self.before = how, skip, None

    def cost(self, seen: np.ndarray, goals: np.ndarray) -> Any:
        """Return the cost from here."""
        raise NotImplementedError

    @torch.inference_mode()
    def __call__(self, seen: np.ndarray, goals: np.ndarray, step: int) -> np.ndarray:
        """Plan anew."""
        from unlabeled.transfer.planning import search

        start = torch.zeros(len(seen), self.how.horizon, 2)
        if self.before is not None:
            start = torch.cat([self.before[:, 1:], self.before[:, -1:]], 1)
        one = torch.ones(2)
        self.before = search(self.cost(seen, goals), start, -one, one, self.how, step)
        return self.before[:, 0].numpy()


class Plain(Searched):
    """Dynamics of normalised states, learned from the same logs."""

    def __init__(self, run: Any, how: Any, skip: int, steps: int, width: int, seed: int) -> None:
        super().__init__(how, skip)
        modality = run.modality()
        states = len(modality.config.observations)
        self.mean, self.std = modality.mean[:states], modality.std[:states]
        source, scale = run.source(), (modality.mean[states:], modality.std[states:])
        self.action = scale
        logs = [modality.read(source.payload(int(i))) for i in run.pool_indices()]
        x = (torch.from_numpy(np.stack(logs)) - modality.mean) / modality.std  # (E, T, C)
        now = x[:, :-skip, :states]
        done = torch.stack([x[:, i : x.shape[1] - skip + i, states:] for i in range(skip)], 2)
        self.change = (x[:, skip:, :states] - now).flatten(0, 1)
        self.given = torch.cat([now, done.flatten(2)], 2).flatten(0, 1)
        self.net = self.learned(steps, width, seed)

    def learned(self, steps: int, width: int, seed: int) -> Any:
        """Train on 128 x 7 changes a step, as many as the world model is given."""
        from torch import nn

        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Linear(self.given.shape[1], width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, self.change.shape[1]),
        )  # fmt: skip
        optim = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
        plan = torch.optim.lr_scheduler.OneCycleLR(optim, 2e-3, total_steps=steps, pct_start=0.05)
        for _ in range(steps):
            rows = torch.randint(0, len(self.given), (896,))
            loss = (net(self.given[rows]) - self.change[rows]).square().mean()
            optim.zero_grad()
            loss.backward()
            optim.step()
            plan.step()
        return net.eval()

    def cost(self, seen: np.ndarray, goals: np.ndarray) -> Any:
        """Return the distance of normalised states after actions."""
        now = (torch.from_numpy(seen[:, -1]) - self.mean) / self.std
        goal = (torch.from_numpy(goals) - self.mean) / self.std

        def of(actions: torch.Tensor) -> torch.Tensor:
            B, N, H, A = actions.shape  # noqa: N806
            normal = (actions - self.action[0]) / self.action[1]
            held = normal[..., None, :].expand(B, N, H, self.skip, A).flatten(3)
            x = now[:, None].expand(B, N, -1)
            total = torch.zeros(B, N)
            for step in range(H):
                x = x + self.net(torch.cat([x, held[:, :, step]], 2))
                total += (x - goal[:, None]).square().mean(-1)
            return total

        return of


class Simulated(Searched):
    """The simulator as the model."""

    def __init__(self, envs: list[Any], mean: Any, std: Any, how: Any, skip: int) -> None:
        import mujoco

        super().__init__(how, skip)
        self.envs, self.mean, self.std = envs, mean.numpy(), std.numpy()
        self.model = envs[0].unwrapped.model
        self.data = mujoco.MjData(self.model)

    def cost(self, seen: np.ndarray, goals: np.ndarray) -> Any:
        """Return the distance of normalised states after actions, simulated."""
        import mujoco
        from mujoco import rollout

        kind = mujoco.mjtState.mjSTATE_FULLPHYSICS
        size, repeat = mujoco.mj_stateSize(self.model, kind), self.envs[0].unwrapped.frame_skip

        def of(actions: torch.Tensor) -> torch.Tensor:
            B, N = actions.shape[:2]  # noqa: N806
            costs, every = np.zeros((B, N)), self.skip * repeat
            for b, env in enumerate(self.envs):
                state = np.zeros(size)
                mujoco.mj_getState(env.unwrapped.model, env.unwrapped.data, state, kind)
                done = np.repeat(actions[b].numpy(), every, 1).astype(np.float64)
                ends, _ = rollout.rollout(
                    env.unwrapped.model, self.data, np.tile(state, (N, 1)), done
                )
                frames = ends[:, every - 1 :: every]  # (N, H, ...)
                missed = self.missed(frames.reshape(-1, size), goals[b])
                costs[b] = missed.reshape(N, -1).mean(1)
            return torch.from_numpy(costs)

        return of

    def missed(self, ends: np.ndarray, goal: np.ndarray) -> np.ndarray:
        """Return how far physical states are from a goal: time, places, speeds."""
        place, speed = ends[:, 1:5], ends[:, 5:9]
        swing, whole = place[:, 0], place[:, 0] + place[:, 1]
        x = 0.1 * np.cos(swing) + 0.11 * np.cos(whole)
        y = 0.1 * np.sin(swing) + 0.11 * np.sin(whole)
        target = np.broadcast_to(goal[4:6], (len(ends), 2))
        way = np.stack([x, y], 1) - target
        found = np.concatenate([np.cos(place[:, :2]), np.sin(place[:, :2]), target, speed[:, :2],
                                way], 1)  # fmt: skip
        return np.square((found - goal) / self.std).mean(1)


class Idle(Act):
    """Random actions, or none."""

    def __init__(self, size: float) -> None:
        self.size, self.rng, self.skip = size, np.random.default_rng(0), 4

    def __call__(self, seen: np.ndarray, goals: np.ndarray, step: int) -> np.ndarray:
        """Draw."""
        return self.rng.uniform(-self.size, self.size, (len(seen), 2))


def tried(act: Act, starts: list[tuple[Any, np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return how far tips are from their goals at the end, in metres."""
    envs = [env for env, _, _ in starts]
    seen = [np.stack([state for _, state, _ in starts]).astype(np.float32)]
    goals = np.stack([goal for _, _, goal in starts]).astype(np.float32)
    for step in range(BUDGET):
        if step % act.skip == 0:
            held = act(np.stack(seen, 1), goals, step)
        rows = [env.step(a)[0] for env, a in zip(envs, np.clip(held, -1, 1), strict=True)]
        seen.append(np.asarray(rows, np.float32))
    return np.hypot(*(tip(seen[-1]) - tip(goals)).T)


def ways(run: Any, planner: Any, envs: list[Any], asked: argparse.Namespace) -> dict[str, Any]:
    """Return the ways by name, made when they are tried."""
    from unlabeled.runs import build_method
    from unlabeled.transfer.planning import Planner

    how, skip = planner.how, planner.skip
    fresh = build_method(run.config, run.modality())
    states, seed = fresh.num_states, run.config.loop.seed
    width, steps = planner.method.config.hidden_dim, int(run.info["steps"])
    scale = run.modality().mean[:states], run.modality().std[:states]
    bounds = -np.ones(2), np.ones(2)
    return {
        "world model": lambda: Planned(planner),
        "untrained": lambda: Planned(Planner(fresh, run.modality(), *bounds, how)),
        "plain dynamics": lambda: Plain(run, how, skip, steps, width, seed),
        "simulator": lambda: Simulated(envs, *scale, replace(how, samples=asked.simulated), skip),
        "random": lambda: Idle(1.0),
        "still": lambda: Idle(0.0),
    }


def main() -> None:
    """Read the command line."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("run", type=Path)
    words.add_argument("--episodes", type=int, default=50)
    words.add_argument("--way", choices=("cem", "mppi"), default="cem")
    words.add_argument("--horizon", type=int, default=4)
    words.add_argument("--samples", type=int, default=200)
    words.add_argument("--simulated", type=int, default=100, help="sequences by the simulator")
    words.add_argument("--only", default="", help="such as 'world model,random'")
    words.add_argument("--out", type=Path)
    asked = words.parse_args()
    from unlabeled.runs import Run
    from unlabeled.transfer.planning import Planner, Search

    how = Search(asked.way, asked.horizon, asked.samples)
    run = Run.open(asked.run)
    planner = Planner.from_run(asked.run, -np.ones(2), np.ones(2), how)
    names = asked.only.split(",") if asked.only else None
    rows = []
    for name in names or ways(run, planner, [], asked):
        starts = [begin(TRIALS + i) for i in range(asked.episodes)]
        began = time.monotonic()
        act = ways(run, planner, [env for env, _, _ in starts], asked)[name]()
        ends = tried(act, starts)
        hits = float((ends < NEAR).mean())
        low, high = wilson(hits, len(ends))
        rows.append({"way": name, "success": hits, "low": low, "high": high,
                     "metres": float(ends.mean()),
                     "seconds": time.monotonic() - began})  # fmt: skip
        print(f"{name:<16} {hits:.2f} ({low:.2f} to {high:.2f}), {1000 * ends.mean():.0f} mm, "
              f"{rows[-1]['seconds']:.0f} s", flush=True)  # fmt: skip
        if asked.out:
            asked.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
