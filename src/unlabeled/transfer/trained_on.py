"""What a run was pre-trained on, and what it kept out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unlabeled import rng
from unlabeled.config import TextConfig
from unlabeled.errors import DataError
from unlabeled.transfer.features import Inputs

if TYPE_CHECKING:
    from unlabeled.runs import Run


def pool_indices(run: Run) -> NDArray[np.int64]:
    """Return which samples of the source were pre-trained on (text of older runs: all)."""
    try:
        return run.pool_indices()
    except FileNotFoundError:
        return np.arange(len(run.source()))


def held_out_indices(run: Run) -> NDArray[np.int64]:
    """Return which samples were kept out (text of older runs: none)."""
    try:
        return run.held_out_indices()
    except FileNotFoundError:
        return np.zeros(0, np.int64)


def known_pool(run: Run) -> bool:
    """Return whether a run wrote down what it was trained on; older ones of text did not."""
    try:
        run.pool_indices()
    except FileNotFoundError:
        return False
    return True


def pool_sample(run: Run, most: int, seed: int) -> Inputs:
    """Return unlabelled samples that pre-training saw, for baselines to be fitted on."""
    indices = pool_indices(run)
    if len(indices) > most:
        indices = np.sort(rng.generator(rng.mix(seed, most)).permutation(indices)[:most])
    return Inputs(run.source(), indices, run.modality(), document_length(run))


def pool_texts(run: Run, most: int, seed: int) -> Sequence[str]:
    """Return unlabelled documents that pre-training saw."""
    indices = pool_indices(run)
    if len(indices) > most:
        indices = np.sort(rng.generator(rng.mix(seed, most)).permutation(indices)[:most])
    found = []
    for index in indices:
        try:
            found.append(str(run.source().payload(int(index))))
        except DataError:
            continue
    return found


def document_length(run: Run) -> int:
    """Return how many tokens of a document are read."""
    modality = run.config.modality
    return modality.length if isinstance(modality, TextConfig) else 0
