"""Things that have a tag, words or frames, each at its place in a row of tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unlabeled.data.tags import inside
from unlabeled.device import autocast, device, keep_memory
from unlabeled.errors import DataError
from unlabeled.transfer.features import best_precision
from unlabeled.types import PLAIN, View

IGNORED = -100
"""Stands where a token has no tag; torch's cross-entropy leaves it out."""


class TagRows:
    """N sentences, recordings or episodes with W tagged items; what `training.train` asks for.

    Attributes:
        source: what was labelled.
        modality: reads it.
        starts: (N + 1,) where the items of each begin among all.
        row: (W,) the row of each item.
        place: (W,) the place of its token in the row.
        labels: (W,) its tag.
        indices: (R,) numbers of the rows.
        width: T, tokens in a row.
    """

    source: Any
    modality: Any
    starts: NDArray[np.int64]
    row: NDArray[np.int64]
    place: NDArray[np.int64]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]
    width: int

    def __len__(self) -> int:
        """Return R."""
        return len(self.indices)

    def view(self, rows: NDArray[np.int64], view: View, keys: NDArray[np.int64]) -> Tensor:
        """Return rows as an encoder takes them, (B, ...).

        Args:
            rows: (B,) which.
            view: what is shown of them.
            keys: (B,) what the randomness of each comes from.
        """
        raise NotImplementedError

    def sizes(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how long rows are; those of about one length are read together."""
        raise NotImplementedError

    def rows_of(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows that some of the N fill."""
        found: NDArray[np.int64] = np.unique(self.row[self.items_of(chosen)])
        return found

    def items_of(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of all items of some of the N among all items."""
        return inside(self.starts, chosen)

    def tags(self) -> NDArray[np.int64]:
        """Return the tags where items lie, (R, T), else `IGNORED`."""
        found = np.full((len(self), self.width), IGNORED, dtype=np.int64)
        found[self.row, self.place] = self.labels
        return found

    def at_items(
        self, model: nn.Module, chosen: NDArray[np.int64] | None = None, batch: int = 64
    ) -> NDArray[np.float32]:
        """Return what `model` says at the items of some of the N, (W, ...), in their order.

        Args:
            model: rows (B, ...) -> (B, T, ...); features or scores of tokens.
            chosen: which; all by default.
            batch: rows at once.
        """
        keep_memory()
        where = device()
        model.to(where).eval()
        items = self.items_of(np.arange(len(self.starts) - 1) if chosen is None else chosen)
        rows, inverse = np.unique(self.row[items], return_inverse=True)
        order = np.argsort(self.sizes(rows), kind="stable")
        found: NDArray[np.float32] | None = None
        with torch.inference_mode(), autocast(best_precision(), where):
            for start in range(0, len(rows), batch):
                these = order[start : start + batch]
                mine = np.flatnonzero(np.isin(inverse, these))
                x = self.view(rows[these], PLAIN, np.zeros(len(these), np.int64)).to(where)
                local = np.argsort(these)[np.searchsorted(np.sort(these), inverse[mine])]
                said = model(x)[torch.as_tensor(local), torch.as_tensor(self.place[items[mine]])]
                if found is None:
                    found = np.empty((len(items), *said.shape[1:]), dtype=np.float32)
                found[mine] = said.float().cpu().numpy()
        if found is None or not np.isfinite(found).all():
            raise DataError("The encoder gives features that are not finite. Was its run healthy?")
        return found
