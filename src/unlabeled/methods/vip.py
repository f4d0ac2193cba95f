"""VIP: the distance of two frames is how long it takes to come from one to the other.

Ma et al., "VIP: Towards Universal Visual Reward and Representation via Value-Implicit
Pre-Training", ICLR 2023, arXiv:2210.00030, section 4 and algorithm 1.

The value of a frame, given a later frame of its clip as a goal, is minus their distance. First
frames are drawn to their goals; and between two frames in a row it must grow by about one step's
cost, by the dual of reinforcement learning with a bounded distance from the data, which needs no
action. Along a clip features then come to a goal without detours: a reward, and a network for
single pictures, such as a policy reads.

Departures: a step is one between frames that are seen (modality.stride); values are not scaled by
1 / (1 - discount); no goals of other clips; a rate for short runs (the authors': optim.lr=1e-4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from unlabeled.encoders.base import Encoder
from unlabeled.health import projected
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_stills
from unlabeled.modalities.base import Modality
from unlabeled.nn.distance import distances, size
from unlabeled.nn.gather import gather_rows
from unlabeled.nn.moments import at, between, rising
from unlabeled.nn.precision import full
from unlabeled.types import Batch, Loss, View


class VIP(Method):
    """Values of frames on the way to a goal."""

    encoder: Any  # one that looks at frames apart
    modalities = ("video",)
    needs = "stills"
    couples_samples = True
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 1e-3,
        "batch": 64,
        "weight_decay": 1e-4,
        "warmup": 0.05,
    }

    class Config(MethodConfig):
        """Options of VIP."""

        discount: float = Field(0.98, ge=0, lt=1, description="of a step")
        small: float = Field(1e-3, ge=0, description="weight of the features' length (L2)")
        sparse: float = Field(1e-3, ge=0, description="weight of the features' sum (L1)")
        crop: float = Field(0.4, gt=0, le=1, description="smallest share of a frame in a view")
        distort: float = Field(0.0, ge=0, description="strength of colour distortion, clips apart")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_stills("vip", encoder, 2)
        self.config, self.encoder = config, encoder

    def views(self) -> dict[str, View]:
        """Return one crop; the frames of a clip are cut and distorted alike."""
        return {"global": View(extent=(self.config.crop, 1.0), flip=True,
                               distort=self.config.distort)}  # fmt: skip

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the objective of algorithm 1, and the size of features."""
        c, clips = self.config, batch["global"][0]  # (B, T, C, H, W)
        first, goal = rising(batch.keys, clips.shape[1], 2).unbind(1)  # (B,) each
        now = between(batch.keys, first, goal)
        places = torch.stack([first, now, now + 1, goal], 1)
        z = full(self.encoder.embed(at(clips, places)))  # (B, 4, D)
        value = -distances(z[:, :3], z[:, 3:])  # (B, 3)
        total = self.objective(value) + size(z, c.small, c.sparse)
        rises = (value[:, 2] > value[:, 1]).float().mean()
        return Loss(total, {"nearer": rises.detach(), **projected(z.flatten(0, 1))})

    def objective(self, value: Tensor) -> Tensor:
        """Return (1 - g) E[-V(first)] + log E[exp(V(now) + 1 - g V(next))].

        Args:
            value: (B, 3) of the first frame, of one on the way, and of the one after it.
        """
        g = self.config.discount
        first, now, after = gather_rows(value).unbind(1)  # the mean inside is over all ranks
        surplus = now + 1 - g * after
        return -(1 - g) * first.mean() + surplus.logsumexp(0) - math.log(len(surplus))

    def chance(self, batch_size: int) -> float:
        """Return 1, the loss of features that are all alike."""
        return 1.0
