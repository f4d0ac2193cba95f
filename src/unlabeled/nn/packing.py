"""Documents laid into rows, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlabeled.nn.attention import Layout

Ids = NDArray[np.int64]


def packed(rows: Sequence[Sequence[tuple[int, Ids]]], padding: int) -> Tensor:
    """Lay documents one after the other, (B, 2, longest): ids and numbers, -1 at padding.

    Args:
        rows: for each row, number and ids of its documents.
        padding: id behind the last of a row.
    """
    width = max([1, *(sum(len(ids) for _, ids in row) for row in rows)])
    found = np.full((len(rows), 2, width), -1, np.int64)
    found[:, 0] = padding
    for place, row in zip(found, rows, strict=True):
        at = 0
        for number, ids in row:
            place[0, at : at + len(ids)], place[1, at : at + len(ids)] = ids, number
            at += len(ids)
    return torch.from_numpy(found)


def fit(sizes: Sequence[int], width: int) -> tuple[Ids, Ids]:
    """Share documents out over rows: the longest first, each into the first row with room.

    Args:
        sizes: tokens of each document.
        width: tokens of a row; a longer document has a row for itself.

    Returns:
        (N,) the row of each document; (N,) its number in there.

    >>> [part.tolist() for part in fit([3, 5, 4, 1], width=8)]
    [[0, 0, 1, 1], [1, 0, 0, 1]]
    """
    room: list[int] = []
    held: list[int] = []
    row, number = np.zeros(len(sizes), np.int64), np.zeros(len(sizes), np.int64)
    for index in np.argsort(-np.asarray(sizes), kind="stable"):
        size = int(sizes[index])
        place = next((i for i, left in enumerate(room) if left >= size), len(room))
        if place == len(room):
            room.append(width)
            held.append(0)
        row[index], number[index] = place, held[place]
        room[place], held[place] = room[place] - size, held[place] + 1
    return row, number


def longest(documents: Tensor) -> Tensor:
    """Return the number of the longest document in each row, (B, T) numbers -> (B,)."""
    numbers = torch.arange(int(documents.max()) + 1, device=documents.device)
    sizes = (documents[:, None] == numbers[:, None]).sum(-1)  # (B, M)
    return sizes.argmax(1)


def pad(rows: Sequence[Tensor], padding: int) -> Tensor:
    """Stack rows of (2, T) ids and numbers to the longest, (B, 2, T) int64; padding is -1."""
    width = max((row.shape[1] for row in rows), default=1)
    found = torch.full((len(rows), 2, width), -1, dtype=torch.int64)
    found[:, 0] = padding
    for place, row in zip(found, rows, strict=True):
        place[:, : row.shape[1]] = row
    return found


def unfold(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give every document of packed rows a row of its own.

    Args:
        x: (B, 2 or more, T) ids and document numbers, -1 at padding.

    Returns:
        (W, 2, T'), padded with id 0; (W,) the row that each document was in; (W,) its tokens.
    """
    layout = Layout.of(x[:, 1])
    begins = layout.real & (layout.positions == 0)  # (B, T)
    index = begins.flatten().long().cumsum(0)[layout.real.flatten()] - 1  # (real tokens,)
    place = layout.positions[layout.real]
    owner = begins.nonzero()[:, 0]
    sizes = torch.bincount(index, minlength=len(owner))
    found = x.new_zeros(len(owner), 2, int(sizes.max()) if len(sizes) else 1)
    found[:, 1] = -1
    found[index, 0, place] = x[:, 0][layout.real]
    found[index, 1, place] = 0
    return found, owner, sizes


def refold(parts: Tensor, owner: Tensor, sizes: Tensor, count: int) -> Tensor:
    """Average what documents of a row gave, weighted by their tokens, (W, D) -> (count, D)."""
    weight = sizes[:, None].to(parts.dtype)
    total = parts.new_zeros(count, 1).index_add(0, owner, weight)
    found = parts.new_zeros(count, parts.shape[1]).index_add(0, owner, parts * weight)
    return found / total.clamp(min=1)
