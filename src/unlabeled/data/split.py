"""Which samples are pre-trained on, which are held out, and which are copies.

Both decisions are functions of an item's content and the seed: adding files changes nothing for
those already there, and two copies can never lie on both sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from unlabeled.data.duplicates import first_copies
from unlabeled.data.find import Source
from unlabeled.errors import DataError
from unlabeled.rng import mix, uniform

_SALT = 0x5711


class Split(NamedTuple):
    """Where samples went.

    Args:
        pool: indices of the source that are pre-trained on, ascending.
        held_out: indices kept out, ascending.
        duplicates: how many copies were left out of both.
    """

    pool: NDArray[np.int64]
    held_out: NDArray[np.int64]
    duplicates: int


def digest(source: Source, index: int) -> bytes:
    """Return 16 bytes that identify the content of an item (its name, if it cannot be read)."""
    try:
        payload = source.payload(index)
        return content_hash(
            payload.encode("utf-8", "replace") if isinstance(payload, str) else payload
        )
    except DataError:  # rows of logs are read when their bytes are asked for
        return content_hash(f"unreadable {source.name(index)}".encode("utf-8", "replace"))


def content_hash(data: bytes) -> bytes:
    """Return 16 bytes that identify `data`; a piece of a recording says itself what it is."""
    return hashlib.blake2b(bytes(data), digest_size=16).digest()


def digests(source: Source) -> NDArray[np.int64]:
    """Return the content hashes of all items, (N, 2); one item is in memory at a time."""
    found = np.empty((len(source), 2), np.int64)
    for index in range(len(source)):
        found[index] = np.frombuffer(digest(source, index), np.int64)
    return found


def digests_of(source: Source, indices: Sequence[int]) -> NDArray[np.int64]:
    """Return the hashes (N, 2) by which a split decides on some items: those of their groups."""
    groups = getattr(source, "groups", None)
    if groups is not None:
        _, first, member = np.unique(groups, return_index=True, return_inverse=True)
        indices = first[member[np.asarray(indices)]].tolist()
    found = [np.frombuffer(digest(source, int(index)), np.int64) for index in indices]
    return np.asarray(found, np.int64).reshape(-1, 2)


def split(
    source: Source,
    share_held_out: float,
    deduplicate: bool,
    seed: int,
    groups: NDArray[np.str_] | None = None,
) -> Split:
    """Split a source.

    Args:
        source: what was found.
        share_held_out: expected share of held-out samples, in [0, 1).
        deduplicate: leave out all but the first of items with equal bytes.
        seed: of the decision.
        groups: (N,) names of groups that stay together, empty where a sample has none.
    """
    hashes = digests(source)
    kept = first_copies(hashes) if deduplicate else np.arange(len(source), dtype=np.int64)
    own = _of_groups(source, hashes)[kept]
    if groups is not None:
        out = held_groups(groups[kept], own, share_held_out, seed)
        return Split(kept[~out], kept[out], len(source) - len(kept))
    draws = _draws(own, seed)
    out = draws < share_held_out
    if len(kept) and out.all():  # a handful of samples: at least one is trained on
        out[draws == draws.max()] = False
    return Split(kept[~out], kept[out], len(source) - len(kept))


def held_groups(
    groups: NDArray[np.str_], hashes: NDArray[np.int64], share: float, seed: int
) -> NDArray[np.bool_]:
    """Return which samples are held out where whole groups are, (N,).

    A group goes by its name and the seed; at least one is held out and at least one is not.

    Args:
        groups: (N,) names; a sample without one goes by its own hash.
        hashes: (N, 2) of the samples.
        share: expected share of the groups to hold out; 0 holds out none.
        seed: of the decision.
    """
    named = groups != ""
    hashes = by_name(groups, hashes)
    draws = _draws(hashes, seed)
    out = draws < share
    if share > 0 and named.any() and not (out & named).any():
        out |= named & (draws == draws[named].min())
    if len(out) and out.all():
        out[draws == draws.max()] = False
    return out


def by_name(groups: NDArray[np.str_], hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the hashes (N, 2) of the names of groups; a sample without one keeps its own."""
    names, member = np.unique(groups, return_inverse=True)
    of_names = np.array(
        [np.frombuffer(content_hash(f"group {name}".encode()), np.int64) for name in names]
    ).reshape(-1, 2)
    return np.where((groups != "")[:, None], of_names[member], hashes)


def is_held_out(hashes: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """Return which items are kept out of pre-training, by their hashes (N, 2) and the seed."""
    return np.asarray(_draws(hashes, seed) < share)


def _draws(hashes: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    """Return a number in [0, 1) for each item, (N,), by its hashes (N, 2)."""
    keys = torch.from_numpy(hashes[:, 0] ^ hashes[:, 1])
    return np.asarray(uniform(keys, 1, salt=mix(_SALT, seed))[:, 0].numpy())


def _of_groups(source: Source, hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each item the hash of the first one of its group, where the source has groups."""
    groups = getattr(source, "groups", None)
    if groups is None:
        return hashes
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    return hashes[first[member]]
