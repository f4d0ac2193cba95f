"""T5's span corruption: which tokens are noise, and what stands for them on each side.

The rules of Raffel et al. 2020 (arXiv:1910.10683), section 3.1.4 and its published code: counts
are rounded half to even, spans alternate and begin with text, so that the first token is never
noise and the last always is, unless the mask is rolled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]


def corrupted_lengths(length: int, density: float, mean: float) -> tuple[int, int]:
    """Return how long source and target of a text of `length` tokens become, each with its end.

    >>> corrupted_lengths(568, 0.15, 3.0)
    (512, 114)
    """
    noise = round(length * density)
    spans = round(noise / mean)
    return length - noise + spans + 1, noise + spans + 1


def raw_length(source: int, density: float, mean: float) -> tuple[int, int]:
    """Return how many tokens of text fill a source exactly, and how long its target is.

    >>> raw_length(512, 0.15, 3.0), raw_length(64, 0.2, 1.0)
    ((568, 114), (63, 27))
    """
    length = source - 1
    while corrupted_lengths(length + 1, density, mean)[0] <= source:
        length += 1
    target = corrupted_lengths(length, density, mean)[1]
    if density == 0.5 and target > source:
        length, target = length - 1, target - 1
    return length, target


def noise_mask(
    length: int,
    density: float,
    mean: float,
    rng: np.random.Generator,
    most: int | None = None,
    roll: bool = False,
) -> Mask:
    """Draw which tokens are noise, (L,).

    Args:
        length: L >= 1; a text of one token has no noise.
        density: share of noise, in (0, 1).
        mean: mean length of a span, >= 1.
        rng: what the mask is drawn from.
        most: most spans (there are so many sentinels).
        roll: whether the mask is shifted by a random number of tokens.
    """
    whole = max(length, 2)
    noise = min(max(round(whole * density), 1), whole - 1)
    spans = min(max(round(noise / mean), 1), whole - noise, most or whole)
    mask = alternate(parts(whole - noise, spans, rng), parts(noise, spans, rng))[:length]
    return np.roll(mask, int(rng.integers(length))) if roll else mask


def parts(total: int, count: int, rng: np.random.Generator) -> Ids:
    """Cut `total` into `count` parts of at least 1, each way equally likely, (count,)."""
    cuts = np.sort(rng.permutation(total - 1)[: count - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [total]])).astype(np.int64)


def alternate(text: Ids, noise: Ids) -> Mask:
    """Return the mask of spans that alternate, beginning with text.

    >>> alternate(np.array([2, 1]), np.array([1, 2])).astype(int).tolist()
    [0, 0, 1, 0, 1, 1]
    """
    lengths = np.stack([text, noise], 1).ravel()
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)


def to_sentinels(ids: Ids, mask: Mask, sentinels: Ids) -> Ids:
    """Put one sentinel for each run of the mask, the next for the next run.

    >>> ids, mask = np.arange(10, 16), np.array([1, 1, 0, 0, 1, 0], bool)
    >>> to_sentinels(ids, mask, np.array([999, 998])).tolist()
    [999, 12, 13, 998, 15]
    """
    first = mask & ~np.concatenate([[False], mask[:-1]])
    marks = sentinels[np.clip(first.cumsum() - 1, 0, len(sentinels) - 1)]
    found: Ids = np.where(first, marks, ids)[first | ~mask]
    return found
