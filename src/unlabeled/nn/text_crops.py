"""Random crops of documents: neighbouring tokens, drawn independently of one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unlabeled.nn import packing
from unlabeled.rng import uniform


@dataclass(frozen=True)
class Crops:
    """Packed rows of crops, and where in them each one is.

    Args:
        x: (R, 2, T) ids and numbers.
        row: (V, B) the row of each crop.
        number: (V, B) its number in the row.
    """

    x: Tensor
    row: Tensor
    number: Tensor

    def features(self, by_document: Tensor) -> Tensor:
        """Pick the features of the crops, (R, M, D) -> (V, B, D)."""
        return by_document[self.row, self.number]


def crop(
    x: Tensor,
    keys: Tensor,
    extent: tuple[float, float],
    special: Tensor,
    edges: tuple[Sequence[int], Sequence[int]],
    padding: int,
    delete: float = 0.0,
) -> Crops:
    """Cut two crops out of the longest document of each row.

    The share of a crop is uniform in `extent`, and so is where it begins; the two are independent
    and may overlap (Izacard et al. 2022, arXiv:2112.09118, section 3.1).

    Args:
        x: (B, 2 or more, T) ids and document numbers.
        keys: (B,) what is drawn comes from them.
        extent: smallest and largest share of a document's tokens; a crop has at least one.
        special: (K,) bool, tokens that are no text: they are not cropped.
        edges: tokens that open and that close each crop.
        padding: id of padding.
        delete: share of a crop's tokens that is left out; one stays.
    """
    ids, documents = x[:, 0], x[:, 1]
    inside = (documents == packing.longest(documents)[:, None]) & ~special[ids]  # (B, T)
    size = inside.sum(1)
    first = inside.int().argmax(1)
    draws = uniform(keys, 4, salt=21).double()  # (B, 4)
    pieces = []
    for view in range(2):
        share = extent[0] + (extent[1] - extent[0]) * draws[:, 2 * view]
        length = (share * size).long().clamp(min=1).minimum(size)
        begin = first + (draws[:, 2 * view + 1] * (size - length + 1)).long()
        kept = uniform(keys, ids.shape[1], salt=22 + view) >= delete if delete else None
        pieces += _cut(ids, begin, length, kept, edges)
    row, number = packing.fit([len(piece) for piece in pieces], x.shape[-1])
    rows: list[list[tuple[int, packing.Ids]]] = [[] for _ in range(int(row.max()) + 1)]
    for index in sorted(range(len(pieces)), key=lambda i: int(number[i])):
        rows[row[index]].append((int(number[index]), pieces[index]))
    place = [torch.from_numpy(part).view(2, -1).to(x.device) for part in (row, number)]
    return Crops(packing.packed(rows, padding).to(x.device), *place)


def _cut(
    ids: Tensor,
    begin: Tensor,
    length: Tensor,
    kept: Tensor | None,
    edges: tuple[Sequence[int], Sequence[int]],
) -> list[packing.Ids]:
    """Return the tokens of one crop of each row, opened and closed."""
    opens, closes = (torch.tensor(edge, dtype=torch.int64) for edge in edges)
    found = []
    for number, (start, size) in enumerate(zip(begin.tolist(), length.tolist(), strict=True)):
        body = ids[number, start : start + size].cpu()
        if kept is not None:
            left = body[kept[number, start : start + size].cpu()]
            body = left if len(left) else body[:1]
        found.append(torch.cat([opens, body, closes]).numpy())
    return found
