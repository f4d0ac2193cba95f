"""A light decoder of patch features: two 3 x 3 convolutions beside the linear probe.

It begins as the probe (the convolutions' last layer is zero) and is trained for as many steps as
annotated images that were left out speak for: with none, or where they prefer it, it stays the
probe. As in DPT's and DINOv2's evaluations a patch sees its neighbours (arXiv:2304.07193, section
7.4), with one scale and few weights, since few images are annotated.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from unlabeled import rng
from unlabeled.transfer.probe import Scaler
from unlabeled.transfer.segments import linear, mean_iou, shares

STOPS = (0, 25, 50, 100)
"""Steps that are tried; after none it is the linear probe."""
FEWEST = 4
"""Annotated images that there must be for some to be left out."""
WIDTH, RATE, DECAY, BATCH, FINER = 64, 2e-3, 0.05, 8, 4


class Decoder(nn.Module):
    """A linear classifier of patches, and what their neighbours add.

    Args:
        dim: D.
        num_classes: K.
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Conv2d(dim, num_classes, 1)
        self.near = nn.Sequential(
            nn.Conv2d(dim, WIDTH, 3, padding=1), nn.GELU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.GELU(),
            nn.Conv2d(WIDTH, num_classes, 1),
        )  # fmt: skip
        last = self.near[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of patches, (B, D, H, W) -> (B, K, H, W)."""
        found: Tensor = self.linear(x) + self.near(x)
        return found

    @torch.no_grad()
    def begin(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        """Begin as a linear probe, (D, K) and (K,)."""
        assert self.linear.bias is not None
        self.linear.weight.copy_(torch.from_numpy(weight.T.copy())[..., None, None])
        self.linear.bias.copy_(torch.from_numpy(bias))


def decode(
    maps: Tensor, masks: Tensor, others: Tensor, num_classes: int, seed: int = 0
) -> tuple[Tensor, int]:
    """Fit a decoder to annotated images and score others.

    Args:
        maps: (A, H, W, D) patch features of annotated images.
        masks: (A, E, E).
        others: (M, H, W, D).
        num_classes: K.
        seed: of new weights and of the order of images.

    Returns:
        (M, H, W, K) logits, and the steps that were chosen.
    """
    steps = _chosen(maps, masks, num_classes, seed)
    fitted = _fitted(maps, masks, others, num_classes, (steps,), seed)
    return fitted[0], steps


def _chosen(maps: Tensor, masks: Tensor, num_classes: int, seed: int) -> int:
    """Return the steps that are best on a quarter of the annotated images; fewer win ties."""
    if len(maps) < FEWEST:
        return 0
    checked = max(1, len(maps) // 4)
    rest = slice(checked, None)
    found = _fitted(maps[rest], masks[rest], maps[:checked], num_classes, STOPS, seed)
    gained = [mean_iou(scores, masks[:checked]) for scores in found]
    return STOPS[int(np.argmax(gained))]


def _fitted(
    maps: Tensor, masks: Tensor, others: Tensor, num_classes: int, stops: tuple[int, ...], seed: int
) -> list[Tensor]:
    """Return the logits of others after each number of steps."""
    scaler, *begun = linear(maps, masks, num_classes)
    width = maps.shape[-1] ** 0.5  # rows of length about 1 are for penalties, not for networks
    x, asked = (_scaled(one, scaler) * width for one in (maps, others))  # (., D, H, W)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.mix(seed, len(maps)) >> 1)
        model = Decoder(x.shape[1], num_classes)
        model.begin(begun[0] / width, begun[1])
        fine = shares(masks, min(FINER * x.shape[-1], masks.shape[-1]), num_classes)
        optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
        found = []
        for step in range(max(stops) + 1):
            if step in stops:
                with torch.inference_mode():
                    parts = [model(part) for part in asked.split(64)]
                found.append(torch.cat(parts).permute(0, 2, 3, 1))
            if step < max(stops):
                _step(model, optimiser, x, fine, (seed, step), max(stops))
    return found


def _scaled(maps: Tensor, scaler: Scaler) -> Tensor:
    flat = scaler(maps.flatten(0, 2).numpy())
    return torch.from_numpy(np.asarray(flat, np.float32)).view(maps.shape).permute(0, 3, 1, 2)


def _step(
    model: Decoder,
    optimiser: torch.optim.Optimizer,
    x: Tensor,
    fine: Tensor,
    key: tuple[int, int],
    last: int,
) -> None:
    """Make one step on a few images; the rate rises for a tenth of the steps."""
    seed, step = key
    order = rng.order(seed, step, len(x))[:BATCH]
    rows = torch.from_numpy(np.asarray(order, np.int64))
    logits = functional.interpolate(
        model(x[rows]), fine.shape[1:3], mode="bilinear", align_corners=False
    )
    aim = fine[rows].permute(0, 3, 1, 2)  # (B, K, F, F); sums to 0 where nothing is said
    loss = -(aim * logits.log_softmax(1)).sum() / aim.sum().clamp_min(1)
    for group in optimiser.param_groups:
        group["lr"] = RATE * min(1.0, (step + 1) / max(1.0, 0.1 * last))
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
