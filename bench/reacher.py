"""Behaviour cloning on Reacher: success against the number of demonstrations.

    python bench/reacher.py logs play PLAY --episodes 1000
    python bench/reacher.py logs expert DEMOS --episodes 50
    unlabeled pretrain PLAY --method mtm --time 5m --out RUN
    python bench/reacher.py clone RUN DEMOS --counts 1,2,5,10,20 --draws 3 --out scores.json

Reacher-v5 of gymnasium: an arm with two joints touches a point. In play it moves to postures of
its own choosing, changed at random times, whatever the point is; no one demonstrates anything.
The expert knows the arm's lengths: inverse kinematics, the nearer of the two elbows, and a
critically damped controller of the joints, with a little noise.

An episode of 50 steps succeeds if the fingertip is within 2 cm of the point at its end; the sum of
the radii of tip and point is 1.9 cm. All policies are tried on the same 100 starts and points,
which no demonstration has. So are random actions and the expert itself: floor and ceiling of the
curve, printed below it. Ten further demonstrations choose rate and length of training for all
ways alike, and are not counted. An interval is the wider, on each side, of a bootstrap over draws
and episodes and of Wilson's for one draw's episodes: a bootstrap alone is empty at 0 and 1. Needs
`pip install "unlabeled[simulation]"` and no screen.
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

NAMES = (
    "cos_0", "cos_1", "sin_0", "sin_1", "target_x", "target_y", "speed_0", "speed_1",
    "to_target_x", "to_target_y",
)  # fmt: skip
STEPS, NEAR, FURTHER, STARTS = 50, 0.02, 10, 100
UPPER, FORE, GEAR, STIFF, DAMP = 0.1, 0.11, 200.0, 60.0, 14.0
TRIALS = 900_000
"""First seed of the episodes that policies are tried on."""


def posture(state: np.ndarray) -> np.ndarray:
    """Return the joint angles of an observation."""
    return np.arctan2(state[2:4], state[:2])


def control(error: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """Return the torque that brings joints to rest at the wanted posture."""
    return np.clip((STIFF * error - DAMP * speed) / GEAR, -1, 1)


def wanted(state: np.ndarray) -> np.ndarray:
    """Return by how much the joints must turn for the tip to touch the point: the lesser way."""
    now = posture(state)
    x, y = state[4:6]
    reach = np.clip(np.hypot(x, y), abs(FORE - UPPER) + 1e-6, UPPER + FORE - 1e-6)
    bend = np.arccos(np.clip((reach**2 - UPPER**2 - FORE**2) / (2 * UPPER * FORE), -1, 1))
    ways = []
    for elbow in (bend, -bend):
        swing = np.arctan2(y, x) - np.arctan2(FORE * np.sin(elbow), UPPER + FORE * np.cos(elbow))
        turn = np.array([(swing - now[0] + np.pi) % (2 * np.pi) - np.pi, elbow - now[1]])
        ways.append(turn)
    return min(ways, key=lambda turn: float(np.abs(turn).sum()))


def expert(state: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return what the expert does, a little shaky."""
    return np.clip(control(wanted(state), state[6:8]) + rng.normal(0, 0.02, 2), -1, 1)


