"""A queue of rows from earlier batches: more negatives, or neighbours, than a batch holds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlabeled.nn.gather import gather_rows
from unlabeled.nn.precision import full, no_autocast


class Queue(nn.Module):
    """The last K unit rows that were pushed, the same on every rank.

    He et al., 2020 (arXiv:1911.05722), section 3.1. It starts with random directions. What a
    loss wants to push is noted with `hear`, which changes nothing that a loss reads; `move`
    pushes it, once after each step, with what the other ranks heard. So a batch that is worked
    on in parts sees one queue, and the order of parts does not matter to the loss.

    Args:
        size: K, >= 1. A step that hears more rows keeps the last K.
        dim: D, width of a row.
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.rows: Tensor
        self.next: Tensor
        self.pushed: Tensor
        self.register_buffer("rows", F.normalize(torch.randn(size, dim), dim=-1))  # (K, D)
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))  # the oldest row
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))
        self._heard: list[Tensor] = []

    @property
    def filled(self) -> bool:
        """Whether no random row is left."""
        return int(self.pushed) >= len(self.rows)

    @torch.no_grad()
    def nearest(self, x: Tensor) -> Tensor:
        """Return for each row of `x`, (B, D), the row of the queue with the largest cosine."""
        x = full(x)
        with no_autocast(x):
            rows = self.rows.to(x.dtype)
            found: Tensor = rows[(x @ rows.T).argmax(1)]
        return found

    def hear(self, rows: Tensor) -> None:
        """Note rows of this rank, (B, D), for `move`, in training; they are normalised."""
        if self.training:
            self._heard.append(F.normalize(rows.detach().to(self.rows.dtype), dim=-1))

    @torch.no_grad()
    def move(self) -> None:
        """Push what all ranks heard since the last time, in rank order, over the oldest rows."""
        if not self._heard:
            return
        new = gather_rows(torch.cat(self._heard))  # (world * B, D)
        self._heard.clear()
        size = len(self.rows)
        count, new = len(new), new[-size:]
        start = self.next + count - len(new)
        place = (start + torch.arange(len(new), device=new.device)) % size
        self.rows[place] = new
        self.next.copy_((self.next + count) % size)
        self.pushed.add_(count)
