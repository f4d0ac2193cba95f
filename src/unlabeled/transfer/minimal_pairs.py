"""Minimal pairs: of two sentences that differ in one thing, does the model prefer the right one?

As in BLiMP (Warstadt et al. 2020, arXiv:1912.00582): a causal model prefers the sentence with the
higher probability. A masked model is asked by its pseudo-likelihood, the sum over tokens of what
each costs when it alone is hidden (Salazar et al. 2020, arXiv:1910.14659). Equal scores count one
half: counted as right, a model that cannot tell any pair apart would look perfect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data import ngram
from unlabeled.data.label_table import columns_of, pick, read_columns
from unlabeled.errors import UsageError
from unlabeled.modalities.text import Text
from unlabeled.transfer.token_costs import Asked, token_costs

GOOD = ("good", "sentence_good", "right", "grammatical", "correct")
BAD = ("bad", "sentence_bad", "wrong", "ungrammatical", "incorrect")
GROUP = ("group", "uid", "phenomenon", "linguistics_term", "category")
ORDER = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Sentences that are right, those that are not, and what each pair is about."""

    good: list[str]
    bad: list[str]
    groups: list[str]


def read(path: Path) -> Pairs:
    """Read pairs from a csv, tsv, jsonl (as BLiMP's) or parquet table.

    Raises:
        UsageError: a column is missing, a cell is empty, or there is no pair.
    """
    columns = columns_of(path)
    good, bad, group = (pick(columns, names) for names in (GOOD, BAD, GROUP))
    if good is None or bad is None:
        raise UsageError(
            f"{path} has the columns {', '.join(columns) or 'of nothing'}. Minimal pairs need two: "
            "good,bad (or sentence_good,sentence_bad); a third, group, is optional. Pairs of "
            "samples that are the same or not need three: a,b,same."
        )
    found = read_columns(path, [good, bad, *([group] if group else [])])
    empty = [n for n, (one, other) in enumerate(zip(*found[:2], strict=True), 1)
             if not (str(one or "").strip() and str(other or "").strip())]  # fmt: skip
    if empty or not found[0]:
        where = f"pair {empty[0]} of {path} lacks a sentence" if empty else f"{path} has no pairs"
        raise UsageError(f"{where[0].upper()}{where[1:]}. Give two sentences in every row.")
    groups = [str(cell) for cell in found[2]] if group else [""] * len(found[0])
    return Pairs(list(map(str, found[0])), list(map(str, found[1])), groups)


def likelihoods(encoder: Any, text: Text, sentences: Sequence[str], precision: str) -> Floats:
    """Return the log-probability of each sentence in nats, (N,); pseudo- for a masked model.

    Raises:
        UsageError: a sentence is longer than the rows that the model was trained on.
    """
    rows, bodies = _tokens(text, sentences)
    made = (_causal if encoder.causal else _masked)(text, rows, bodies)
    return -token_costs(encoder, made, len(sentences), precision)[0]


def _tokens(text: Text, sentences: Sequence[str]) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """Return each sentence as a document, and where its own tokens begin and end."""
    opens, closes = (text.opens, text.closes) if text.starts_documents else ([], [])
    rows, bodies = [], []
    for sentence, body in zip(sentences, text.encode(sentences), strict=True):
        row = [*opens, *body, *closes]
        if len(row) > text.config.length:
            raise UsageError(
                f"A sentence has {len(row)} tokens and the model was trained on rows of "
                f"{text.config.length}: {sentence[:60]!r}... Leave it out."
            )
        rows.append(row)
        bodies.append((len(opens), len(opens) + len(body)))
    return rows, bodies


def _causal(text: Text, rows: list[list[int]], bodies: list[tuple[int, int]]) -> Iterator[Asked]:
    """Every token is guessed by the one before; a first one that nothing opens is not."""
    for number, (row, (start, stop)) in enumerate(zip(rows, bodies, strict=True)):
        first = max(start, 1)
        yield Asked(row[:stop], range(first - 1, stop - 1), row[first:stop], number)


