"""What methods learn from 20,000 images: k-NN and linear probe after the same number of samples.

    python bench/short_runs.py CIFAR10-TRAIN.parquet [--arms simclr,moco] [--steps 160] [--seed 0]

A ResNet of half depth and quarter width (0.3 million parameters), batches of 128, fp32, one
thread. 6 % of the file are held out; 2,000 of these are told by 5,000 labelled images of the rest
(k-NN of 20), and by logistic regression on 50 labels a class, the mean of 3 draws. Choices are made
on the train split alone; its labels are used after training. CPU seconds are of the steps.

With --label-free it also measures, halfway and at the end, what `evaluate` tells without labels,
and ends with Spearman's rank correlation of each number with the two scores, over arms and
untrained; intervals are of 2,000 bootstrap copies of the arms (both points of an arm together).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import nn

from unlabeled import rng
from unlabeled.choices import Request
from unlabeled.gradients import backward, clip, refuse_non_finite
from unlabeled.plan import plan
from unlabeled.prepare import prepare
from unlabeled.state import batches, build
from unlabeled.transfer import knn, probe, quality
from unlabeled.transfer.features import Inputs, of_inputs

NET = {"channels": [16, 32, 64, 128], "layers": [1, 1, 1, 1]}
SHARP = {"norm_head": True, "frozen_last": 0, "momentum": 0.98, "out_dim": 1024}
STEADY = {"lr": 1e-3, "weight_decay_end": 0.04}
PAPER = {
    "norm_head": False, "balance": "centre", "out_dim": 2048, "frozen_last": 0.01,
    "momentum": 0.996, "first_temperature": 0.04, "teacher_temperature": 0.07,
}  # fmt: skip
ARMS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "simclr": ("simclr", {"temperature": 0.2, "crop": 0.2}, {"lr": 0.2}),
    "dino": ("dino", PAPER, {"lr": 2.5e-4, "weight_decay_end": 0.4}),
    "dino-norm": (
        "dino", {**PAPER, "norm_head": True, "momentum": 0.99, "frozen_last": 0},
        {"lr": 2.5e-4, "weight_decay_end": 0.4},
    ),
    "dino-sharp": (
        "dino", {**PAPER, **SHARP, "first_temperature": 0.04, "teacher_temperature": 0.04}, STEADY,
    ),
    "dino-sinkhorn": (
        "dino",
        {**PAPER, **SHARP, "momentum": 0.95, "out_dim": 512, "balance": "sinkhorn",
         "first_temperature": 0.02, "teacher_temperature": 0.02},
        STEADY,
    ),
    "dino-one-prototype": (
        "dino",
        {**PAPER, **SHARP, "momentum": 0.9, "out_dim": 256,
         "first_temperature": 0.02, "teacher_temperature": 0.02},
        {**STEADY, "lr": 2e-3},
    ),
    "moco": ("moco", {}, {"lr": 0.06}),
    "moco-faster": ("moco", {}, {"lr": 0.12}),
    "moco-quick-teacher": ("moco", {"queue": 1024, "momentum": 0.95}, {"lr": 0.06}),
    "moco-quick-faster": (
        "moco", {"queue": 1024, "momentum": 0.95, "temperature": 0.2}, {"lr": 0.2},
    ),
    "mocov3": ("mocov3", {"momentum": 0.97}, {"lr": 0.2}),
    "byol": ("byol", {"momentum": 0.97}, {"lr": 0.2}),
    "nnclr": ("nnclr", {"queue": 1024, "temperature": 0.2}, {"lr": 0.2}),
    "barlow": ("barlow", {"out_dim": 512}, {"lr": 0.2}),
    "vicreg": ("vicreg", {"out_dim": 512}, {"lr": 0.06}),
    "simsiam": ("simsiam", {}, {"lr": 0.1}),
    "swav": ("swav", {"num_prototypes": 128, "queue": 0, "epsilon": 0.05}, {"lr": 0.2}),
    "swav-sharp": ("swav", {"num_prototypes": 128, "queue": 0, "epsilon": 0.01}, {"lr": 0.2}),
    "lejepa": ("lejepa", {}, {}),
}  # fmt: skip


class Trial:
    """One method in a short run.

    Args:
        data: parquet of images with a column ``label``.
        arm: of `ARMS`.
        steps: of 128 samples.
        seed: of the run.
        folder: where the split is kept.
    """

    def __init__(self, data: Path, arm: str, steps: int, seed: int, folder: Path) -> None:
        method, options, optim = ARMS[arm]
        over = {
            "method": options, "optim": optim, "encoder": {"options": NET},
            "loop": {"batch": 128, "seed": seed, "threads": 1, "precision": "fp32"},
            "data": {"held_out": 0.06, "deduplicate": False},
        }  # fmt: skip
        request = Request(str(data), method=method, steps=steps, kind="image", overrides=over)
        planned = plan(request)
        self.config, self.source = planned.config, planned.source
        self.data = prepare(self.config, folder)
        self.state = build(self.config, folder, self.data)
        self.labels = pq.read_table(data, columns=["label"])["label"].to_numpy()
        mix = np.random.default_rng(1)
        self.known = mix.permutation(np.load(folder / "data" / "pool.npy"))[:5000]
        self.asked = mix.permutation(np.load(folder / "data" / "held_out.npy"))[:2000]

    def train(self, until: int) -> float:
        """Take steps until so many are taken; returns CPU seconds."""
        state, steps = self.state, self.config.loop.steps
        begun = time.process_time()
        for batch in batches(state):
            progress = state.step / steps
            state.optim.set(progress + 0.5 / steps)
            torch.manual_seed(rng.mix(self.config.loop.seed, state.step, 0) >> 1)
            loss, _ = backward(state.method, batch, progress, state)
            norm = clip(state.optim, progress, self.config.optim.clip)
            refuse_non_finite(state, batch, loss, norm)
            state.optim.step()
            state.optim.zero()
            state.step += 1
            state.method.after_step(state.step / steps)
            if state.step >= until:
                break
        return time.process_time() - begun

    def scores(self, network: nn.Module) -> tuple[float, float]:
        """Return accuracies on held-out images: k-NN, and the probe with 50 labels a class."""
        y, truth = self.labels[self.known], self.labels[self.asked]
        known, asked = (
            of_inputs(network, Inputs(self.source, rows, self.data.modality))
            for rows in (self.known, self.asked)
        )
        near = float((knn.predict(known, y, asked, 10, 20) == truth).mean())
        found = []
        for draw in range(3):
            places = [np.flatnonzero(y == c)[50 * draw : 50 * draw + 50] for c in range(10)]
            rows = np.concatenate(places)
            scale = probe.Scaler.fit(known[rows])
            fitted = probe.fit(scale(known[rows]), y[rows], 10)
            found.append(float((fitted.predict(scale(asked)) == truth).mean()))
        return near, float(np.mean(found))

    def quality(self, network: nn.Module) -> dict[str, float]:
        """Return what can be told of features of held-out images without labels."""
        inputs = Inputs(self.source, self.asked, self.data.modality)
        first = next(iter(self.state.method.views().values()))
        view = replace(self.state.method.views().get("global", first), count=1, size=1.0)
        return quality.of_encoder(network, of_inputs(network, inputs), inputs, view)

    def point(self, label_free: bool) -> dict[str, float]:
        """Return all that is measured of the encoder as it is now."""
        network = self.state.method.exported()
        near, line = self.scores(network)
        more = self.quality(network) if label_free else {}
        return {"k-NN": near, "probe": line, **more}


def agreement(points: dict[str, list[dict[str, float]]]) -> list[str]:
    """Return rank correlations with the scores, a line for each number."""
    random, arms = np.random.default_rng(0), list(points)
    copies = [arms, *([*random.choice(arms, len(arms))] for _ in range(2000))]
    lines = []
    for score in ("k-NN", "probe"):
        found: dict[str, list[float]] = {}
        for copy in copies:
            rows = [row for arm in copy for row in points[arm]]
            said = quality.agreement(rows, [row[score] for row in rows])
            for name, value in said.items():
                found.setdefault(name, []).append(value)
        for name, values in found.items():
            low, high = np.quantile(values[1:], [0.025, 0.975])
            lines.append(f"{name:14} with {score:6} {values[0]:5.2f}  ({low:.2f} to {high:.2f})")
    return lines


def main() -> None:
    """Print a row for each arm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--label-free", action="store_true")
    given = parser.parse_args()
    points: dict[str, list[dict[str, float]]] = {}
    for arm in given.arms.split(","):
        with tempfile.TemporaryDirectory() as folder:
            trial = Trial(given.data, arm, given.steps, given.seed, Path(folder))
            if not points:
                points["untrained"] = [trial.point(given.label_free)]
                tell("untrained", 0, points["untrained"][0])
            points[arm], seconds = [], 0.0
            for until in (given.steps // 2, given.steps) if given.label_free else (given.steps,):
                seconds += trial.train(until)
                points[arm].append(trial.point(given.label_free))
                tell(arm, seconds, points[arm][-1])
    if given.label_free:
        print("\n".join(agreement(points)))


def tell(arm: str, seconds: float, point: dict[str, float]) -> None:
    """Print what was measured."""
    said = "  ".join(f"{name} {value:.3f}" for name, value in point.items())
    print(f"{arm:20} {said}  {seconds:6.0f} CPU seconds", flush=True)


if __name__ == "__main__":
    main()
