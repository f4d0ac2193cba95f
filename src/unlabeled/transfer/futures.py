"""Windows of logs with what came after them, read from the disk a piece at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlabeled.errors import DataError
from unlabeled.modalities.series import Series
from unlabeled.modalities.stretch import Stretch
from unlabeled.rng import generator, mix
from unlabeled.types import PLAIN

Values = NDArray[np.float32]
_WHOLE = 1 << 16
"""Rows of an episode that are read at once; of a longer one each window is read by itself."""


class Span(NamedTuple):
    """Rows of one episode.

    Args:
        episode: its number in the source.
        stretch: where they lie.
    """

    episode: int
    stretch: Stretch

    @property
    def rows(self) -> int:
        """Return how many rows there are."""
        return self.stretch.stop - self.stretch.start

    def cut(self, first: float, last: float) -> Span:
        """Return the rows between two shares of the time."""
        log, start, _ = _of(self)
        edges = (start + round(self.rows * share) for share in (first, last))
        return Span(self.episode, Stretch(log, *edges))


def spans(source: Any, episodes: NDArray[np.int64] | None = None) -> list[Span]:
    """Return the whole episodes of a source of logs; those that cannot be opened are left out.

    Args:
        source: `data.logs.Logs`.
        episodes: which of them; None is all.
    """
    groups = source.groups
    found: dict[int, Span] = {}
    for index in np.flatnonzero(np.isin(groups, groups if episodes is None else episodes)):
        group = int(groups[index])
        try:
            piece = source.payload(int(index))
        except DataError:
            continue
        first = found[group].stretch.start if group in found else piece.start
        found[group] = Span(group, Stretch(piece.log, first, piece.stop))
    return list(found.values())


@dataclass(frozen=True)
class Windows:
    """Histories and futures.

    Args:
        x: (N, L, 2 C) normalised channels and their flags, as an encoder sees them.
        y: (N, H, S) normalised observations of the steps after, NaN where missing.
        episode: (N,) of which episode a window is.
        left_out: why windows were left out, and how often.
    """

    x: Tensor
    y: Values
    episode: NDArray[np.int64]
    left_out: Counter[str]

    def __len__(self) -> int:
        """Return N."""
        return len(self.x)

    @cached_property
    def filled(self) -> Values:
        """Return histories whose gaps hold what was known last, 0 before that, (N, L, C)."""
        values, flags = (part.numpy() for part in self.x.chunk(2, -1))
        steps = np.arange(values.shape[1])[None, :, None]
        last = np.maximum.accumulate(np.where(flags > 0.5, steps, 0), axis=1)
        found: Values = np.take_along_axis(values, last, axis=1)
        return found


def collect(
    modality: Series, spans: Sequence[Span], history: int, ahead: int, most: int, seed: int
) -> Windows:
    """Read windows that are spread evenly over episodes.

    Args:
        modality: names and normalises the channels.
        spans: where they may lie; no window crosses the end of one.
        history: L, steps that are seen.
        ahead: H, steps that are asked for.
        most: windows at the most.
        seed: of where inside its stretch of time each one begins.
    """
    states = len(modality.config.observations)
    room = [max(0, span.rows - history - ahead + 1) for span in spans]
    stride = max(1, -(-sum(room) // most))
    kept: list[Values] = []
    episodes: list[int] = []
    bad: Counter[str] = Counter()
    for number, (span, count) in enumerate(zip(spans, room, strict=True)):
        places = _places(count, stride, mix(seed, number))
        try:
            for window in _read(modality, span, places, history + ahead):
                if np.isnan(window[:history]).mean() <= modality.config.missing:
                    kept.append(window)
                    episodes.append(span.episode)
                else:
                    bad["more of them is missing than modality.missing allows"] += 1
        except DataError as error:
            bad[str(error)] += 1
    channels = len(modality.channels)
    both = np.stack(kept) if kept else np.zeros((0, history + ahead, channels), np.float32)
    keys = torch.zeros(len(both), dtype=torch.int64)
    x = modality.distort(torch.from_numpy(both)[None], PLAIN, keys)[0]  # (N, L + H, 2 C)
    y = x[:, history:, :states].numpy().copy()
    y[x[:, history:, channels : channels + states].numpy() < 0.5] = np.nan
    return Windows(x[:, :history].contiguous(), y, np.asarray(episodes, np.int64), bad)


def _places(count: int, stride: int, seed: int) -> NDArray[np.int64]:
    """Return one place in each stretch of `stride`, not the same in all: logs have periods."""
    starts = np.arange(0, count, stride)
    widths = np.minimum(stride, count - starts)
    return np.asarray(starts + (generator(seed).random(len(starts)) * widths).astype(np.int64))


def _read(modality: Series, span: Span, places: NDArray[np.int64], length: int) -> Iterator[Values]:
    """Yield windows of a span.

    Raises:
        DataError: its rows cannot be read.
    """
    if not len(places):
        return
    names, (log, start, _) = modality.channels, _of(span)
    whole = span.stretch.read(names) if span.rows <= _WHOLE else None
    for place in places.tolist():
        if whole is not None:
            yield whole[place : place + length]
        else:
            yield Stretch(log, start + place, start + place + length).read(names)


def _of(span: Span) -> tuple[Any, int, int]:
    return span.stretch.log, span.stretch.start, span.stretch.stop