def _masked(text: Text, rows: list[list[int]], bodies: list[tuple[int, int]]) -> Iterator[Asked]:
    """Every token is hidden once and guessed in its own place."""
    mask = text.mask_id
    assert mask is not None
    for number, (row, (start, stop)) in enumerate(zip(rows, bodies, strict=True)):
        for place in range(start, stop):
            hidden = [*row[:place], mask, *row[place + 1 :]]
            yield Asked(hidden, [place], [row[place]], number)


def by_ngrams(train: str, sentences: Sequence[str]) -> Floats:
    """Return the log-probability of each sentence under a table of five characters, (N,)."""
    gap = "\n" * (ORDER - 1)  # so that no sentence sees the one before
    joined = gap + gap.join(sentences)
    nats = next(cost for order, cost in ngram.costs(train, joined, ORDER) if order == ORDER)
    found, start = [], len(gap)
    for sentence in sentences:
        found.append(-float(nats[start : start + len(sentence)].sum()))
        start += len(sentence) + len(gap)
    return np.array(found)


def accuracy(good: Floats, bad: Floats) -> dict[str, Any]:
    """Return the share of pairs whose good sentence is preferred, ties counted half.

    With its 95 % interval (Wilson 1927, doi:10.1080/01621459.1927.10502953) and the ties.

    >>> accuracy(np.array([1.0, 2.0]), np.array([1.0, 0.0]))["accuracy"]
    0.75
    """
    count, ties = len(good), int((good == bad).sum())
    share = (float((good > bad).sum()) + ties / 2) / count
    z2 = 1.959963984540054**2
    middle, width = share + z2 / (2 * count), share * (1 - share) / count + z2 / (4 * count**2)
    low, high = ((middle + sign * (z2 * width) ** 0.5) / (1 + z2 / count) for sign in (-1, 1))
    return {"accuracy": share, "low": low, "high": high, "pairs": count, "ties": ties}


def judge(encoder: Any, text: Text, pairs: Pairs, train: str, precision: str) -> dict[str, Any]:
    """Score pairs by a model and by a table of five characters that counted the same text.

    Returns:
        ``model`` and ``5-gram``, each as `accuracy` gives it; ``groups`` (group -> the model's);
        ``unknown``, how many pairs hold tokens that the tokenizer does not know.
    """
    sentences = [*pairs.good, *pairs.bad]
    half, found = len(pairs.good), likelihoods(encoder, text, sentences, precision)
    plain = by_ngrams(train, sentences)
    groups = {}
    ordered = sorted(range(half), key=lambda i: pairs.groups[i])
    for name, members in groupby(ordered, key=lambda i: pairs.groups[i]):
        rows = list(members)
        groups[name] = accuracy(found[:half][rows], found[half:][rows])
    unknown = 0
    if text.unknown_id is not None:
        strange = np.array([text.unknown_id in ids for ids in text.encode(sentences)])
        unknown = int((strange[:half] | strange[half:]).sum())
    return {
        "likelihood": "likelihood" if encoder.causal else "pseudo-likelihood",
        "model": accuracy(found[:half], found[half:]),
        f"{ORDER}-gram": accuracy(plain[:half], plain[half:]),
        "groups": groups if len(groups) > 1 else {},
        "unknown": unknown,
    }


def words(found: dict[str, Any]) -> list[str]:
    """Say how often the right sentence is preferred."""
    ours, plain = found["model"], found[f"{ORDER}-gram"]
    said = (
        f"Minimal pairs: {ours['accuracy']:.3f} of {ours['pairs']:,} preferred right by "
        f"{found['likelihood']} (95 % interval {ours['low']:.3f} to {ours['high']:.3f}; half is "
        f"chance; {ours['ties']} ties count half); a table of {ORDER} characters: "
        f"{plain['accuracy']:.3f}."
    )
    if found["unknown"]:
        said += f" {found['unknown']} pairs hold what the tokenizer does not know."
    return [said]
