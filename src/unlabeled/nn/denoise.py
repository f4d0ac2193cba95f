"""BART's ways of spoiling a text: infilling, sentence permutation, deletion, rotation.

Lewis et al. 2020 (arXiv:1910.13461), section 2.2. Spans are runs of whole words; their lengths are
drawn from a Poisson distribution, those of length 0 are insertions, and the last one is cut so
that exactly the share of words is hidden. Each span, inserted or not, becomes one mask.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]


def infill(
    ids: Ids, starts: Mask, ratio: float, mean: float, mask_id: int, rng: np.random.Generator
) -> Ids:
    """Replace spans of words by one mask each.

    Args:
        ids: (L,).
        starts: (L,) which tokens begin a word; the first does in any case.
        ratio: share of the words, rounded up.
        mean: of the Poisson distribution, in words.
        mask_id: what stands for a span.
        rng: what is drawn from.
    """
    begins = np.flatnonzero(np.concatenate([[True], starts[1:]]))
    edges = np.append(begins, len(ids))
    budget = math.ceil(len(begins) * ratio)
    lengths, inserts = span_lengths(budget, mean, rng)
    kept = len(begins) - budget
    # Kept words and spans in a random order; spans keep theirs.
    is_span = np.zeros(kept + len(lengths), bool)
    is_span[rng.permutation(len(is_span))[: len(lengths)]] = True
    pieces: list[Ids] = []
    word, span = 0, 0
    mask = np.array([mask_id], np.int64)
    for hidden in is_span:
        if hidden:
            pieces.append(mask)
            word, span = word + int(lengths[span]), span + 1
        else:
            pieces.append(ids[edges[word] : edges[word + 1]])
            word += 1
    inserts = min(inserts, len(ids))  # of short spans there could be more than positions
    for place in np.sort(rng.integers(0, len(pieces) + 1, inserts))[::-1]:
        pieces.insert(int(place), mask)
    return np.concatenate(pieces) if pieces else ids[:0]


def span_lengths(budget: int, mean: float, rng: np.random.Generator) -> tuple[Ids, int]:
    """Return lengths of spans that add up to `budget`, and how many of length 0 were drawn."""
    lengths: list[int] = []
    inserts = total = 0
    while total < budget:
        drawn = int(rng.poisson(mean))
        inserts += drawn == 0
        if drawn:
            lengths.append(min(drawn, budget - total))
            total += lengths[-1]
    return np.array(lengths, np.int64), inserts


def permute_sentences(
    ids: Ids, ends: Mask, ratio: float, rng: np.random.Generator
) -> tuple[Ids, Ids]:
    """Permute sentences among each other.

    Args:
        ids: (L,).
        ends: (L,) which tokens end a sentence; of neighbours the last one does.
        ratio: share of the sentences that may move, rounded up.
        rng: what is drawn from.

    Returns:
        (L,) ids, and (L,) where each came from.
    """
    last = ends & ~np.append(ends[1:], False)
    cuts = np.flatnonzero(last[:-1]) + 1
    places = np.split(np.arange(len(ids)), cuts)
    moved = rng.permutation(len(places))[: math.ceil(len(places) * ratio)]
    order = np.arange(len(places))
    order[np.sort(moved)] = moved
    source = np.concatenate([places[number] for number in order])
    return ids[source], source


def delete(ids: Ids, ratio: float, rng: np.random.Generator) -> Ids:
    """Leave out a share of the tokens, rounded, but never all; nothing says where."""
    count = min(round(len(ids) * ratio), len(ids) - 1)
    keep = np.ones(len(ids), bool)
    keep[rng.permutation(len(ids))[:count]] = False
    return ids[keep]


def rotate(ids: Ids, rng: np.random.Generator) -> Ids:
    """Begin at a random token and put what came before it at the end."""
    return np.roll(ids, -int(rng.integers(len(ids))))
