"""Behaviour cloning on Reacher from pictures alone, on features of a network that stays as it is.

    export MUJOCO_GL=egl
    python bench/reacher_pixels.py film play PLAY --episodes 300
    python bench/reacher_pixels.py film expert DEMOS --episodes 60
    unlabeled pretrain PLAY --kind image --time 10m --out RUN modality.flip=false
    python bench/reacher_pixels.py clone RUN DEMOS --counts 10,50 --draws 3 --out scores.json

The arm, the play, the expert and what counts as success are those of `reacher.py`; here a policy
sees no state but two pictures from above, this one and the one before. `film` draws them into a
folder an episode and writes a table of what was done at each (path, episode, actions; of Reacher
also the state). `clone` asks the table for no more than path, episode and columns `action...`: of
recorded frames of another robot it tells how much of the variance of actions is explained, and
counts success on the arm of Reacher alone. A small network from features to actions is learned in
the same way from the run's encoder, from the same encoder before training, from pictures made
small, and from the true state, which tells what pictures lose. Needs `pip install
"unlabeled[simulation]"` and a way to draw without a screen: MUJOCO_GL=egl (libegl1) or osmesa
(libosmesa6).
"""

from __future__ import annotations

import argparse
import copy
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import PIL.Image
import reacher
import torch

Told = Callable[[list[np.ndarray], np.ndarray], np.ndarray]
"""Pictures (H, W, 3) and states (N, S) -> what a policy is told of each, (N, D)."""

EDGE, SMALL, HEIGHT = 48, 12, 0.75
ARMS = ("frozen", "untrained", "small pictures", "state")


class Camera:
    """Looks at arms from above.

    Raises:
        SystemExit: nothing can be drawn here.
    """

    def __init__(self, env: Any) -> None:
        try:
            import mujoco

            self.draws = mujoco.Renderer(env.unwrapped.model, EDGE, EDGE)
            self.place = mujoco.MjvCamera()
        except Exception as error:  # each way of drawing fails in its own way
            raise SystemExit(
                f"Nothing can be drawn here ({error or type(error).__name__}; MUJOCO_GL is "
                f"{os.environ.get('MUJOCO_GL', 'not set')}). Try MUJOCO_GL=egl, which needs "
                "libegl1, or MUJOCO_GL=osmesa, which needs libosmesa6. Skipped."
            ) from None
        self.place.lookat[:] = 0.0
        self.place.distance, self.place.elevation, self.place.azimuth = HEIGHT, -90.0, 90.0

    def __call__(self, env: Any) -> np.ndarray:
        """Return what it sees of one, (H, W, 3) uint8."""
        self.draws.update_scene(env.unwrapped.data, self.place)
        return np.asarray(self.draws.render()).copy()


def film(who: str, out: Path, count: int, seed: int) -> None:
    """Draw episodes into folders, and write what was done beside them."""
    [env] = reacher.rooms(1)
    camera, rows = Camera(env), []
    first = 1_000_000 * (1 + seed) + (500_000 if who == "expert" else 0)
    for number in range(count):
        rng, player = np.random.default_rng(first + number), reacher.Player()
        state, _ = env.reset(seed=first + number)
        folder = out / f"{number:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        for step in range(reacher.STEPS):
            PIL.Image.fromarray(camera(env)).save(folder / f"{step:03d}.png")
            play = who == "play"
            action = player(step, state, rng) if play else reacher.expert(state, rng)
            done = dict(zip(("action.shoulder", "action.elbow"), action.round(6), strict=True))
            seen = {f"observation.{n}": v for n, v in zip(reacher.NAMES, state, strict=True)}
            path = f"{number:05d}/{step:03d}.png"
            rows.append({"path": path, "episode": number, **done, **seen})
            state = env.step(action)[0]
    pandas.DataFrame(rows).to_csv(out / "actions.csv", index=False)


