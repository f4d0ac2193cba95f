"""What methods learn from 20,000 images: k-NN and linear probe after the same number of samples.

    python bench/short_runs.py CIFAR10-TRAIN.parquet [--arms simclr,moco] [--steps 160] [--seed 0]

A ResNet of half depth and quarter width (0.3 million parameters), batches of 128, fp32, one
thread. 6 % of the file are held out; 2,000 of these are told by 5,000 labelled images of the rest
(k-NN of 20), and by logistic regression on 50 labels a class, the mean of 3 draws. Choices are made
on the train split alone; its labels are used after training. CPU seconds are of the steps.

With --label-free it also measures, after a quarter, half and all of the steps, what `evaluate`
tells without labels, and ends with Spearman's rank correlation of each number with the
probe's score, over all points. `--keep docs/label-free/NAME.json` keeps the points for the table in
docs/results.md; `--samples FOLDER` takes the labelled part of a folder that `unlabeled demo NAME`
leaves in runs/samples instead of a parquet file. Samples with a `group` stay on one side.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from unlabeled import rng
from unlabeled.choices import Request
from unlabeled.gradients import backward, clip, refuse_non_finite
from unlabeled.plan import plan
from unlabeled.prepare import prepare
from unlabeled.state import batches, build
from unlabeled.transfer import agreement, knn, probe, quality
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
        held_out: share of the samples that are set aside.
    """

    def __init__(
        self, data: Path, arm: str, steps: int, seed: int, folder: Path, held_out: float = 0.06
    ) -> None:
        method, options, optim = ARMS[arm]
        over = {
            "method": options, "optim": optim, "encoder": {"options": NET},
            "loop": {"batch": 128, "seed": seed, "threads": 1, "precision": "fp32"},
            "data": {"held_out": held_out, "deduplicate": False},
        }  # fmt: skip
        if "group" in pq.read_schema(data).names:
            over["data"]["group"] = "group"
        request = Request(str(data), method=method, steps=steps, kind="image", overrides=over)
        planned = plan(request)
        self.config, self.source = planned.config, planned.source
        self.data = prepare(self.config, folder)
        self.state = build(self.config, folder, self.data)
        told = pq.read_table(data, columns=["label"])["label"].to_numpy()
        self.classes, self.labels = np.unique(told, return_inverse=True)
        mix = np.random.default_rng(1)
        self.known = mix.permutation(np.load(folder / "data" / "pool.npy"))[:5000]
        self.asked = mix.permutation(np.load(folder / "data" / "held_out.npy"))[:2000]

    def train(self, until: int) -> tuple[float, float]:
        """Take steps until so many are taken; returns CPU seconds, and the mean of the last losses.

        The losses are those of the last tenth of the steps that were taken so far.
        """
        state, steps = self.state, self.config.loop.steps
        begun, losses = time.process_time(), []
        for batch in batches(state):
            progress = state.step / steps
            state.optim.set(progress + 0.5 / steps)
            torch.manual_seed(rng.mix(self.config.loop.seed, state.step, 0) >> 1)
            loss, _ = backward(state.method, batch, progress, state)
            losses.append(float(loss))
            norm = clip(state.optim, progress, self.config.optim.clip)
            refuse_non_finite(state, batch, loss, norm)
            state.optim.step()
            state.optim.zero()
            state.step += 1
            state.method.after_step(state.step / steps)
            if state.step >= until:
                break
        return time.process_time() - begun, float(np.mean(losses[-max(1, until // 10) :]))

    def scores(self, network: nn.Module) -> tuple[float, float]:
        """Return accuracies on held-out images: k-NN, and the probe with 50 labels a class."""
        y, truth = self.labels[self.known], self.labels[self.asked]
        known, asked = (
            of_inputs(network, Inputs(self.source, rows, self.data.modality))
            for rows in (self.known, self.asked)
        )
        count = len(self.classes)
        near = float((knn.predict(known, y, asked, count, 20) == truth).mean())
        each = min(50, int(np.bincount(y).min()) // 3)
        found = []
        for draw in range(3):
            places = [np.flatnonzero(y == c)[each * draw : each * (draw + 1)] for c in range(count)]
            rows = np.concatenate(places)
            scale = probe.Scaler.fit(known[rows])
            fitted = probe.fit(scale(known[rows]), y[rows], count)
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


def table_of(samples: Path, most: int, place: Path) -> Path:
    """Write the labelled images of a sample folder as one parquet file, and return its path."""
    with (samples / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    mix = np.random.default_rng(0)
    key = "group" if rows[0].get("group") else "path"
    place_of = {name: i for i, name in enumerate(mix.permutation(sorted({r[key] for r in rows})))}
    rows = sorted(rows, key=lambda row: (place_of[row[key]], row["path"]))[:most]
    columns = {
        "image": [(samples / row["path"]).read_bytes() for row in rows],
        "label": [row["label"] for row in rows],
    }
    if key == "group":
        columns["group"] = [row["group"] for row in rows]
    path = place / f"{samples.name}.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def main() -> None:
    """Print a row for each arm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--samples", type=Path)
    parser.add_argument("--most", type=int, default=50_000, help="of --samples, group by group")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", type=float, default=0.06)
    parser.add_argument("--label-free", action="store_true")
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        data = given.data or table_of(given.samples, given.most, Path(place))
        points = measured(given, data)
    if given.keep is not None:
        name = (given.samples or data).name
        words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
        kept = {"data": name, "command": " ".join(["python bench/short_runs.py", *words])}
        text = json.dumps({**kept, "points": points}, indent=1)
        given.keep.write_text(text + "\n", encoding="utf-8")
    if given.label_free:
        told = {"": [agreement.of_row(row, "probe") for row in points]}
        for name, found in agreement.within(told).items():
            print(f"{name:14} {found.mean:5.2f}  ({found.low:.2f} to {found.high:.2f})")


def measured(given: argparse.Namespace, data: Path) -> list[dict[str, Any]]:
    """Train all arms, and return a row for each point of time of each, and for the untrained."""
    points: list[dict[str, Any]] = []
    ends = [given.steps // part for part in (4, 2, 1)] if given.label_free else [given.steps]
    for arm in given.arms.split(","):
        with tempfile.TemporaryDirectory() as folder:
            trial = Trial(data, arm, given.steps, given.seed, Path(folder), given.held_out)
            if not points:
                point = trial.point(given.label_free)
                points.append({"network": "untrained", "steps": 0, "seed": given.seed, **point})
                tell("untrained", 0, point)
            seconds = 0.0
            for until in ends:
                more, loss = trial.train(until)
                seconds += more
                point = {"loss": loss, **trial.point(given.label_free)}
                points.append({"network": arm, "steps": until, "seed": given.seed, **point})
                tell(f"{arm} {until}", seconds, point)
    return points


def tell(arm: str, seconds: float, point: dict[str, float]) -> None:
    """Print what was measured."""
    said = "  ".join(f"{name} {value:.3f}" for name, value in point.items())
    print(f"{arm:24} {said}  {seconds:6.0f} CPU seconds", flush=True)


if __name__ == "__main__":
    main()
