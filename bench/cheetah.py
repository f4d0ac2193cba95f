"""Logs of a simulated robot whose physics changed: what a label curve of `series` is made on.

    python bench/cheetah.py LOGS --episodes 1200
    python bench/cheetah.py TEST --episodes 600 --seed 1

HalfCheetah-v5 of gymnasium walks with random smooth gaits under six conditions: as it is, a back
or a front thigh of half the strength, ground of half the friction, a torso of one and a half times
the mass, joints of one and a half times the damping. One parquet file an episode of 256 steps lies
in a folder named after its condition: 17 observations, 6 actions, the reward and the time. The
gait is drawn anew in every episode, so that the condition shows in how the body answers, not in
what it does. Needs `pip install "unlabeled[simulation]"` and no screen.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

JOINTS = ("bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot")
PLACES = ("height", "pitch", *JOINTS)
SPEEDS = ("speed_x", "speed_z", "speed_pitch", *(f"speed_{joint}" for joint in JOINTS))
STEPS = 256


def _weak(joint: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        model.actuator_gear[joint, 0] *= 0.5

    return change


def _slippery(model: Any) -> None:
    model.geom_friction[:, 0] *= 0.5


def _heavy(model: Any) -> None:
    torso = model.body("torso").id
    model.body_mass[torso] *= 1.5
    model.body_inertia[torso] *= 1.5


def _damped(model: Any) -> None:
    model.dof_damping[3:] *= 1.5


CONDITIONS: dict[str, Callable[[Any], None]] = {
    "nominal": lambda model: None,
    "weak_back_thigh": _weak(0),
    "weak_front_thigh": _weak(3),
    "slippery": _slippery,
    "heavy_torso": _heavy,
    "damped_joints": _damped,
}


def gait(rng: np.random.Generator) -> Callable[[int], np.ndarray]:
    """Return a smooth random policy: each joint swings with its own height, pace and phase."""
    size, pace = rng.uniform(0.2, 1.0, 6), rng.uniform(0.5, 3.0) * rng.uniform(0.8, 1.25, 6)
    phase, lean = rng.uniform(0, 2 * np.pi, 6), rng.uniform(-0.3, 0.3, 6)

    def act(step: int) -> np.ndarray:
        swing = size * np.sin(2 * np.pi * pace * step * 0.05 + phase) + lean
        return np.clip(swing + rng.normal(0, 0.1, 6), -1, 1).astype(np.float32)

    return act


def episode(env: Any, seed: int) -> dict[str, np.ndarray]:
    """Return the columns of one episode."""
    act = gait(np.random.default_rng(seed))
    state, _ = env.reset(seed=seed)
    rows: list[np.ndarray] = []
    for step in range(STEPS):
        action = act(step)
        following, reward, *_ = env.step(action)
        rows.append(np.concatenate([[step * 0.05], state, action, [reward]]))
        state = following
    names = (
        "time", *(f"observation.{name}" for name in (*PLACES, *SPEEDS)),
        *(f"action.{name}" for name in JOINTS), "reward",
    )  # fmt: skip
    return dict(zip(names, np.asarray(rows, np.float32).T, strict=True))


def main() -> None:
    """Write the logs."""
    import gymnasium
    import pyarrow as pa
    import pyarrow.parquet as pq

    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("out", type=Path)
    words.add_argument("--episodes", type=int, default=1200)
    words.add_argument("--seed", type=int, default=0)
    asked = words.parse_args()
    for number, (name, change) in enumerate(CONDITIONS.items()):
        env = gymnasium.make("HalfCheetah-v5")
        change(env.unwrapped.model)
        (asked.out / name).mkdir(parents=True, exist_ok=True)
        for i in range(asked.episodes // len(CONDITIONS)):
            columns = episode(env, 1_000_000 * asked.seed + 10_000 * number + i)
            pq.write_table(pa.table(columns), asked.out / name / f"{i:04d}.parquet")
        env.close()


if __name__ == "__main__":
    main()