@dataclass
class Steps:
    """Steps of episodes, as `training.train` asks for them: what was told, and what was done."""

    x: torch.Tensor
    y: np.ndarray
    modality: Any

    @property
    def indices(self) -> np.ndarray:
        """Return the number of each step."""
        return np.arange(len(self.y))

    def view(self, rows: np.ndarray, view: Any, keys: np.ndarray) -> torch.Tensor:
        """Return what was told of some, (B, 2 D)."""
        return self.x[torch.from_numpy(rows)]


def episodes(folder: Path) -> Iterator[tuple[list[np.ndarray], np.ndarray, np.ndarray]]:
    """Yield pictures, states (T, S) and actions (T, A) of the episodes of a table.

    Raises:
        SystemExit: it has no path, no episode, or no action.
    """
    table = pandas.read_csv(folder / "actions.csv")
    actions = [name for name in table if name.startswith("action")]
    if not actions or not {"path", "episode"} <= set(table):
        raise SystemExit(f"{folder}/actions.csv needs path, episode and columns action...")
    states = [name for name in table if name.startswith("observation.")]
    for _, rows in table.groupby("episode", sort=True):
        frames = [np.asarray(PIL.Image.open(folder / p).convert("RGB")) for p in rows["path"]]
        yield frames, rows[states].to_numpy(np.float32), rows[actions].to_numpy(np.float32)


def both(told: np.ndarray) -> np.ndarray:
    """Return what is told of each step of an episode and of the one before, (T, 2 D)."""
    return np.concatenate([told, told[np.maximum(np.arange(len(told)) - 1, 0)]], 1)


def ways(run_folder: Path) -> tuple[dict[str, Told], Any]:
    """Return what each way tells of pictures, and the run's modality."""
    from unlabeled import Encoder
    from unlabeled.runs import Run

    run, eye = Run.open(run_folder), Encoder.from_pretrained(run_folder)
    blank = Encoder(run.fresh(0), eye.modality, {}, run_folder)
    small = (SMALL, SMALL)
    return {
        "frozen": lambda frames, _: eye.encode(frames),
        "untrained": lambda frames, _: blank.encode(frames),
        "small pictures": lambda frames, _: np.stack(
            [np.asarray(PIL.Image.fromarray(f).resize(small)).ravel() / 255 for f in frames]
        ).astype(np.float32),
        "state": lambda _, states: states,
    }, eye.modality


def learn(learned: Steps, checked: Steps, quick: bool, seed: int) -> tuple[Any, float]:
    """Return a head, and its error on other demonstrations, which chose rate and length."""
    from unlabeled.transfer import cloning
    from unlabeled.transfer.policy import Head
    from unlabeled.transfer.training import Recipe, train
    from unlabeled.types import PLAIN

    best: tuple[Any, float] = None, np.inf
    stops = cloning.QUICK_STOPS if quick else cloning.STOPS
    for rate in cloning.QUICK_RATES if quick else cloning.RATES:
        torch.manual_seed(seed)
        head = Head(learned.x.shape[1], 0, learned.y.shape[1])
        head.standardise(learned.x)
        recipe = Recipe(rate, stops[-1], PLAIN, cloning.BATCH, decay=0.01)
        loss = torch.nn.functional.mse_loss
        for _, found in train(head, learned, learned.indices, learned.y, recipe, seed, stops, loss):
            missed = float(np.square(_said(found, checked.x) - checked.y).mean())
            if missed < best[1]:
                best = copy.deepcopy(found).cpu().eval(), missed
    return best


@torch.inference_mode()
def _said(head: Any, x: torch.Tensor) -> np.ndarray:
    where = next(head.parameters()).device
    return np.asarray(head(x.to(where)).cpu().numpy())


