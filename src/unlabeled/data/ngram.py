"""What text costs without a network: an n-gram table, and compressors.

The table is interpolated with Witten-Bell weights (Witten & Bell 1991; Chen &
Goodman 1999, eq. 17):
``p(w | h) = (c(h w) + N(h) p(w | h')) / (c(h) + N(h))``, with `N(h)` the number of different
characters seen after `h`, `h'` without its first character, and a uniform distribution at the
end. On small text it is a strong baseline: five characters have 1.669 nats a character on
tinyshakespeare.
"""

from __future__ import annotations

import bz2
import lzma
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def _characters(text: str) -> Ids:
    return np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32).astype(np.int64)


class _Table:
    """Counts of one order, by sorted key."""

    def __init__(self, keys: Ids, base: int) -> None:
        self.keys, ranks, self.counts = np.unique(keys, return_inverse=True, return_counts=True)
        self.ranks: Ids = ranks.astype(np.int64)
        self.histories = self.keys // base
        size = int(self.histories.max()) + 1 if len(self.keys) else 1
        self.total = np.bincount(self.histories, self.counts, size)
        self.kinds = np.bincount(self.histories, minlength=size)

    def find(self, keys: Ids) -> Ids:
        """Return the rank of each key, -1 for those never seen."""
        if not len(self.keys):
            return np.full(len(keys), -1)
        place = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return np.where(self.keys[place] == keys, place, -1)


def witten_bell(train: str, test: str, orders: int = 5) -> dict[int, float]:
    """Return the nats per character of `test` under tables of 1 to `orders` characters.

    Args:
        train: text that is counted.
        test: text that is scored, each character once; its own beginning is its only context.
        orders: longest n.

    Returns:
        n -> nats per character.

    >>> round(witten_bell("abab" * 50, "abab" * 5, 2)[2], 2)
    0.04
    """
    return {
        order: float(nats.mean()) if len(nats) else math.nan
        for order, nats in costs(train, test, orders)
    }


def costs(train: str, test: str, orders: int) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield each order with what every character of `test` costs under it, in nats."""
    seen = np.unique(np.concatenate([_characters(train), _characters(test)]))
    base = max(len(seen), 1)
    learned, asked = (
        np.searchsorted(seen, _characters(train)),
        np.searchsorted(seen, _characters(test)),
    )
    chance = np.full(len(asked), 1.0 / base)
    history, past = np.zeros(len(learned), np.int64), np.zeros(len(asked), np.int64)
    for order in range(1, orders + 1):
        table = _Table(history[order - 1 :] * base + learned[order - 1 :], base)
        ranks = np.where(past >= 0, table.find(np.maximum(past, 0) * base + asked), -1)
        chance = _mixed(table, past, ranks, chance)
        yield order, -np.log(chance)
        grams = np.zeros(len(learned), np.int64)
        grams[order - 1 :] = table.ranks
        history = np.concatenate([[0], grams[:-1]]).astype(np.int64)
        past = np.concatenate([[-1], ranks[:-1]])[: len(asked)].astype(np.int64)


def _mixed(table: _Table, past: Ids, ranks: Ids, below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mix counts with the shorter history's probabilities, where the history was seen."""
    known = (past >= 0) & (past < len(table.total))
    place = np.where(known, past, 0)
    total = np.where(known, table.total[place], 0.0)
    kinds = np.where(known, table.kinds[place], 1)
    counts = np.where(ranks >= 0, table.counts[np.maximum(ranks, 0)], 0)
    return np.asarray((counts + kinds * below) / (total + kinds))


def compressed(train: str, test: str) -> dict[str, float]:
    """Return the bits per byte that compressors need for `test`, once `train` is known."""
    first, both = train.encode("utf-8", "replace"), (train + test).encode("utf-8", "replace")
    size = max(len(both) - len(first), 1)
    found = {}
    for name, press in (("xz", _xz), ("bz2", _bz2)):
        found[name] = 8 * (press(both) - press(first)) / size
        found[f"{name}_alone"] = 8 * press(both[len(first) :]) / size
    return found


def _xz(data: bytes) -> int:
    return len(lzma.compress(data, preset=6))


def _bz2(data: bytes) -> int:
    return len(bz2.compress(data))


def baselines(tokens: Path, orders: int = 6, held_out: Path | None = None) -> dict[str, Any]:
    """Return what the held-out text of a run costs without a network.

    Args:
        tokens: the run's folder of token files, with the beginning of both parts' text.
        orders: longest n-gram.
        held_out: other text to score than the run's own.

    Returns:
        Bits per byte by name (``3-gram``, ``xz``, ...), ``best`` among them, and how many bytes
        were counted and scored.
    """
    train = (Path(tokens) / "train.txt").read_text("utf-8")
    test = (held_out or Path(tokens) / "held_out.txt").read_text("utf-8")
    if not test:
        return {}
    per_byte = len(test) / len(test.encode("utf-8")) / math.log(2)
    found = {
        f"{n}-gram": nats * per_byte
        for n, nats in witten_bell(train, test, orders).items()
        if n > 1
    }
    found |= compressed(train, test)
    return {
        "bits_per_byte": found,
        "best": min(found, key=lambda name: found[name]),
        "train_bytes": len(train.encode("utf-8")),
        "held_out_bytes": len(test.encode("utf-8")),
    }
