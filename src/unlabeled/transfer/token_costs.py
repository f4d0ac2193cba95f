"""What chosen tokens cost a model, added up by whom they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlabeled import device
from unlabeled.nn.cross_entropy import cross_entropy

TOGETHER = 8192
"""Tokens at once, padding included."""
_SORTED = 4096
"""Rows among which those of about one length are put together."""

Ids = Sequence[int] | NDArray[Any]


class Asked(NamedTuple):
    """A row that is read as one document, and what is asked in it.

    Args:
        ids: tokens.
        places: where tokens are guessed.
        wanted: what stands there, or follows there.
        owner: to whom the costs belong.
    """

    ids: Ids
    places: Ids
    wanted: Ids
    owner: int = 0


@torch.inference_mode()
def token_costs(
    encoder: Any, rows: Iterable[Asked], owners: int = 1, precision: str = "fp32"
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the nats of the asked tokens and how many there are, by owner, both (owners,).

    Args:
        encoder: a `Language` with its head.
        rows: what is asked.
        owners: how many.
        precision: ``fp32`` or ``bf16``; the loss is in fp32 always.
    """
    where, head, training = next(encoder.parameters()).device, encoder.add_head(), encoder.training
    nats, counts = torch.zeros(owners, dtype=torch.float64), np.zeros(owners, np.int64)
    encoder.eval(), head.eval()
    for batch in _batches(rows):
        x, asked, wanted, owner = _laid(batch)
        with device.autocast(precision, where):
            tokens = encoder.tokens(x.to(where)).flatten(0, 1)[asked.to(where)]
            costs = cross_entropy(head(tokens), wanted.to(where), "none")
        nats.index_add_(0, owner, costs.double().cpu())
        counts += np.bincount(owner.numpy(), minlength=owners)
    encoder.train(training)
    return nats.numpy(), counts


def _batches(rows: Iterable[Asked]) -> Iterator[list[Asked]]:
    """Share rows out, those of about one length together."""
    held: list[Asked] = []
    for row in rows:
        held.append(row)
        if len(held) == _SORTED:
            yield from _by_length(held)
            held = []
    yield from _by_length(held)


def _by_length(rows: list[Asked]) -> Iterator[list[Asked]]:
    rows = sorted((row for row in rows if len(row.places)), key=lambda row: -len(row.ids))
    while rows:
        count = max(1, TOGETHER // len(rows[0].ids))
        yield rows[:count]
        rows = rows[count:]


def _laid(rows: Sequence[Asked]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return (B, 2, T) padded rows; index into the B T tokens, targets and owners, each (S,)."""
    width = max(len(row.ids) for row in rows)
    x = torch.zeros(len(rows), 2, width, dtype=torch.int64)
    x[:, 1] = -1
    for number, row in enumerate(rows):
        x[number, 0, : len(row.ids)] = torch.as_tensor(np.asarray(row.ids, np.int64))
        x[number, 1, : len(row.ids)] = 0
    places = [np.asarray(row.places, np.int64) + n * width for n, row in enumerate(rows)]
    wanted = [np.asarray(row.wanted, np.int64) for row in rows]
    owner = [np.full(len(row.places), row.owner) for row in rows]
    found = [torch.from_numpy(np.concatenate(part)) for part in (places, wanted, owner)]
    return x, found[0], found[1], found[2]
