"""MAE with ViT-Tiny/4 at 32 pixels: a plain loop around transformers' model, and ours.

    python bench/mae.py DATA [--batch 256] [--steps 4] [--rounds 3] [--workers 0]

The peer is `ViTMAEForPreTraining` with torchvision's crop and flip, AdamW, fp32. Both sides have
the same encoder and the same decoder. Images are decoded before both sides start, as they are from
the second pass of a run of ours on; what the first pass costs more is printed. Run it on an
otherwise idle machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from side_by_side import MEAN, SOME, STD, Arm, Ours, compare, forever, pictures
from torch.utils.data import DataLoader
from torchvision import transforms
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from unlabeled.config import EncoderConfig, OptimConfig


def peer(path: Path, batch: int, workers: int, heads: int, depth: int) -> Callable[[], float]:
    torch.manual_seed(0)
    config = ViTMAEConfig(
        hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768,
        image_size=32, patch_size=4, decoder_hidden_size=32 * heads,
        decoder_num_attention_heads=heads, decoder_num_hidden_layers=depth,
        decoder_intermediate_size=128 * heads, norm_pix_loss=True,
    )  # fmt: skip
    model = ViTMAEForPreTraining(config).train()
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3, betas=(0.9, 0.95), weight_decay=0.05)
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(32, (0.2, 1.0), interpolation=3),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    loader = DataLoader(
        [*pictures(path, SOME)], batch_size=batch, shuffle=True, drop_last=True,
        num_workers=workers, collate_fn=lambda rows: torch.stack([*map(transform, rows)]),
    )  # fmt: skip
    batches = forever(lambda: iter(loader))

    def step() -> float:
        loss = model(next(batches)).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()
        return batch

    return step


def unlabeled(path: Path, batch: int, heads: int, depth: int) -> Ours:
    return Ours(
        path, "mae", {"decoder_heads": heads, "decoder_depth": depth},
        EncoderConfig(name="timm:vit_tiny_patch16_224", patch=4),
        OptimConfig(name="adamw", lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05),
        batch, limit=SOME,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder or parquet file of CIFAR-10's images")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="of the peer's loader")
    parser.add_argument("--heads", type=int, default=4, help="of the decoder, 32 wide each")
    parser.add_argument("--depth", type=int, default=2, help="of the decoder")
    args = parser.parse_args()
    decoder = (args.heads, args.depth)
    other = Arm("transformers, plain loop", peer, args.data, args.batch, args.workers, *decoder)
    compare(
        other,
        partial(unlabeled, args.data, args.batch, *decoder),
        args.batch,
        args.steps,
        args.rounds,
    )


if __name__ == "__main__":
    main()
