"""Recordings and logs as rows of tokens in which the label of every token is known.

Each is read whole, whatever its length, in windows that overlap by half; a token is read in the
window in whose middle it lies most, so that, the ends of a recording aside, it sees at least a
quarter of a window on both sides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlabeled import rng
from unlabeled.data.marks import NONE, Marked
from unlabeled.errors import DataError
from unlabeled.transfer.frame_clock import Clock
from unlabeled.transfer.tag_rows import IGNORED, TagRows
from unlabeled.types import View


class FrameRows(TagRows):
    """Tokens of recordings or episodes as an encoder takes them.

    Args:
        source: N recordings or episodes.
        modality: reads their samples.
        clock: when the tokens of the encoder are.
        every: whether tokens without a label are items too, of the tag `IGNORED`.

    Attributes:
        bad: names of samples that cannot be read, and why; their tokens are no items.
        samples: what was read of each sample, (T, ...).
        sample: (W,) which of them an item is of.
        token: (W,) its place among the tokens of the sample.
        moment: (W,) the middle of the token, in seconds or steps of the recording or episode.
    """

    def __init__(self, source: Marked, modality: Any, clock: Clock, every: bool = False) -> None:
        self.source, self.modality, self.clock, self.width = source, modality, clock, clock.room
        self.bad: list[tuple[str, str]] = []
        self.samples: list[NDArray[Any]] = []
        self._windows: list[tuple[int, int]] = []
        counts = [0]
        columns: list[list[NDArray[Any]]] = []
        for number, whole in enumerate(source.wholes):
            parts = [self._part(number, *part, every) for part in whole.parts]
            columns += [part for part in parts if part is not None]
            counts.append(sum(len(part[0]) for part in parts if part is not None))
        self.starts = np.cumsum(counts).astype(np.int64)
        joined = [np.concatenate(column) for column in zip(*columns, strict=True)]
        if not joined:
            joined = [np.zeros(0)] * 6
        self.row, self.place, self.labels, self.sample, self.token = (
            column.astype(np.int64) for column in joined[:5]
        )
        self.moment = joined[5].astype(np.float64)
        self.indices = np.arange(len(self._windows))

    def _part(
        self, number: int, index: int, begin: float, every: bool
    ) -> list[NDArray[Any]] | None:  # fmt: skip
        """Read a sample; return row, place, label, sample, token and moment of its items."""
        clock = self.clock
        try:
            raw = self.modality.read(self.source.source.payload(index))
        except DataError as error:
            self.bad.append((self.source.source.name(index), str(error)))
            self._windows.append((NONE, 0))  # every recording has a row, if one that none asks for
            return None
        count, first = clock.count(len(raw)), len(self._windows)
        firsts = np.asarray(clock.windows(count))
        self._windows += [(len(self.samples), place) for place in firsts.tolist()]
        self.samples.append(raw)
        moments = begin + clock.moments(count)  # (N, Q)
        labels = _most(self.source.at(number, moments))
        kept = np.arange(count) if every else np.flatnonzero(labels != IGNORED)
        window = clock.window_of(count)[kept]
        sample = np.full(len(kept), len(self.samples) - 1)
        return [first + window, kept - firsts[window], labels[kept], sample, kept,
                moments.mean(1)[kept]]  # fmt: skip

    def view(self, rows: NDArray[np.int64], view: View, keys: NDArray[np.int64]) -> Tensor:
        """Return windows, (B, ...); views that keep the whole of a window keep its time."""
        cuts = []
        for row, key in zip(rows.tolist(), keys.tolist(), strict=True):
            sample, first = self._windows[row]
            start = first * self.clock.stack
            piece = self.samples[sample][start : start + self.clock.span]
            cuts.append(self.modality.cut(piece, view, rng.generator(key)))
        stacked = torch.stack(cuts, dim=1)
        found: Tensor = self.modality.distort(stacked, view, torch.from_numpy(keys))[0]
        return found

    def sizes(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how long windows are: alike."""
        return np.full(len(rows), self.width)


def _most(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the label that most moments of a token have, the first of equals; (N, Q) -> (N,).

    >>> _most(np.array([[2, 0, 0], [1, NONE, NONE], [NONE, NONE, NONE], [3, 1, NONE]])).tolist()
    [0, 1, -100, 3]
    """
    votes = (labels[:, :, None] == labels[:, None, :]).sum(2)  # (N, Q) of each moment's label
    best = labels[np.arange(len(labels)), np.where(labels == NONE, -1, votes).argmax(1)]
    return np.where(best == NONE, IGNORED, best).astype(np.int64)
