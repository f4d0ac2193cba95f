"""What must not be pre-trained on: held-out samples, their near-duplicates, their groups.

A figure on held-out samples is worth nothing if the same photograph in another size, the next
frame of the video, or another recording of the patient was trained on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.find import Source, find
from unlabeled.data.sketch import Sketches, across, sketch

LOOKED = 100_000
"""Most samples of the pool that are looked at for near-duplicates, spread evenly over it."""


class Apart(NamedTuple):
    """What is left to pre-train on.

    Args:
        pool: indices, ascending.
        near: how many near-duplicates of held-out or excluded samples were left out.
        looked: how many samples of the pool were looked at.
    """

    pool: NDArray[np.int64]
    near: int
    looked: int


def apart(
    source: Source,
    pool: NDArray[np.int64],
    held_out: NDArray[np.int64],
    exclude: str | None = None,
    limit: int = LOOKED,
) -> Apart:
    """Leave out of the pool what is near to a held-out sample or to one of other data.

    Args:
        source: the samples.
        pool: indices that would be pre-trained on.
        held_out: indices kept out.
        exclude: data whose samples must not be pre-trained on, such as a test set.
        limit: most samples of the pool that are looked at.

    Raises:
        UsageError: `exclude` holds no data of this kind.
    """
    kept_out = sketch(source, held_out)
    if exclude is not None:
        other = find(exclude, getattr(source, "kind", "text"))
        kept_out = kept_out.join(sketch(other, np.arange(len(other))))
    places = spread(len(pool), limit)
    near = across(sketch(source, pool[places]), kept_out)
    return Apart(np.delete(pool, places[near]), int(near.sum()), len(places))


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Return up to `most` places among `count`, spread evenly.

    >>> spread(5, 3).tolist(), spread(2, 3).tolist()
    ([0, 2, 4], [0, 1])
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def looked(source: Source, indices: NDArray[np.int64], limit: int = LOOKED) -> Sketches:
    """Return the sketches of samples; of many, only some are known, spread evenly."""
    places = spread(len(indices), limit)
    found = sketch(source, indices[places])
    if len(places) == len(indices):
        return found
    keys = np.zeros((len(indices), found.keys.shape[1]), found.keys.dtype)
    looks = np.zeros((len(indices), found.looks.shape[1]), found.looks.dtype)
    known = np.zeros(len(indices), bool)
    keys[places], looks[places], known[places] = found.keys, found.looks, found.known
    return replace(found, keys=keys, looks=looks, known=known)
