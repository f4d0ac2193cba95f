"""Moments of recordings and logs without a network: what lies around them, for a linear reading.

Of recordings the log-mel frames on both sides; of logs the values of a token and mean, deviation
and mean absolute step of what lies around it. How far is looked is chosen on the validation part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from unlabeled.modalities import logmel
from unlabeled.transfer.frame_rows import FrameRows
from unlabeled.transfer.tag_features import Values
from unlabeled.transfer.tagging import TagMaterial

REACHES, MOST_FRAMES = (0.1, 0.3, 0.8), 11
"""Seconds to each side of a frame of sound, and how many frames, spread evenly, are looked at."""
AROUND = (1, 4, 16)
"""Tokens to each side of a token of a log."""
_FAR = 1e3


class Around:
    """Plain features of items: what is described of their tokens and of some beside them.

    Args:
        known: what is labelled; its parts are `FrameRows`.
        describe: returns the description (N, M) of the N tokens of each sample.
        offsets: tokens beside an item that are looked at; beyond the ends stand the last ones.
    """

    sizes = None

    def __init__(
        self,
        known: TagMaterial,
        describe: Callable[[FrameRows], list[Values]],
        offsets: Sequence[int] = (0,),
    ) -> None:
        self.known, self._describe, self.offsets = known, describe, np.asarray(offsets)

    @cached_property
    def _train(self) -> list[Values]:
        return self._describe(cast("FrameRows", self.known.train))

    def _of(self, rows: FrameRows, kept: list[Values], items: NDArray[np.int64]) -> Values:
        flat, counts = np.concatenate(kept), np.array([len(part) for part in kept])
        first = (np.cumsum(counts) - counts)[rows.sample[items]]
        place = rows.token[items, None] + self.offsets
        most = (counts[rows.sample[items]] - 1)[:, None]
        found = flat[first[:, None] + np.clip(place, 0, most)]  # (W, O, M)
        return cast("Values", found.reshape(len(items), 1, -1))

    def train(self, chosen: NDArray[np.int64]) -> Values:
        """Return features of some of what is labelled, (W, 1, O M)."""
        rows = cast("FrameRows", self.known.train)
        return self._of(rows, self._train, rows.items_of(chosen))

    @cached_property
    def checked(self) -> Values:
        """Return features of the validation part."""
        return self.train(self.known.validation)

    @cached_property
    def asked(self) -> Values:
        """Return features of the test part."""
        rows = cast("FrameRows", self.known.test)
        return self._of(rows, self._describe(rows), np.arange(len(rows.labels)))


def of_sound(known: TagMaterial) -> dict[str, Around]:
    """Return log-mel frames around each token, by how far is looked."""
    step = cast("FrameRows", known.train).clock.step
    found: dict[str, Around] = {}
    for reach in REACHES:
        far = max(1, round(reach / step))
        offsets = np.unique(np.linspace(-far, far, MOST_FRAMES).round().astype(np.int64))
        found[f"{reach:g} s"] = Around(known, _log_mel, offsets.tolist())
    return found


def of_logs(known: TagMaterial) -> dict[str, Around]:
    """Return values of each token and statistics around it, by how far is looked."""
    stack = cast("FrameRows", known.train).clock.stack
    return {f"{far * stack} steps": Around(known, partial(_windows, far=far)) for far in AROUND}


def _log_mel(rows: FrameRows) -> list[Values]:
    """Return the mean log-mel frame of each token, a sample at a time, (N, M)."""
    config: Any = rows.modality.config
    found = []
    for raw in rows.samples:
        mel = raw
        if config.form == "wave":
            wave = torch.from_numpy(raw)
            mel = logmel.log_mel(wave, config.rate, config.mels, config.scale).numpy()
        count = rows.clock.count(len(raw))
        stack = max(1, round(rows.clock.step / logmel.STEP))
        found.append(_joined(mel.astype(np.float32), stack, count).mean(1))
    return found


def _joined(x: Values, stack: int, count: int) -> Values:
    """Return the rows of each token, (T, M) -> (count, stack, M); the last row is repeated."""
    places = np.minimum(np.arange(count * stack), len(x) - 1)
    found: Values = x[places].reshape(count, stack, -1)
    return found


def _windows(rows: FrameRows, far: int) -> list[Values]:
    """Return of each token values and trend, and of `far` tokens to each side statistics.

    (N, 5 C): mean of the token, its last value minus its first; of what lies around mean,
    deviation, and mean absolute step. What is missing counts for nothing.
    """
    config: Any = rows.modality.config
    mean, std = np.asarray(config.mean), np.asarray(config.std)
    stack = rows.clock.stack
    found = []
    for raw in rows.samples:
        scaled = np.clip((raw - mean) / std, -_FAR, _FAR)
        count = rows.clock.count(len(raw))
        token = _joined(scaled.astype(np.float32), stack, count)
        edges = np.arange(count)[:, None] * stack + np.array([0, stack])
        near = _sums(scaled, edges)
        around = edges + np.array([-far, far]) * stack
        middle, square = (_sums(x, around) for x in (scaled, np.square(scaled)))
        steps = np.abs(np.diff(scaled, axis=0, prepend=scaled[:1]))
        spread = np.sqrt(np.maximum(square - np.square(middle), 0))
        trend = np.nan_to_num(token[:, -1] - token[:, 0])
        parts = [near, trend, middle, spread, _sums(steps, around)]
        found.append(np.concatenate(parts, axis=1).astype(np.float32))
    return found


def _sums(x: NDArray[Any], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return means of what is there between edges, (T, C) and (N, 2) -> (N, C).

    >>> _sums(np.array([[1.0], [np.nan], [5.0]]), np.array([[0, 2], [-4, 9]])).tolist()
    [[1.0], [3.0]]
    """
    there = ~np.isnan(x)
    low, high = np.clip(edges, 0, len(x)).T
    total, count = (
        np.concatenate([np.zeros((1, x.shape[1])), part.cumsum(0, dtype=np.float64)])
        for part in (np.where(there, x, 0.0), there)
    )
    return cast(
        "NDArray[np.float64]", (total[high] - total[low]) / np.maximum(count[high] - count[low], 1)
    )
