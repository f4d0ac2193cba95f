"""Rows in which the end of a text is guessed from what stands before and after it.

Bavarian et al. 2022 (arXiv:2207.14255): a document is cut at two random places and its middle is
moved to the end. Half of the documents read prefix, suffix, middle (PSM), half suffix, prefix,
middle in the form that the paper calls variant 2 (SPM).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlabeled import rng
from unlabeled.nn.attention import Layout
from unlabeled.rng import uniform

Ids = NDArray[np.int64]
SALT = 0xF13


def rearrange(
    x: Tensor, keys: Tensor, rate: float, marks: Sequence[int], opens: Sequence[int], end: int
) -> Tensor:
    """Move the middle of some documents of packed rows to their end.

    A document keeps its room: the three marks take the place of its last three tokens. Documents
    with fewer than three tokens beside them stay as they are.

    Args:
        x: (B, 3, T) ids, document numbers, next tokens.
        keys: (B,) what is drawn comes from.
        rate: share of the documents.
        marks: tokens before prefix, middle and suffix.
        opens: tokens that begin documents; they stay first.
        end: the token that ends documents; the middle always ends with it.

    Returns:
        (B, 3, T).
    """
    made = x.cpu().numpy().copy()
    for row, key in zip(made, keys.tolist(), strict=True):
        for number in range(int(row[1].max()) + 1):
            draws = rng.generator(rng.mix(key, number, SALT))
            if draws.random() < rate:
                _rearrange(row, np.flatnonzero(row[1] == number), draws, marks, opens, end)
    return torch.from_numpy(made).to(x.device)


def _rearrange(
    row: Ids,
    places: Ids,
    draws: np.random.Generator,
    marks: Sequence[int],
    opens: Sequence[int],
    end: int,
) -> None:
    ids = row[0, places]
    head = len(opens) if opens and ids[: len(opens)].tolist() == list(opens) else 0
    tail = int(len(ids) > head and ids[-1] == end)
    room = len(ids) - head - tail - 3
    if room < 3:
        return
    first, second = np.sort(draws.integers(0, room + 1, 2))
    body = ids[head : head + room]
    parts = body[:first], body[first:second], body[second:]
    pre, mid, suf = (np.array([mark], np.int64) for mark in marks)
    if draws.random() < 0.5:
        moved = [pre, parts[0], suf, parts[2], mid, parts[1]]
    else:
        moved = [pre, suf, parts[2], mid, parts[0], parts[1]]
    row[0, places] = np.concatenate([ids[:head], *moved, ids[len(ids) - tail :]])
    row[2, places[:-1]] = row[0, places[1:]]
    row[2, places[-1]] = -1 if tail else end


def prefixes(layout: Layout, keys: Tensor, rate: float) -> Tensor:
    """Draw a beginning of every document in some rows, (B, T) bool.

    Its length is uniform between none and all but one of the tokens (Raffel et al. 2020,
    arXiv:1910.10683, section 3.2.3).
    """
    length = layout.positions.shape[1]
    index = torch.arange(length, device=keys.device)
    begin = index - layout.positions  # (B, T) where the document begins
    size = torch.zeros_like(begin).scatter_add_(1, begin, torch.ones_like(begin)).gather(1, begin)
    share = uniform(keys, length, salt=SALT).gather(1, begin)
    rows = uniform(keys, 1, salt=SALT + 1) < rate
    return rows & (layout.positions < (share * size).long()) & layout.real
