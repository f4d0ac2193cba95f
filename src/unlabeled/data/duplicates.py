"""Exact copies by content hash, near copies by perceptual hash."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_SHIFT = 256


def first_copies(hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the index of the first item of each content, ascending; hashes (N, 2).

    >>> first_copies(np.array([[1, 2], [3, 4], [1, 2]]))
    array([0, 1])
    """
    if not len(hashes):
        return np.zeros(0, np.int64)
    order = np.lexsort((np.arange(len(hashes)), hashes[:, 1], hashes[:, 0]))
    ordered = hashes[order]
    first = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])
    return np.sort(order[first]).astype(np.int64)


def difference_hash(grey: NDArray[Any]) -> int:
    """Return the 64 signs of horizontal differences of an 8 x 9 grey image.

    Survives resizing, re-encoding and changes of brightness.
    """
    bits = np.packbits(grey[:, 1:] > grey[:, :-1])
    return int(np.frombuffer(bits.tobytes(), np.uint64)[0])


def near_groups(hashes: NDArray[np.uint64], distance: int = 3) -> NDArray[np.int64]:
    """Group 64-bit hashes that differ in at most `distance` (0 to 3) bits, transitively.

    Two such hashes agree in at least one of their four 16-bit words, so that only hashes that
    share a word are compared (multi-index hashing; Norouzi et al., 2012, arXiv:1307.2982).

    Returns:
        (N,) for each hash the index of the first member of its group.

    >>> near_groups(np.array([0, 1, 2**63 - 1], np.uint64)).tolist()
    [0, 0, 2]
    """
    if not 0 <= distance <= 3:
        raise ValueError(f"distance={distance} must be 0 to 3")
    unique, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    words = np.stack([(unique >> np.uint64(s)) & np.uint64(0xFFFF) for s in (0, 16, 32, 48)], 1)
    found = [np.zeros((0, 2), np.int64)]
    for column in range(words.shape[1]):
        pairs = close_pairs(words, column)
        close = np.bitwise_count(unique[pairs[:, 0]] ^ unique[pairs[:, 1]]) <= distance
        found.append(pairs[close])
    roots = linked(len(unique), np.concatenate(found))
    smallest = np.full(len(unique), len(hashes), np.int64)
    np.minimum.at(smallest, roots, first)
    return smallest[roots][inverse]


def linked(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each of `count` items the first one that pairs (M, 2) link it to, (N,).

    >>> linked(5, np.array([[3, 1], [4, 3]])).tolist()
    [0, 1, 2, 1, 1]
    """
    parent = np.arange(count)
    for a, b in pairs:
        _join(parent, int(a), int(b))
    return np.array([_root(parent, i) for i in range(count)], np.int64)


def close_pairs(keys: NDArray[np.uint64], column: int) -> NDArray[np.int64]:
    """Return pairs (M, 2) of rows whose keys (N, W) agree in a column, the smaller row first.

    A key shared by more than 256 rows is compared with its 256 next neighbours only, in order of
    the other keys: such a key says little (a flat edge of an image, a common phrase).
    """
    others = [keys[:, i] for i in range(keys.shape[1]) if i != column]
    order = np.lexsort((*others, keys[:, column]))
    words = keys[:, column]
    found = [np.zeros((0, 2), np.int64)]
    for shift in range(1, min(_MAX_SHIFT, len(order) - 1) + 1):
        a, b = order[:-shift], order[shift:]
        same = words[a] == words[b]
        if not same.any():
            break
        found.append(np.sort(np.stack([a[same], b[same]], axis=1), axis=1))
    return np.concatenate(found)


def _root(parent: NDArray[np.int64], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = int(parent[node])
    return node


def _join(parent: NDArray[np.int64], a: int, b: int) -> None:
    a, b = _root(parent, a), _root(parent, b)
    parent[max(a, b)] = min(a, b)
