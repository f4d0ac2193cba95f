"""Packed rows of two texts each: what an encoder reads and what a decoder writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from unlabeled import rng
from unlabeled.nn import packing
from unlabeled.nn.guesses import Guess
from unlabeled.nn.packing import packed

Ids = packing.Ids
Change = Callable[[Ids, np.random.Generator], tuple[Ids, Ids]]
"""From a document's tokens, without what opens and closes it, to source and target."""


@dataclass(frozen=True)
class Edges:
    """Special tokens around documents.

    Args:
        opens: ids that begin a document.
        end: the id that ends both sides of a pair.
        start: what a decoder reads first.
        padding: of rows.
    """

    opens: tuple[int, ...]
    end: int
    start: int
    padding: int


@dataclass(frozen=True)
class Pairs:
    """Rows of pairs; documents of both sides carry the same numbers, -1 at padding.

    Args:
        source: (B, 2, N) ids and document numbers.
        inputs: (B, 2, M) what the decoder reads, and document numbers.
        targets: (B, M) what it is to write, -1 at padding.
    """

    source: Tensor
    inputs: Tensor
    targets: Tensor


def make(x: Tensor, keys: Tensor, change: Change, edges: Edges) -> Pairs:
    """Change every document of packed rows by itself.

    Args:
        x: (B, 2 or more, T) ids and document numbers.
        keys: (B,) what is drawn for a document comes from its row's key and its number.
        change: what is done to a document.
        edges: special tokens.
    """
    rows = [
        [
            (number, *_pair(ids, opened, change, edges, rng.generator(rng.mix(key, number))))
            for number, ids, opened in documents(row, edges)
        ]
        for row, key in zip(x[:, :2].cpu().numpy(), keys.tolist(), strict=True)
    ]
    source = packed([[(n, s) for n, s, _ in row] for row in rows], edges.padding)
    written = [[(n, t) for n, _, t in row] for row in rows]
    read = [[(n, np.append(edges.start, t[:-1])) for n, t in row] for row in written]
    inputs, targets = packed(read, edges.padding), packed(written, -1)[:, 0]
    return Pairs(source.to(x.device), inputs.to(x.device), targets.to(x.device))


def documents(row: Ids, edges: Edges) -> Iterator[tuple[int, Ids, bool]]:
    """Yield number, tokens and whether it begins here, of each document with text in a row."""
    ids, numbers = row
    for number in range(int(numbers.max()) + 1):
        inside = ids[numbers == number]
        opened = bool(edges.opens) and tuple(inside[: len(edges.opens)]) == edges.opens
        body = inside[len(edges.opens) :] if opened else inside
        body = body[:-1] if len(body) and body[-1] == edges.end else body
        if len(body):
            yield number, body, opened


def _pair(
    ids: Ids, opened: bool, change: Change, edges: Edges, draws: np.random.Generator
) -> tuple[Ids, Ids]:
    source, target = change(ids, draws)
    opens = edges.opens if opened else ()
    return np.concatenate([opens, source, [edges.end]]), np.append(target, edges.end)


def edges_of(text: Any, encoder: Any) -> Edges:
    """Return the special tokens of a tokenizer, with what an encoder's decoder reads first."""
    start = encoder.model.config.decoder_start_token_id
    return Edges(tuple(text.opens), text.eos_id, start, text.pad_id)


def write(encoder: Any, head: nn.Module, pairs: Pairs) -> tuple[Guess, Tensor]:
    """Return guesses at, and ids (S,) of, all that is to be written."""
    tokens: Tensor = encoder.decode(pairs.source, pairs.inputs)  # (B, M, D)
    where = (pairs.targets >= 0).flatten()
    return Guess(head, tokens.flatten(0, 1)[where]), pairs.targets.flatten()[where]
