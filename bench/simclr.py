"""SimCLR with ResNet-18 on CIFAR-10: a plain loop of lightly's parts, and ours.

    python bench/simclr.py DATA [--batch 256] [--steps 4] [--rounds 3] [--workers 0]

The peer is lightly's CIFAR-10 benchmark: its ResNet-18 with CIFAR stem, projection head, NTXent
loss (temperature 0.5) and SimCLR transform without blur, SGD, fp32. Its images are decoded
beforehand; ours are decoded in the step. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from lightly.loss import NTXentLoss
from lightly.models import ResNetGenerator
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from side_by_side import MEAN, STD, Arm, Ours, compare, forever, pictures
from torch import nn
from torch.utils.data import DataLoader

from unlabeled.config import EncoderConfig, OptimConfig


def lightly(path: Path, batch: int, workers: int) -> Callable[[], float]:
    torch.manual_seed(0)
    resnet = ResNetGenerator("resnet-18")
    features = nn.Sequential(*list(resnet.children())[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(features, SimCLRProjectionHead(512, 512, 128)).train()
    criterion = NTXentLoss(0.5)
    optimiser = torch.optim.SGD(
        model.parameters(), 0.06 * batch / 128, momentum=0.9, weight_decay=5e-4
    )
    transform = SimCLRTransform(
        32, cj_strength=0.5, gaussian_blur=0.0,
        normalize={"mean": list(MEAN), "std": list(STD)},
    )  # fmt: skip
    images = pictures(path, 10_000)
    loader = DataLoader(
        [*images], batch_size=batch, shuffle=True, drop_last=True, num_workers=workers,
        collate_fn=lambda rows: [torch.stack(v) for v in zip(*map(transform, rows), strict=True)],
    )  # fmt: skip
    batches = forever(lambda: iter(loader))

    def step() -> float:
        one, two = next(batches)
        loss = criterion(model(one), model(two))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()
        return batch

    return step


def unlabeled(path: Path, batch: int) -> Ours:
    return Ours(
        path, "simclr", {},
        EncoderConfig(name="timm:resnet18", small_stem=True),
        OptimConfig(name="sgd", lr=0.06 * batch / 128, weight_decay=5e-4),
        batch,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder or parquet file of CIFAR-10's images")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="of the peer's loader")
    args = parser.parse_args()
    peer = Arm("lightly, plain loop", lightly, args.data, args.batch, args.workers)
    ours = partial(unlabeled, args.data, args.batch)
    compare(peer, ours, args.batch, args.steps, args.rounds)


if __name__ == "__main__":
    main()
