"""Documents that are nearly an earlier one: MinHash of their phrases of five words.

Broder 1997 (https://doi.org/10.1109/SEQUEN.1997.666900); as in Lee et al. 2022, "Deduplicating
Training Data Makes Language Models Better", arXiv:2107.06499. Signatures are datasketch's; what
they share is looked for by sorting, which needs 512 bytes a document.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.duplicates import linked
from unlabeled.errors import UsageError

PHRASE, PERMUTATIONS = 5, 128
_WORD = re.compile(r"\w+")
_NEIGHBOURS = 64
"""With how many of a bucket a document is compared: a phrase that all share says nothing."""


class Signatures:
    """The MinHash of every document that is added.

    Raises:
        UsageError: datasketch is not installed.
    """

    def __init__(self) -> None:
        try:
            from datasketch import MinHash
        except ImportError:
            raise UsageError(
                "data.near_duplicates needs the package datasketch: pip install 'unlabeled[text]'."
            ) from None
        self._empty = MinHash(PERMUTATIONS, seed=1)
        self.rows: list[NDArray[np.uint32]] = []

    def add(self, texts: Iterable[str]) -> None:
        """Add a document, given in pieces."""
        made: Any = self._empty.copy()
        for text in texts:
            words = _WORD.findall(text.lower())
            count = max(1, len(words) - PHRASE + 1)
            made.update_batch({" ".join(words[i : i + PHRASE]).encode() for i in range(count)})
        self.rows.append(made.hashvalues.astype(np.uint32))


def near_copies(signatures: NDArray[np.uint32], threshold: float) -> NDArray[np.bool_]:
    """Return which documents are nearly an earlier one, (N,).

    Documents that agree in all of a band are compared; bands are as many as find a pair at the
    threshold with a chance of 0.9 or more. Groups are transitive; the first of each stays.

    Args:
        signatures: (N, P).
        threshold: least share of signature values that agree, an estimate of the share of
            phrases that two documents have in common (Jaccard); its error is about 0.04.
    """
    width = _band(threshold)
    pairs: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    for start in range(0, PERMUTATIONS - width + 1, width):
        band = np.ascontiguousarray(signatures[:, start : start + width])
        _, bucket = np.unique(band, axis=0, return_inverse=True)
        pairs.append(_alike(signatures, bucket.ravel(), threshold))
    groups = linked(len(signatures), np.concatenate(pairs))
    later: NDArray[np.bool_] = groups != np.arange(len(signatures))
    return later


def _band(threshold: float) -> int:
    """Return the widest band with which a pair at the threshold is found 9 times in 10."""
    fits = [
        width for width in range(1, 17)
        if 1 - (1 - threshold**width) ** (PERMUTATIONS // width) >= 0.9
    ]  # fmt: skip
    return max(fits, default=1)


def _alike(
    signatures: NDArray[np.uint32], bucket: NDArray[np.int64], threshold: float
) -> NDArray[np.int64]:
    """Return pairs of one bucket that agree in at least the threshold, (M, 2)."""
    order = np.argsort(bucket, kind="stable")
    found = [np.zeros((0, 2), np.int64)]
    for shift in range(1, min(_NEIGHBOURS, len(order) - 1) + 1):
        a, b = order[:-shift], order[shift:]
        same = bucket[a] == bucket[b]
        if not same.any():
            break
        a, b = a[same], b[same]
        close = (signatures[a] == signatures[b]).mean(1) >= threshold
        found.append(np.stack([a[close], b[close]], axis=1))
    return np.concatenate(found)
