"""SimCLR with ResNet-18 on CIFAR-10: a plain loop of lightly's parts, and ours.

    python bench/simclr.py DATA [--batch 256] [--steps 4] [--rounds 3] [--workers 0]

The peer is lightly's CIFAR-10 benchmark: its ResNet-18 with CIFAR stem, projection head, NTXent
loss (temperature 0.5) and SimCLR transform without blur, SGD, fp32. Images are decoded before
both sides start, as they are from the second pass of a run of ours on; what the first pass costs
more is printed. Run it on an otherwise idle machine.
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
from side_by_side import MEAN, SOME, STD, Arm, Ours, compare, forever, pictures
from torch import nn
from torch.utils.data import DataLoader

from unlabeled.config import EncoderConfig, OptimConfig


def plain_loop(
    path: Path, batch: int, workers: int, limit: int | None
) -> tuple[Callable[[], None], nn.Module, torch.optim.Optimizer]:
    """Return lightly's step, its network without the head, and the optimiser."""
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
    loader = DataLoader(
        [*pictures(path, limit)], batch_size=batch, shuffle=True, drop_last=True,
        num_workers=workers,
        collate_fn=lambda rows: [torch.stack(v) for v in zip(*map(transform, rows), strict=True)],
    )  # fmt: skip
    batches = forever(lambda: iter(loader))

    def step() -> None:
        one, two = next(batches)
        loss = criterion(model(one), model(two))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()

    return step, features, optimiser


def lightly(path: Path, batch: int, workers: int) -> Callable[[], float]:
    step, _, _ = plain_loop(path, batch, workers, SOME)

    def counted() -> float:
        step()
        return batch

    return counted


def unlabeled(path: Path, batch: int) -> Ours:
    return Ours(
        path, "simclr", {},
        EncoderConfig(name="timm:resnet18", small_stem=True),
        OptimConfig(name="sgd", lr=0.06 * batch / 128, weight_decay=5e-4),
        batch, limit=SOME,
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
