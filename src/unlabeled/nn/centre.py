"""What keeps a teacher's targets from all being one prototype: a centre, or Sinkhorn-Knopp."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unlabeled.nn.distill import sharpen
from unlabeled.nn.gather import sum_over_ranks
from unlabeled.nn.precision import full
from unlabeled.nn.sinkhorn import sinkhorn


class Centre(nn.Module):
    """Mean of what a teacher says, against one prototype taking all samples.

    Section 3.1 of Caron et al., 2021 (arXiv:2104.14294): ``c <- m c + (1 - m) mean of scores``,
    after the scores were used. Scores are added up as they come and the centre moves between
    steps, so that micro-batches and ranks give the centre of the whole batch.

    Args:
        num_prototypes: K.
        momentum: m in [0, 1].
    """

    def __init__(self, num_prototypes: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.value: Tensor
        self.register_buffer("value", torch.zeros(num_prototypes))
        self._heard: list[Tensor] = []  # sums of scores and their counts since a step

    def hear(self, scores: Tensor) -> None:
        """Add up scores (B, K) of this rank, B >= 0; does nothing in evaluation."""
        if self.training:
            scores = full(scores).detach()
            self._heard.append(torch.cat([scores.sum(0), scores.new_tensor([len(scores)])]))

    @torch.no_grad()
    def move(self) -> None:
        """Move towards the mean of what all ranks heard since the last time."""
        if self._heard:
            total = sum_over_ranks(torch.stack(self._heard).sum(0))  # (K + 1,)
            if total[-1] > 0:
                self.value.lerp_(total[:-1] / total[-1], 1 - self.momentum)
            self._heard.clear()


class Balance(nn.Module):
    """Turns a teacher's scores into targets that use all prototypes.

    Args:
        num_prototypes: K.
        kind: ``sinkhorn`` balances each batch over all ranks; ``centre`` subtracts a slow mean.
        momentum: of the centre.
    """

    def __init__(self, num_prototypes: int, kind: str, momentum: float = 0.9) -> None:
        super().__init__()
        self.centre = Centre(num_prototypes, momentum) if kind == "centre" else None

    def forward(self, scores: Tensor, temperature: float) -> Tensor:
        """Return targets, (B, K) -> (B, K), rows sum to 1; a centre hears the scores."""
        if self.centre is None:
            return sinkhorn(scores, temperature)
        self.centre.hear(scores)
        return sharpen(scores, self.centre.value, temperature)

    def move(self) -> None:
        """Move the centre, if there is one."""
        if self.centre is not None:
            self.centre.move()
