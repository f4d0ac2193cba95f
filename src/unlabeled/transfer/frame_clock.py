"""When the tokens of an encoder are: from frames, samples or steps to moments of time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.errors import UsageError
from unlabeled.modalities import logmel


@dataclass(frozen=True)
class Clock:
    """Token n of a sample stands for the moments ``n * step + asked`` after its beginning.

    Args:
        step: from token to token, in seconds or steps of a log.
        asked: (Q,) moments of the first token whose labels are asked; most of them decide.
        stack: rows of what is read (frames, samples, steps) from token to token.
        span: rows that an encoder sees at once.
        room: tokens that it then gives.
        reach: rows that a token sees before its tokens' own begin anew (convolutions), >= `stack`.
    """

    step: float
    asked: tuple[float, ...]
    stack: int
    span: int
    room: int
    reach: int

    def count(self, rows: int) -> int:
        """Return how many tokens `rows` rows of a sample have; the last may be partly empty."""
        if self.reach > self.stack:
            return max(1, 1 + (rows - self.reach) // self.stack)
        return max(1, -(-rows // self.stack))

    def moments(self, count: int) -> NDArray[np.float64]:
        """Return the moments that tokens are asked for, (count, Q)."""
        begins = np.arange(count, dtype=np.float64)[:, None] * self.step
        found: NDArray[np.float64] = begins + np.asarray(self.asked)
        return found

    def windows(self, count: int) -> list[int]:
        """Return the first token of each window over `count` tokens; they overlap by half.

        >>> Clock(1, (0.5,), 1, 4, 4, 1).windows(9)
        [0, 2, 4, 5]
        """
        last = max(0, count - self.room)
        return [*range(0, last, max(1, self.room // 2)), last]

    def window_of(self, count: int) -> NDArray[np.int64]:
        """Return for each of `count` tokens the window in whose middle it lies most.

        >>> Clock(1, (0.5,), 1, 4, 4, 1).window_of(9).tolist()
        [0, 0, 0, 1, 1, 2, 2, 3, 3]
        """
        firsts = np.asarray(self.windows(count))
        middles = [(a + b + self.room) / 2 for a, b in pairwise(firsts.tolist())]
        found: NDArray[np.int64] = np.searchsorted(middles, np.arange(count) + 0.5, side="left")
        return found


def clock_of(encoder: Any, modality: Any) -> Clock:
    """Return when the tokens of an encoder are.

    Raises:
        UsageError: they do not follow one another in time.
    """
    config = modality.config
    if encoder.modality == "series":
        stack = int(getattr(encoder, "stack", 0) or encoder.patch)
        asked = tuple(place + 0.5 for place in range(stack))
        room = max(1, config.length // stack)
        return Clock(float(stack), asked, stack, min(room * stack, config.length), room, stack)
    if encoder.modality != "audio" or not hasattr(encoder, "heard"):
        raise UsageError(
            f"Tokens of {encoder.name} are places of a picture and not moments in time, so frames "
            "cannot be read from them. Pre-train an encoder of frames or samples, such as "
            "encoder.name=hf:modernbert-4x192h3 (--method apc or hubert) or hf:wav2vec2-tiny."
        )
    if config.form == "wave":
        return _of_samples(encoder.model.config, modality.length, config.rate)
    frame, hop, _ = logmel.sizes(config.rate)
    stack = int(encoder.stack)
    # A frame of librosa's is centred on its moment, one of Kaldi's begins there.
    middle = ((stack - 1) * hop + (frame if config.scale == "kaldi" else 0)) / 2 / config.rate
    room = max(1, modality.length // stack)
    span = min(room * stack, modality.length)
    return Clock(stack * hop / config.rate, (middle,), stack, span, room, stack)


def _of_samples(network: Any, length: int, rate: int) -> Clock:
    """Return when tokens of convolutions over samples are: at the middle of what they see."""
    stack, reach = 1, 1
    for kernel, stride in zip(network.conv_kernel, network.conv_stride, strict=True):
        reach += (kernel - 1) * stack
        stack *= stride
    room = max(1, 1 + (length - reach) // stack)
    return Clock(stack / rate, (reach / 2 / rate,), stack, length, room, reach)
