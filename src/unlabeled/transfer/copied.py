"""Whether a generator writes what it learned by heart: n-grams that stand in the training text.

After McCoy et al. 2023 (RAVEN, arXiv:2111.09509): people repeat n-grams too, so what a model
copies is told beside what as much held-out text shares with the training text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unlabeled import rng
from unlabeled.data.tokens import TokenRows
from unlabeled.generate import Sampling, Writer
from unlabeled.modalities.text import Text

SIZES = (4, 8, 16, 32)
"""n of the n-grams of tokens whose shares are told."""
SAMPLES, SAMPLE_TOKENS = 32, 192
CHUNK = 1 << 22
"""Tokens of training text that are looked at together."""

Ids = NDArray[Any]
_ODD, _BASE, _WORD = 0x9E3779B97F4A7C15, 0xD1342543DE82EF95, (1 << 64) - 1


def hashes(ids: Ids, n: int) -> NDArray[np.uint64]:
    """Return a 64-bit hash of every n-gram, (N,) -> (N - n + 1,)."""
    if len(ids) < n:
        return np.zeros(0, np.uint64)
    part = (ids.astype(np.uint64) + np.uint64(1)) * np.uint64(_ODD)
    part = (part ^ (part >> np.uint64(29))) * np.uint64(_ODD)
    part ^= part >> np.uint64(32)  # of single tokens, then of 2, 4, 8, ...
    done, size, span, power = np.zeros(len(ids), np.uint64), 0, 1, _BASE
    while n:
        if n & 1:  # this part goes behind what is done
            count = len(ids) - size - span + 1
            done = done[:count] * np.uint64(power) + part[size : size + count]
            size += span
        n >>= 1
        if n:
            part = part[: len(part) - span] * np.uint64(power) + part[span:]
            span, power = 2 * span, power * power & _WORD
    return done


def seen(train: Ids, texts: Sequence[Ids], n: int) -> list[NDArray[np.bool_]]:
    """Return for each n-gram of each text whether it stands anywhere in the training tokens."""
    asked = [hashes(np.asarray(ids), n) for ids in texts]
    every = np.unique(np.concatenate(asked)) if asked else np.zeros(0, np.uint64)
    found = np.zeros(len(every), bool)
    if len(every):
        for part in _chunks(train, n):
            place = np.searchsorted(every, part).clip(max=len(every) - 1)
            found[place[every[place] == part]] = True
    return [found[np.searchsorted(every, one)] for one in asked]


def _chunks(train: Ids, n: int) -> Iterator[NDArray[np.uint64]]:
    """Yield the hashes of all n-grams of a stream, in bounded memory."""
    for start in range(0, max(len(train) - n + 1, 0), CHUNK):
        yield hashes(np.asarray(train[start : start + CHUNK + n - 1]), n)


def longest(train: Ids, texts: Sequence[Ids]) -> tuple[int, Ids]:
    """Return the length of the longest passage of a text that the training tokens hold, and it."""
    most = max((len(ids) for ids in texts), default=0)
    low, high, passage = 0, most, np.zeros(0, np.int64)
    while low < high:  # what shares n tokens shares n - 1
        middle = (low + high + 1) // 2
        matches = seen(train, texts, middle)
        hit = next((k for k, one in enumerate(matches) if one.any()), None)
        if hit is None:
            high = middle - 1
            continue
        low, start = middle, int(matches[hit].argmax())
        passage = np.asarray(texts[hit][start : start + middle])
    return low, passage


def shares(train: Ids, texts: Sequence[Ids]) -> dict[str, Any]:
    """Return what share of the n-grams of texts stands in the training tokens, and the longest."""
    size, passage = longest(train, texts)
    found: dict[str, Any] = {"longest": size, "passage": passage.tolist(), "shares": {}}
    for n in SIZES:
        every = np.concatenate([*seen(train, texts, n), np.zeros(0, bool)])
        if len(every):
            found["shares"][str(n)] = float(every.mean())
    return found


def copied(encoder: Any, text: Text, train: TokenRows, held_out: TokenRows, seed: int = 0) -> Any:
    """Let a generator write freely and compare with the training text.

    Args:
        encoder: a causal `Language` with its head.
        text: its tokenizer.
        train: all tokens that it was trained on.
        held_out: tokens of text that it never saw.
        seed: of the draws.

    Returns:
        ``generated`` and ``held_out`` (see `shares`, with the passage as text in ``words``), how
        many samples there were of how many tokens, at which temperature.
    """
    writer = Writer(encoder, text, limit=text.config.length)
    start = text.opens if text.starts_documents else list(map(int, train.ids[:1]))
    with torch.inference_mode():
        rows = writer.write([list(start)] * SAMPLES, SAMPLE_TOKENS, Sampling(1.0), seed)
    written = [np.asarray(row, np.int64) for row in rows if row]
    given = _beginnings(held_out, text, [len(row) for row in written], seed)
    found: dict[str, Any] = {
        "samples": len(written), "tokens": int(sum(map(len, written))), "temperature": 1.0,
        "train_tokens": train.num_tokens,
    }  # fmt: skip
    for name, texts in (("generated", written), ("held_out", given)):
        found[name] = shares(train.ids, texts)
        found[name]["words"] = text.decode(found[name]["passage"])
        found[name]["characters"] = len(found[name]["words"])
    return found


def _beginnings(rows: TokenRows, text: Text, lengths: Sequence[int], seed: int) -> list[Ids]:
    """Return as many tokens of held-out documents as were written: their beginnings, as there.

    Of few documents, pieces at random.
    """
    draws = rng.generator(rng.mix(seed, 0xC0B1))
    many = len(rows.starts) >= len(lengths)
    ends = np.append(rows.starts[1:], rows.num_tokens)
    chosen = draws.permutation(len(rows.starts))[: len(lengths)]
    found = []
    for number, length in enumerate(lengths):
        if many:
            begin, end = int(rows.starts[chosen[number]]), int(ends[chosen[number]])
            begin += len(text.opens)
        else:
            begin, end = int(draws.integers(max(rows.num_tokens - length, 1))), rows.num_tokens
        piece = np.asarray(rows.ids[begin : min(begin + length, end)], np.int64)
        found.append(piece[~np.isin(piece, text.special_ids)])
    return found


def words(found: dict[str, Any]) -> list[str]:
    """Say how much is copied."""
    ours, theirs = found["generated"], found["held_out"]
    passage = ours["words"].strip()
    told = passage if len(passage) <= 80 else passage[:77] + "..."
    said = [
        f"Memorisation: the longest passage of {found['samples']} samples that stands in the "
        f"training text has {ours['longest']} tokens ({ours['characters']} characters: {told!r}); "
        f"as much held-out text shares up to {theirs['longest']}."
    ]
    pairs = [
        f"{n} tokens {share:.1%} (held out {theirs['shares'].get(n, 0.0):.1%})"
        for n, share in ours["shares"].items()
    ]
    said.append(f"Share of n-grams found in the training text: {', '.join(pairs)}.")
    worst = max((s - 2 * theirs["shares"].get(n, 0.0) for n, s in ours["shares"].items()
                 if int(n) >= 16), default=0.0)  # fmt: skip
    if worst > 0.02 or ours["longest"] > 2 * theirs["longest"] + 16:
        said.append(
            "It recites: more than twice what held-out text shares. Stop earlier, drop repeated "
            "documents (data.near_duplicates), or give more text."
        )
    return said
