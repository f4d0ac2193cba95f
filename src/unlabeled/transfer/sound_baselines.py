"""What plain statistics of log-mel values and cepstra say of recordings."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from unlabeled.transfer.baselines import Plain, described
from unlabeled.transfer.features import Inputs


def for_audio(train: Inputs, test: Inputs, pool: Inputs) -> dict[str, Callable[[], Plain]]:
    """Return the baselines of recordings: log-mel values and cepstra, in all and in parts."""

    @cache
    def both() -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
        return described(train), described(test)

    def plain(name: str) -> Plain:
        seen, asked = both()
        return Plain(seen[name], asked[name], whiten=True)

    return {name: partial(plain, name) for name in ("logmel", "mfcc", "mfcc_parts")}
