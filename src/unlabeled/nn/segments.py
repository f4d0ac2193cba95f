"""Documents cut in two, and what the second half is made of: what BERT and ALBERT ask about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unlabeled import rng
from unlabeled.nn import packing
from unlabeled.nn.packing import packed
from unlabeled.nn.pairs import Edges, documents
from unlabeled.nn.token_head import token_loss
from unlabeled.types import Batch, Loss

Ids = packing.Ids
SHORTEST = 4
"""Tokens that a document must have to be cut in two."""


@dataclass(frozen=True)
class Piece:
    """A document of a batch, cut in two.

    Args:
        row: where it lies.
        one: (L,) tokens of the first half.
        two: (M,) tokens of the second.
        draws: what is drawn for it.
    """

    row: int
    one: Ids
    two: Ids
    draws: np.random.Generator


Relate = Callable[[Piece, Sequence[Piece]], tuple[Ids, Ids, int]]
"""From a piece and all pieces of the batch to two segments and the class of their relation."""


@dataclass(frozen=True)
class Segments:
    """Packed rows of pairs of segments.

    Args:
        rows: (B, 2, N) ids and document numbers.
        first: (S,) index of each pair's first token into the B N tokens.
        classes: (S,) what is to be told of them.
    """

    rows: Tensor
    first: Tensor
    classes: Tensor


def make(
    x: Tensor, keys: Tensor, ends: NDArray[np.bool_], relate: Relate, edges: Edges
) -> Segments:
    """Cut every document of packed rows in two and lay out what becomes of the halves.

    A pair is written as what opens a document, one segment, what ends one, the other, and the
    same end. The longer segment is cut to let the pair be no longer than a row.

    Args:
        x: (B, 2 or more, T) ids and document numbers.
        keys: (B,) what is drawn comes from a row's key and the document's number.
        ends: (K,) which tokens end a sentence; the cut lies after one, where there is one.
        relate: what is done with the halves.
        edges: special tokens.
    """
    found = [
        _cut(row, ids, ends, rng.generator(rng.mix(key, number, 11)))
        for row, (parts, key) in enumerate(zip(x[:, :2].cpu().numpy(), keys.tolist(), strict=True))
        for number, ids, _ in documents(parts, edges)
        if len(ids) >= SHORTEST
    ]
    rows: list[list[tuple[int, Ids]]] = [[] for _ in range(len(x))]
    starts: list[list[int]] = [[] for _ in range(len(x))]
    classes: list[list[int]] = [[] for _ in range(len(x))]
    sizes = [0] * len(x)
    for piece in found:
        one, two, kind = relate(piece, found)
        one, two = _fitted(one, two, x.shape[-1] - len(edges.opens) - 2)
        whole = np.concatenate([edges.opens, one, [edges.end], two, [edges.end]]).astype(np.int64)
        starts[piece.row].append(sizes[piece.row])
        rows[piece.row].append((len(rows[piece.row]), whole))
        classes[piece.row].append(kind)
        sizes[piece.row] += len(whole)
    made = packed(rows, edges.padding)
    first = [row * made.shape[-1] + at for row, places in enumerate(starts) for at in places]
    flat = [kind for row in classes for kind in row]
    return Segments(*(t.to(x.device) for t in (made, torch.tensor(first), torch.tensor(flat))))


def _cut(row: int, ids: Ids, ends: NDArray[np.bool_], draws: np.random.Generator) -> Piece:
    """Cut after the sentence that ends nearest to a random place, or there."""
    place = int(draws.integers(1, len(ids)))
    after = np.flatnonzero(ends[ids[:-1]]) + 1
    if len(after):
        place = int(after[np.abs(after - place).argmin()])
    return Piece(row, ids[:place], ids[place:], draws)


def _fitted(one: Ids, two: Ids, room: int) -> tuple[Ids, Ids]:
    """Cut the longer segment at its end, then both, until they fit."""
    half = max(room // 2, 1)
    if len(one) > half and len(two) > half:
        return one[:half], two[: max(room - half, 1)]
    if len(one) > len(two):
        return one[: max(room - len(two), 1)], two
    return one, two[: max(room - len(one), 1)]


class Judge(nn.Module):
    """BERT's pooler and a layer of two classes on the first token of each pair of segments.

    Args:
        dim: D, width of the tokens.
        text: the modality with its tokenizer.
    """

    def __init__(self, dim: int, text: Any) -> None:
        super().__init__()
        self.edges = Edges(tuple(text.opens), text.eos_id, text.eos_id, text.pad_id or 0)
        self.ends = text.sentence_ends().numpy()
        self.dense, self.relation = nn.Linear(dim, dim), nn.Linear(dim, 2)
        for layer in (self.dense, self.relation):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, encoder: Any, batch: Batch, relate: Relate) -> tuple[Tensor, Tensor]:
        """Return logits (S, 2) and classes (S,) of the pairs made of a batch."""
        made = make(batch["plain"][0], batch.keys, self.ends, relate, self.edges)
        tokens = encoder.tokens_at(made.rows, made.first)  # (S, D)
        return self.relation(torch.tanh(self.dense(tokens))), made.classes


def relation_loss(logits: Tensor, classes: Tensor) -> Loss:
    """Return the mean cross-entropy over pairs in nats, and the share that is told right."""
    right = (logits.detach().argmax(1) == classes).float().sum() / max(len(classes), 1)
    total, parts = token_loss(logits, classes)
    return Loss(total, {**parts, "accuracy": right})