def ends(head: Any, tell: Told, starts: int, bounds: np.ndarray) -> np.ndarray:
    """Return how far the tip is from the point at the end of episodes, in metres."""
    envs = reacher.rooms(starts)
    states = [env.reset(seed=reacher.TRIALS + i)[0] for i, env in enumerate(envs)]
    camera, before = Camera(envs[0]), None
    for _ in range(reacher.STEPS):
        told = tell([camera(env) for env in envs], np.asarray(states, np.float32))
        x = np.concatenate([told, told if before is None else before], 1)
        before = told
        actions = np.clip(_said(head, torch.from_numpy(x)), *bounds)
        states = [env.step(a)[0] for env, a in zip(envs, actions, strict=True)]
    return np.hypot(*np.asarray(states)[:, 8:10].T)


def clone(asked: argparse.Namespace) -> None:
    """Learn from few demonstrations in every way and try what was learned."""
    from unlabeled.rng import order

    known, modality = ways(asked.run)
    demos = list(episodes(asked.demos))
    on_arm = demos[0][1].shape[1] == len(reacher.NAMES) and demos[0][2].shape[1] == 2
    rng, noise = np.random.default_rng(0), np.random.default_rng(1)
    floor_and_ceiling: dict[str, Any] = {
        "random actions": lambda x: noise.uniform(-1, 1, (len(x), 2)),
        "expert": lambda x: np.stack([reacher.expert(s[-1], noise) for s in x]),
    }
    rows = [
        reacher.scored(None, name, reacher.distances(act, asked.starts)[None], rng)
        for name, act in floor_and_ceiling.items()
        if on_arm
    ]
    for arm in asked.arms.split(","):
        if arm == "state" and not demos[0][1].shape[1]:
            print("state: the table has no columns observation..., so it is left out")
            continue
        told = [both(known[arm](frames, states)) for frames, states, _ in demos]

        def steps(chosen: Any, told: list[np.ndarray] = told) -> Steps:
            x = torch.from_numpy(np.concatenate([told[i] for i in chosen]))
            return Steps(x, np.concatenate([demos[i][2] for i in chosen]), modality)

        further = steps(range(asked.further))
        for count in (int(n) for n in asked.counts.split(",")):
            found = []
            for draw in range(asked.draws):
                chosen = asked.further + order(draw, 7, len(demos) - asked.further)[:count]
                learned = steps(chosen)
                head, missed = learn(learned, further, asked.quick, draw)
                spread = float(np.square(further.y - learned.y.mean(0)).mean())
                print(f"{count:3d} {arm:<18} explains {1 - missed / spread:.2f} of actions")
                bounds = np.stack([learned.y.min(0), learned.y.max(0)])
                if on_arm:
                    found.append(ends(head, known[arm], asked.starts, bounds))
            if not on_arm:
                continue
            rows.append(reacher.scored(count, arm, np.asarray(found), rng))
            if asked.out:
                asked.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if on_arm:
        print("\n" + reacher.table(rows))


def main() -> None:
    """Read the command line."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = words.add_subparsers(dest="verb", required=True)
    filming = verbs.add_parser("film")
    filming.add_argument("who", choices=("play", "expert"))
    filming.add_argument("out", type=Path)
    filming.add_argument("--episodes", type=int, default=300)
    filming.add_argument("--seed", type=int, default=0)
    trying = verbs.add_parser("clone")
    trying.add_argument("run", type=Path)
    trying.add_argument("demos", type=Path)
    trying.add_argument("--counts", default="10,50")
    trying.add_argument("--draws", type=int, default=3)
    trying.add_argument("--arms", default=",".join(ARMS))
    trying.add_argument("--starts", type=int, default=reacher.STARTS)
    trying.add_argument("--further", type=int, default=reacher.FURTHER)
    trying.add_argument("--quick", action="store_true", help="short trainings without a search")
    trying.add_argument("--out", type=Path)
    asked = words.parse_args()
    reacher.require()
    if asked.verb == "film":
        film(asked.who, asked.out, asked.episodes, asked.seed)
    else:
        clone(asked)


if __name__ == "__main__":
    main()
