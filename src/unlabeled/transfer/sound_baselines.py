"""What plain statistics of log-mel values and cepstra say of recordings."""

from __future__ import annotations

from collections.abc import Callable

from unlabeled.transfer.baselines import Plain, of_modality
from unlabeled.transfer.features import Inputs


def for_audio(train: Inputs, test: Inputs, pool: Inputs) -> dict[str, Callable[[], Plain]]:
    """Return the baselines of recordings: log-mel values and cepstra, in all and in parts."""
    return of_modality(train, test, ("logmel", "mfcc", "mfcc_parts"))
