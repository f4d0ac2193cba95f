"""What plain statistics of log-mel values and cepstra say of recordings."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from unlabeled.transfer.baselines import Plain
from unlabeled.transfer.features import Inputs

_BLOCK = 512


def for_audio(train: Inputs, test: Inputs, pool: Inputs) -> dict[str, Callable[[], Plain]]:
    """Return the baselines of recordings: statistics of log-mel values, and of cepstra."""

    @cache
    def both() -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
        return _described(train), _described(test)

    def plain(name: str) -> Plain:
        seen, asked = both()
        return Plain(seen[name], asked[name], whiten=True)

    return {"logmel": lambda: plain("logmel"), "mfcc": lambda: plain("mfcc")}


def _described(inputs: Inputs) -> dict[str, NDArray[np.float32]]:
    parts = [
        inputs.modality.plain_features(inputs.raws(range(start, min(start + _BLOCK, len(inputs)))))
        for start in range(0, len(inputs), _BLOCK)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
