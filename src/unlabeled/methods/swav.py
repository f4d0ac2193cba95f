"""SwAV: from one crop, guess which prototypes another crop of the image was assigned to.

Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
NeurIPS 2020, arXiv:2006.09882.

Departures: fewer prototypes and crops and narrower heads for small data (the authors':
num_prototypes=3000 num_local=6 hidden_dim=2048 queue=3840); small crops are larger, as small
images need (split=0.14). The queue is one over all ranks, of which each works on its share, and
it is used once it is filled. Prototypes are brought back to unit length after a step instead of
before it, and are held still for the first `frozen_last` of the run instead of an epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from unlabeled.device import rank, world
from unlabeled.encoders.base import Encoder
from unlabeled.health import projected
from unlabeled.method import Method, MethodConfig
from unlabeled.methods.fit import require_tiles
from unlabeled.modalities.base import Modality
from unlabeled.nn.distill import distill
from unlabeled.nn.heads import perceptron
from unlabeled.nn.precision import full, no_autocast
from unlabeled.nn.queue import Queue
from unlabeled.nn.sinkhorn import sinkhorn
from unlabeled.types import Batch, Loss, View


class SwAV(Method):
    """Swapped prediction of cluster assignments."""

    couples_samples = True
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "sgd",
        "lr": 0.12,
        "lr_rule": "linear",
        "batch": 256,
        "weight_decay": 5e-4,
        "momentum": 0.9,
        "warmup": 0.05,
    }

    class Config(MethodConfig):
        """Options of SwAV."""

        num_prototypes: int = Field(512, gt=1, description="K; 3000 for a million images")
        temperature: float = Field(0.1, gt=0, description="of the guesses")
        epsilon: float = Field(0.05, gt=0, description="temperature of the assignments")
        iterations: int = Field(3, ge=1, description="of Sinkhorn-Knopp")
        queue: int = Field(2048, ge=0, description="earlier samples that are assigned too")
        queue_start: float = Field(0.1, ge=0, le=1, description="progress at which they are used")
        frozen_last: float = Field(
            0.01, ge=0, le=1, description="share of the run in which prototypes stay"
        )
        hidden_dim: int = Field(512, gt=0, description="width inside the projector")
        out_dim: int = Field(128, gt=0, description="width of a projection")
        num_local: int = Field(4, ge=0, description="small crops a sample")
        local_size: float = Field(0.5, gt=0, le=1, description="edge of small crops")
        split: float = Field(0.3, gt=0, lt=1, description="share that parts small from large crops")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        c = self.config = config
        self.encoder = encoder
        encoder.open_branches()  # as the authors' ResNets begin (zero_init_residual=False)
        for view in self.views().values():
            require_tiles(encoder, modality, view)
        self.projector = perceptron(encoder.dim, c.hidden_dim, c.out_dim, 2)
        self.prototypes = nn.Parameter(torch.empty(c.num_prototypes, c.out_dim))  # (K, out_dim)
        nn.init.normal_(self.prototypes)
        self.queues = [Queue(c.queue, c.out_dim) for _ in range(2 if c.queue else 0)]
        self.queue = nn.ModuleList(self.queues)  # one a large crop
        self._shorten()

    def views(self) -> dict[str, View]:
        """Return two large crops and small ones."""
        c = self.config
        look = partial(View, flip=True, distort=0.5, grey=0.2, blur=(0.5,))
        views = {"global": look(2, (c.split if c.num_local else 0.14, 1.0))}
        if c.num_local:
            views["local"] = look(c.num_local, (0.05, c.split), c.local_size)
        return views

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Guess the assignments of each large crop from all other crops (Eq. 2)."""
        features = [self.encoder(batch[kind].flatten(0, 1)) for kind in self.views()]
        told = self.projector(torch.cat(features))
        unit = F.normalize(full(told), dim=-1).view(-1, len(batch), self.config.out_dim)
        scores = self._score(unit)  # (V, B, K)
        targets = torch.stack([self._assign(view, scores, unit, progress) for view in (0, 1)])
        found = distill(targets, scores, self.config.temperature)
        for queue, rows in zip(self.queues, unit, strict=False):
            queue.hear(rows)
        parts = {name: x for name, x in found._asdict().items() if name != "loss"}
        return Loss(found.loss, {**parts, **projected(unit[0])})

    def _score(self, unit: Tensor) -> Tensor:
        with no_autocast(unit):
            return unit @ self.prototypes.to(unit.dtype).T

    @torch.no_grad()
    def _assign(self, view: int, scores: Tensor, unit: Tensor, progress: float) -> Tensor:
        """Return the assignments of a large crop, (B, K), shared out with those of its queue."""
        c, own = self.config, scores[view]
        if c.queue and progress >= c.queue_start and self.queues[view].filled:
            mine = self.queues[view].rows[rank() :: world()]
            own = torch.cat([self._score(mine.to(unit.dtype)), own])
        return sinkhorn(own, c.epsilon, c.iterations)[-scores.shape[1] :]

    @torch.no_grad()
    def _shorten(self) -> None:
        self.prototypes.copy_(F.normalize(self.prototypes, dim=-1))

    def after_step(self, progress: float) -> None:
        """Push the large crops of this step, and bring prototypes back to unit length."""
        for queue in self.queues:
            queue.move()
        self._shorten()

    def param_groups(self) -> list[dict[str, Any]]:
        """Hold the prototypes still at first, so that features settle before they do."""
        first, rest = super().param_groups()
        first["params"] = [p for p in first["params"] if p is not self.prototypes]
        held = {"params": [self.prototypes], "frozen_until": self.config.frozen_last}
        return [first, rest, held]

    def num_prototypes(self) -> int:
        """Return K."""
        return self.config.num_prototypes

    def chance(self, batch_size: int) -> float:
        """Return ln K: all prototypes are as likely."""
        return math.log(self.config.num_prototypes)
