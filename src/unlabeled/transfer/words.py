"""Sentences as rows of tokens in which the place of every word is known.

A word is read at its first token, as is usual (Devlin et al., 2019, arXiv:1810.04805, section
5.3). Words are joined by spaces before they are cut into tokens, so that tokens are those of
running text also where a space belongs to the token after it (byte-level BPE); which token begins
which word follows from the tokenizer's offsets. Sentences longer than a row become several rows:
no word is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlabeled.data.tags import Tagged
from unlabeled.modalities.decode import Damage, clean
from unlabeled.transfer.tag_rows import TagRows
from unlabeled.types import View


class WordInputs(TagRows):
    """Tagged sentences as an encoder takes them.

    Args:
        source: N sentences with their tags.
        modality: whose tokenizer cuts them.
        length: tokens in a row, special ones included.

    Attributes:
        rows: (R, 2, T) int64, ids and document numbers (-1 at padding).
    """

    def __init__(self, source: Tagged, modality: Any, length: int) -> None:
        self.source, self.modality = source, modality
        opens = modality.opens if modality.starts_documents else []
        closes = modality.closes if modality.starts_documents else []
        room = max(1, length - len(opens) - len(closes))
        rows: list[list[int]] = []
        found: list[tuple[int, int]] = []
        for ids, firsts in _pieces(modality, source.words):
            for start, stop, words in _cut(firsts, len(ids), room):
                found += [(len(rows), len(opens) + firsts[word] - start) for word in words]
                rows.append([*opens, *ids[start:stop][:room], *closes])
        places = np.array(found, dtype=np.int64).reshape(-1, 2)
        self.row, self.place = places[:, 0], places[:, 1]
        self.rows = _padded(rows, int(modality.pad_id or 0))
        self.indices = np.arange(len(rows))
        self.starts, self.labels, self.width = source.starts, source.tags, self.rows.shape[2]

    @property
    def sentences(self) -> list[list[str]]:
        """Return the words, sentence by sentence."""
        found: list[list[str]] = self.source.words
        return found

    def view(self, rows: NDArray[np.int64], view: View, keys: NDArray[np.int64]) -> Tensor:
        """Return rows, (B, 2, <= T); text has no views."""
        return trim(self.rows[torch.as_tensor(rows)])

    def sizes(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many tokens rows have."""
        found: NDArray[np.int64] = (self.rows[torch.as_tensor(rows), 1] >= 0).sum(1).numpy()
        return found


def _pieces(
    modality: Any, sentences: Sequence[Sequence[str]]
) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the tokens of each sentence, and at which of them each word begins."""
    backend = modality.tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    for block in range(0, len(sentences), 1024):
        cleaned = [[clean(word, Damage()) for word in s] for s in sentences[block : block + 1024]]
        texts = [" ".join(words) for words in cleaned]
        for words, encoding in zip(
            cleaned, backend.encode_batch(texts, add_special_tokens=False), strict=True
        ):
            ends = [stop for _, stop in encoding.offsets]
            starts = np.cumsum([0, *(len(word) + 1 for word in words)])[:-1]
            firsts = np.searchsorted(np.maximum.accumulate(ends or [0]), starts, side="right")
            last = max(len(encoding.ids) - 1, 0)  # a word that the tokenizer drops has none
            yield encoding.ids or [modality.pad_id or 0], np.minimum(firsts, last).tolist()


def _cut(firsts: Sequence[int], count: int, room: int) -> Iterator[tuple[int, int, range]]:
    """Yield first and last token and the words of each row of a sentence."""
    word = 0
    while word < len(firsts):
        start, after = firsts[word], word + 1
        while after < len(firsts) and _end(firsts, after, count) - start <= room:
            after += 1
        yield start, _end(firsts, after - 1, count), range(word, after)
        word = after


def _end(firsts: Sequence[int], word: int, count: int) -> int:
    """Return where the tokens of a word end."""
    return max(firsts[word + 1] if word + 1 < len(firsts) else count, firsts[word] + 1)


def _padded(rows: Sequence[Sequence[int]], pad: int) -> Tensor:
    width = max(map(len, rows), default=1)
    found = torch.full((len(rows), 2, width), -1, dtype=torch.int64)
    found[:, 0] = pad
    for number, row in enumerate(rows):
        found[number, 0, : len(row)] = torch.tensor(row)
        found[number, 1, : len(row)] = 0
    return found


def trim(rows: Tensor) -> Tensor:
    """Drop the places at which every row is padded, (B, 2, T) -> (B, 2, <= T)."""
    used = (rows[:, 1] >= 0).any(dim=0).nonzero()
    return rows[:, :, : int(used.max()) + 1] if len(used) else rows[:, :, :1]
