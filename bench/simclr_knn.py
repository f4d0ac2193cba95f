"""SimCLR's features after equal time: a plain loop of lightly's parts, and ours.

    python bench/simclr_knn.py TRAIN.parquet TEST.parquet [--minutes 15] [--batch 256]

Both train ResNet-18 with CIFAR stem, one after the other, in a process of its own, with a cosine
schedule over the time; the peer as in bench/simclr.py (its images are decoded beforehand), ours
with the values that `unlabeled pretrain` takes for short runs. The score is that of lightly's
benchmark: k-NN with 200 neighbours weighted by exp(cosine / 0.1), all labels of the train file,
accuracy on the test file. Run it on an otherwise idle machine: it takes twice the minutes, and
some for reading.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from side_by_side import MEAN, STD, Ours, pictures
from simclr import plain_loop
from torch import Tensor, nn

from unlabeled.config import EncoderConfig, OptimConfig
from unlabeled.presets import SHORT


def arrays(path: Path) -> Tensor:
    """Return all images as the networks see them without distortion, (N, 3, 32, 32)."""
    x = torch.from_numpy(np.stack([np.asarray(image) for image in pictures(path)]))
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return ((x / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


@torch.inference_mode()
def accuracy(network: Callable[[Tensor], Tensor], train: Path, test: Path) -> float:
    """Return the share of test images whose weighted neighbours are of their class."""
    features = [
        F.normalize(torch.cat([network(x).float() for x in arrays(p).split(500)])).T
        for p in (train, test)
    ]
    y, asked = (
        torch.from_numpy(pq.read_table(p, columns=["label"])["label"].to_numpy())
        for p in (train, test)
    )
    right = 0
    for queries, want in zip(features[1].T.split(500), asked.split(500), strict=True):
        near, index = (queries @ features[0]).topk(200)
        votes = torch.zeros(len(queries), int(y.max()) + 1)
        votes.scatter_add_(1, y[index], (near / 0.1).exp())
        right += int((votes.argmax(1) == want).sum())
    return right / len(asked)


def peer(train: Path, test: Path, batch: int, seconds: float) -> tuple[int, float]:
    """Train lightly's parts; returns steps and accuracy."""
    step, features, optimiser = plain_loop(train, batch, 0, None)
    peak = optimiser.param_groups[0]["lr"]
    steps, begun = 0, time.monotonic()
    while (spent := time.monotonic() - begun) < seconds:
        optimiser.param_groups[0]["lr"] = peak * (1 + math.cos(math.pi * spent / seconds)) / 2
        step()
        steps += 1
    return steps, accuracy(features.eval(), train, test)


def unlabeled(train: Path, test: Path, batch: int, seconds: float) -> tuple[int, float]:
    """Train ours; returns steps and accuracy."""
    preset = SHORT["simclr"]
    assert preset.lr is not None
    ours = Ours(
        train, "simclr", dict(preset.options),
        EncoderConfig(name="timm:resnet18", small_stem=True),
        OptimConfig(name="sgd", lr=preset.lr * batch / 256, weight_decay=5e-4), batch,
    )  # fmt: skip
    steps, begun = 0, time.monotonic()
    while (spent := time.monotonic() - begun) < seconds:
        ours.step(spent / seconds)
        steps += 1
    network: nn.Module = ours.method.encoder.eval()
    return steps, accuracy(network, train, test)


def serve(pipe: Any, arm: Callable[..., tuple[int, float]], args: tuple[Any, ...]) -> None:
    """Run an arm in this process."""
    pipe.send(arm(*args))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path, help="parquet file of images with labels")
    parser.add_argument("test", type=Path, help="the same, for the score")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--batch", type=int, default=256)
    given = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for name, arm in (("lightly, plain loop", peer), ("unlabeled", unlabeled)):
        ours, theirs = context.Pipe()
        args = (given.train, given.test, given.batch, 60 * given.minutes)
        process = context.Process(target=serve, args=(theirs, arm, args))
        process.start()
        steps, score = ours.recv()
        process.join()
        print(f"{name:24} {steps:6} steps of {given.batch}   k-NN {score:.4f}", flush=True)
    print(f"{given.minutes:g} minutes each, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
