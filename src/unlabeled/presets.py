"""What was found to suit short runs on a CPU, with where it was found. Data, not code.

The papers' settings are made for hundreds of passes over the data. A run of minutes makes a few,
and is better with other values; each stands here with its evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SMALL_SECONDS, FULL_SECONDS = 240.0, 3 * 3600.0
"""Budgets on a CPU below which a network of half the depth, and of half the width, is chosen."""

FINE_SECONDS = 3000.0
"""Of one core in fp32: from here on a map of full resolution is worth its time."""

SPEED_UP: Mapping[str | None, float] = {"AMX": 4.0, "AVX512-BF16": 1.5}
"""What fast bf16 makes of a core, about."""


@dataclass(frozen=True)
class Preset:
    """Values for short runs.

    Args:
        options: of the method.
        lr: at a batch of 256, instead of the recipe's.
        optim: further values of the optimiser, instead of the recipe's.
        evidence: where the comparison is written down.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    lr: float | None = None
    optim: Mapping[str, Any] = field(default_factory=dict)
    evidence: str = ""


SHORT: Mapping[str, Preset] = {
    "simclr": Preset({"temperature": 0.2, "crop": 0.2}, 0.4, evidence="docs/log.md, 2026-11-23"),
    "dino": Preset(
        {
            "norm_head": True,
            "balance": "sinkhorn",
            "out_dim": 128,
            "frozen_last": 0.0,
            "momentum": 0.95,
            "first_temperature": 0.005,
            "teacher_temperature": 0.005,
        },
        2e-3,
        {"weight_decay_end": 0.04},
        "docs/log.md, 2026-11-25, why DINO stays at ln K",
    ),
    "swav": Preset(
        {"num_prototypes": 128, "queue": 0, "epsilon": 0.01},
        0.4,
        evidence="docs/log.md, 2026-11-25",
    ),
}
"""By method. One that is not here keeps its recipe: nothing better was found, or sought."""


def coarse(seconds: float, cores: int, unit: str | None) -> bool:
    """Tell whether even small images are shrunk four times by a ResNet's own stem.

    It makes a step seven times cheaper. Until there is time for some hundred thousand images at
    full resolution, more passes are worth more (docs/log.md, 2026-11-25).

    Args:
        seconds: of the budget.
        cores: of the CPU.
        unit: what makes bf16 products fast, see `device.fast_bf16`.
    """
    return seconds * cores * SPEED_UP.get(unit, 1.0) < FINE_SECONDS


def network(seconds: float) -> dict[str, Any]:
    """Return arguments of timm's ResNet-18 for a budget on a CPU; none for a long one."""
    if seconds > FULL_SECONDS:
        return {}
    options: dict[str, Any] = {"channels": [32, 64, 128, 256]}
    if seconds < SMALL_SECONDS:
        options["layers"] = [1, 1, 1, 1]
    return options
