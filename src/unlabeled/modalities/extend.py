"""More entries for a tokenizer that exists, learned from new text by going on with its merges.

Pairs of neighbouring tokens are joined in the order of how often they stand together, as BPE does
(Sennrich et al. 2016, arXiv:1508.07909). For BPE the joins are merges behind those that it has, so
that the new tokens of a text, taken apart again, are its old ones; for WordPiece they are entries,
which its longest match finds. What a new token stood for before is kept: its embedding begins as
their mean.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlabeled.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PIECES = "extended.json"
"""File beside tokenizer.json: id of a new token -> ids of the tokens that it was before."""

Pair = tuple[str, str]


def extend(
    tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], count: int, folder: Path
) -> None:
    """Save a tokenizer with up to `count` more entries in a folder, and what they were before.

    Args:
        tokenizer: a BPE or WordPiece tokenizer.
        texts: pieces of documents; read once.
        count: how many entries are wanted; fewer where nothing is left that repeats.
        folder: where it is saved.

    Raises:
        ConfigError: the tokenizer is of another kind.
    """
    backend: Any = tokenizer.backend_tokenizer
    kind = type(backend.model).__name__
    if kind not in ("BPE", "WordPiece"):
        raise ConfigError(
            f"modality.extend={count} needs a BPE or WordPiece tokenizer, and this one is of kind "
            f"{kind}. Leave modality.extend out."
        )
    words = _words(backend, texts)
    joins = _joins(words, count, "##" if kind == "WordPiece" else "", tokenizer.get_vocab())
    tokenizer.save_pretrained(str(folder))
    known = dict(tokenizer.get_vocab())
    pieces: dict[int, list[int]] = {}
    content = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    for pair, word in joins:
        number = len(known)
        pieces[number] = [i for part in pair for i in pieces.get(known[part], [known[part]])]
        known[word] = content["model"]["vocab"][word] = number
        if kind == "BPE":
            content["model"]["merges"].append(list(pair))
    (folder / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    (folder / PIECES).write_text(json.dumps(pieces), "utf-8")


def pieces_of(folder: Path) -> dict[int, list[int]]:
    """Return id -> ids before of the tokens that were added; none where there is no such file."""
    path = Path(folder) / PIECES
    if not path.is_file():
        return {}
    return {int(k): [int(i) for i in v] for k, v in json.loads(path.read_text("utf-8")).items()}


def _words(backend: Any, texts: Iterable[str]) -> list[tuple[list[str], int]]:
    """Return the tokens of each different word that repeats, and how often it stands there."""
    counts: Counter[str] = Counter()
    for text in texts:
        normal = backend.normalizer.normalize_str(text) if backend.normalizer else text
        counts.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal))
    found = []
    for word, count in sorted(counts.items()):
        if count > 1:
            tokens = [token.value for token in backend.model.tokenize(word)]
            if len(tokens) > 1:
                found.append((tokens, count))
    return found


def _joins(
    words: list[tuple[list[str], int]], count: int, mark: str, known: dict[str, int]
) -> list[tuple[Pair, str]]:
    """Return the pairs that are joined, most frequent first, and what each becomes."""
    counts: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[int]] = defaultdict(set)

    def tally(index: int, sign: int) -> None:
        tokens, often = words[index]
        for pair in pairwise(tokens):
            counts[pair] += sign * often
            places[pair].add(index)

    for index in range(len(words)):
        tally(index, 1)
    joins: list[tuple[Pair, str]] = []
    made = set(known)
    while len(joins) < count and counts:
        pair, often = min(counts.items(), key=lambda item: (-item[1], item[0]))
        if often < 2:
            break
        word = pair[0] + pair[1].removeprefix(mark)
        if word in made:  # an entry that this tokenizer never comes to by itself
            del counts[pair]
            continue
        joins.append((pair, word))
        made.add(word)
        for index in places[pair]:
            tally(index, -1)
            words[index] = _joined(words[index][0], pair, word), words[index][1]
            tally(index, 1)
        del counts[pair]
    return joins


def _joined(tokens: list[str], pair: Pair, word: str) -> list[str]:
    """Return tokens with every occurrence of a pair joined, from the left."""
    found: list[str] = []
    for token in tokens:
        if found and (found[-1], token) == pair:
            found[-1] = word
        else:
            found.append(token)
    return found
