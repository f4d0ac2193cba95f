"""Runs of 300 steps on 256 drawn images, as collapse is forced on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.loop.running import small_config
from unlabeled import loop
from unlabeled.config import RunConfig
from unlabeled.errors import TrainingError


def long_config(
    method: str, data: Path, rate: float, optimiser: str = "adamw", seed: int = 0, **options: Any
) -> RunConfig:
    """Return the configuration of a run that is watched every 20 steps."""
    config = small_config(
        method, data, steps=300, batch=32, health_steps=20, save_steps=10**6,
        stop_on_collapse=True, seed=seed,
    )  # fmt: skip
    moved = {"lr": rate, "name": optimiser, "warmup": 0.05}
    return config.model_copy(
        update={
            "method": {**config.method, **options},
            "optim": config.optim.model_copy(update=moved),
        }
    )


def caught(config: RunConfig, out: Path) -> str:
    """Return what a run that must be stopped is stopped with."""
    with pytest.raises(TrainingError) as error:
        loop.pretrain(config, out, quiet=True)
    return str(error.value)