class Player:
    """Moves to postures of its own choosing."""

    def __init__(self) -> None:
        self.goal, self.until = np.zeros(2), -1

    def __call__(self, step: int, state: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return what it does at a step."""
        if step > self.until:
            self.goal = rng.uniform([-np.pi, -2.8], [np.pi, 2.8])
            self.until = step + int(rng.integers(10, 40))
        turn = self.goal - posture(state)
        turn[0] = (turn[0] + np.pi) % (2 * np.pi) - np.pi
        return np.clip(control(turn, state[6:8]) + rng.normal(0, 0.05, 2), -1, 1)


def episode(env: Any, seed: int, play: bool) -> dict[str, np.ndarray]:
    """Return the columns of one episode."""
    rng, player, rows = np.random.default_rng(seed), Player(), []
    state, _ = env.reset(seed=seed)
    for step in range(STEPS):
        action = player(step, state, rng) if play else expert(state, rng)
        rows.append(np.concatenate([[0.02 * step], state, action]))
        state = env.step(action)[0]
    names = ("time", *(f"observation.{n}" for n in NAMES), "action.shoulder", "action.elbow")
    return dict(zip(names, np.asarray(rows, np.float32).T, strict=True))


def write(out: Path, who: str, count: int, seed: int) -> None:
    """Write one parquet file an episode."""
    import gymnasium
    import pyarrow as pa
    import pyarrow.parquet as pq

    env = gymnasium.make("Reacher-v5")
    out.mkdir(parents=True, exist_ok=True)
    first = 1_000_000 * (1 + seed) + (500_000 if who == "expert" else 0)
    for i in range(count):
        columns = episode(env, first + i, who == "play")
        pq.write_table(pa.table(columns), out / f"{i:05d}.parquet")


@cache
def rooms(count: int) -> list[Any]:
    """Return environments; each is begun anew for every policy."""
    import gymnasium

    return [gymnasium.make("Reacher-v5") for _ in range(count)]


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of independent episodes (Wilson, 1927)."""
    z = 1.959964
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * (share * (1 - share) / count + (z / (2 * count)) ** 2) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def distances(act: Any, starts: int) -> np.ndarray:
    """Return how far the tip is from the point at the end of episodes, in metres.

    Args:
        act: (B, T, S) observations up to now -> (B, A).
        starts: B.
    """
    envs = rooms(starts)
    seen = [[env.reset(seed=TRIALS + i)[0] for i, env in enumerate(envs)]]
    for _ in range(STEPS):
        actions = act(np.asarray(seen, np.float32).swapaxes(0, 1))
        states = [env.step(a)[0] for env, a in zip(envs, np.asarray(actions), strict=True)]
        seen.append(states)
    return np.hypot(*np.asarray(seen[-1])[:, 8:10].T)


def interval(hits: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % interval of a mean over draws and episodes, (D, E).

    Draws share their episodes, so more of them make the episodes no more than E.
    """
    D, E = hits.shape  # noqa: N806
    means = [hits[rng.integers(0, D, D)][:, rng.integers(0, E, E)].mean() for _ in range(2000)]
    low, high = wilson(float(hits.mean()), E)
    return min(low, float(np.quantile(means, 0.025))), max(high, float(np.quantile(means, 0.975)))


def clone(asked: argparse.Namespace) -> None:
    """Learn from few demonstrations in every way and try what was learned."""
    from unlabeled.rng import order
    from unlabeled.runs import Run
    from unlabeled.transfer import cloning
    from unlabeled.transfer.policy import Policy

    run = Run.open(asked.run)
    modality: Any = run.modality()
    logs, _ = cloning.demonstrations(run, asked.demos)
    past = cloning.history(run)
    further = cloning.Windows(modality, logs[:FURTHER], past)
    rng = np.random.default_rng(0)
    noise = np.random.default_rng(1)
    bounds: dict[str, Any] = {
        "random actions": lambda x: noise.uniform(-1, 1, (len(x), 2)),
        "expert": lambda x: np.stack([expert(s[-1], noise) for s in x]),
    }
    rows = [scored(None, name, distances(act, STARTS)[None], rng) for name, act in bounds.items()]
    for count in (int(n) for n in asked.counts.split(",")):
        for arm in asked.arms.split(","):
            ends = []
            for draw in range(asked.draws):
                chosen = FURTHER + order(draw, 7, len(logs) - FURTHER)[:count]
                learned = cloning.Windows(modality, [logs[i] for i in chosen], past)
                net, _ = cloning.learn(run, arm, learned, further, quick=asked.quick, seed=draw)
                ends.append(distances(Policy(net, modality, past).act, STARTS))
            rows.append(scored(count, arm, np.asarray(ends), rng))
            if asked.out:
                asked.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print("\n" + table(rows))


def scored(
    count: int | None, arm: str, ends: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    """Print and return how often a way succeeds; ends (D, E) metres, no count for a bound."""
    hits = ends < NEAR
    low, high = interval(hits, rng)
    print(
        f"{count or '':>3} {arm:<18} {hits.mean():.2f} ({low:.2f} to {high:.2f}), "
        f"{1000 * ends.mean():.0f} mm", flush=True,
    )  # fmt: skip
    return {
        "demonstrations": count, "arm": arm, "success": float(hits.mean()), "low": low,
        "high": high, "draws": hits.mean(1).tolist(), "metres": float(ends.mean()),
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Return the curve: a way a line, then what random actions and the expert have.

    >>> made = [{"demonstrations": n, "arm": a, "success": s} for n, a, s in
    ...         ((None, "expert", 1.0), (5, "frozen", 0.25), (10, "frozen", 0.5))]
    >>> print(table(made))
    success with            5   10
    frozen                .25  .50
    expert               1.00 1.00
    """
    counts = sorted({row["demonstrations"] for row in rows if row["demonstrations"]})
    found = {(row["arm"], row["demonstrations"]): row["success"] for row in rows}
    bounds = [row["arm"] for row in rows if row["demonstrations"] is None]
    arms = [a for a in dict.fromkeys(row["arm"] for row in rows) if a not in bounds]
    lines = [f"{'success with':<20}" + "".join(f"{count:>5}" for count in counts)]
    for arm in (*arms, *bounds):
        shares = [found.get((arm, count), found.get((arm, None))) for count in counts]
        lines.append(f"{arm:<20}" + "".join(f"{_share(share):>5}" for share in shares))
    return "\n".join(lines)


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}".removeprefix("0")


def require() -> None:
    """Say what is missing where there is no simulation.

    Raises:
        SystemExit: it is.
    """
    if not (find_spec("gymnasium") and find_spec("mujoco")):
        raise SystemExit(
            "Success is counted in a simulation, which needs gymnasium and mujoco: "
            'pip install "unlabeled[simulation]". Skipped.'
        )


def main() -> None:
    """Read the command line."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = words.add_subparsers(dest="verb", required=True)
    logs = verbs.add_parser("logs")
    logs.add_argument("who", choices=("play", "expert"))
    logs.add_argument("out", type=Path)
    logs.add_argument("--episodes", type=int, default=1000)
    logs.add_argument("--seed", type=int, default=0)
    learn = verbs.add_parser("clone")
    learn.add_argument("run", type=Path)
    learn.add_argument("demos")
    learn.add_argument("--counts", default="1,2,5,10,20")
    learn.add_argument("--draws", type=int, default=3)
    learn.add_argument("--arms", default="frozen,fine-tuned,from scratch,observation alone")
    learn.add_argument("--quick", action="store_true", help="short trainings without a search")
    learn.add_argument("--out", type=Path)
    asked = words.parse_args()
    require()
    if asked.verb == "clone":
        clone(asked)
    else:
        write(asked.out, asked.who, asked.episodes, asked.seed)


if __name__ == "__main__":
    main()
