"""Strided perplexity: windows that overlap, so that every token is given context.

A window of `context` tokens moves on by `stride`; of each, only tokens that no window before it
scored are scored. So all but the first tokens of a document are guessed from at least
``context - stride`` tokens, and no document sees another. The figure depends on both numbers, which
is why they are told with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from unlabeled.errors import UsageError
from unlabeled.transfer.token_costs import Asked, Ids, token_costs


@dataclass(frozen=True)
class Strided:
    """What a text costs under overlapping windows.

    Args:
        context: tokens in a window.
        stride: tokens by which windows move.
        targets: tokens that were scored; special ones, and a first one that nothing opens, are not.
        nats_per_token: mean over them.
        perplexity: its exponential; comparable under one tokenizer only.
        bits_per_byte: comparable between tokenizers; tokens of text that were not scored are taken
            to cost the mean.
    """

    context: int
    stride: int
    targets: int
    nats_per_token: float
    perplexity: float
    bits_per_byte: float


def windows(length: int, context: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Yield begin, end and first scored target of each window over `length` tokens.

    >>> list(windows(10, 6, 4))
    [(0, 6, 1), (4, 10, 6)]
    """
    scored = 1  # nothing comes before the first token
    for begin in range(0, length, stride):
        end = min(begin + context, length)
        if end > scored:
            yield begin, end, scored
        scored = max(scored, end)
        if end == length:
            return


def check(context: int, stride: int, longest: int | None) -> None:
    """Refuse windows that cannot be.

    Raises:
        UsageError: with what is allowed.
    """
    if context < 2 or (longest is not None and context > longest):
        most = "" if longest is None else f" to {longest}, which is what the network can read"
        raise UsageError(f"--context {context} is not possible: give 2{most or ' or more'}.")
    if not 1 <= stride < context:
        raise UsageError(
            f"--stride {stride} would leave tokens without any context: give 1 (slow, most "
            f"context) to {context - 1}."
        )


def strided(
    encoder: Any,
    documents: Iterable[Ids],
    num_bytes: int,
    special: Sequence[int],
    context: int,
    stride: int,
    precision: str = "fp32",
) -> dict[str, Any]:
    """Score documents with a causal encoder.

    Args:
        encoder: a causal `Language` with its head.
        documents: token ids, with what opens each.
        num_bytes: of UTF-8 that they stand for.
        special: ids that stand for no text.
        context: see `windows`.
        stride: see `windows`.
        precision: ``fp32`` or ``bf16``; the loss is in fp32 always.

    Returns:
        The fields of `Strided`.

    Raises:
        UsageError: the network cannot read so long a window.
    """
    check(context, stride, encoder.max_length)
    ordinary, silent = [0], np.asarray(sorted(special))

    def rows() -> Iterator[Asked]:
        for document in documents:
            ids = np.asarray(document, np.int64)
            spoken = ~np.isin(ids, silent)
            ordinary[0] += int(spoken.sum())
            for begin, end, first in windows(len(ids), context, stride):
                places = first + np.flatnonzero(spoken[first:end])
                yield Asked(ids[begin:end], places - begin - 1, ids[places])

    nats, targets = token_costs(encoder, rows(), precision=precision)
    mean = float(nats[0]) / max(int(targets[0]), 1)
    bits = mean * ordinary[0] / math.log(2) / max(num_bytes, 1)
    perplexity = math.exp(min(mean, 700.0))
    return asdict(Strided(context, stride, int(targets[0]), mean, perplexity, bits))
