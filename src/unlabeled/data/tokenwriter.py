"""Writing the token file of one part of the data, piece by piece."""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.tokens import checksum
from unlabeled.errors import DataError
from unlabeled.modalities.text import Text

KEPT_BYTES = {"train": 8_000_000, "held_out": 2_000_000}
"""Most text kept beside the tokens, for the baselines (n-gram, xz)."""
_TOGETHER = 1 << 18
"""Characters that the tokenizer is given at once; it needs about 200 bytes for each."""

Piece = tuple[str, bool]
"""Text, and whether a document begins with it."""


def _flagged(documents: Iterable[Iterable[str]]) -> Iterator[Piece]:
    """Yield the pieces of all documents."""
    for texts in documents:
        for number, text in enumerate(texts):
            yield text, number == 0


def _gathered(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Yield pieces in groups that are tokenized together."""
    group: list[Piece] = []
    size = 0
    for piece in pieces:
        group.append(piece)
        size += len(piece[0])
        if size >= _TOGETHER:
            yield group
            group, size = [], 0
    if group:
        yield group


class _Writer:
    """The stream of tokens, with what is counted on the way."""

    def __init__(self, text: Text, path: Path) -> None:
        self.text, self.path = text, path
        self.dtype = "uint16" if text.vocab_size <= 1 << 16 else "uint32"
        self.counts: NDArray[np.int64] = np.zeros(text.vocab_size, np.int64)
        self.starts = array("q")
        self.tokens = self.num_bytes = self.characters = 0
        self.digest = hashlib.sha256()

    def write(self, documents: Iterable[Iterable[str]], kept: int) -> None:
        """Tokenize and write documents, and keep the beginning of their text."""
        with (
            self.path.with_suffix(".part").open("wb") as stream,
            self.path.with_suffix(".txt").open("wb") as plain,
        ):
            for group in _gathered(_flagged(documents)):
                ids = self._ids(group)
                block = ids.astype(self.dtype).tobytes()
                self.digest.update(block)
                stream.write(block)
                self._keep(plain, group, kept)
            end = np.asarray(self.text.closes if self.starts else [], self.dtype).tobytes()
            self.digest.update(end)
            stream.write(end)
            self.tokens += len(end) // np.dtype(self.dtype).itemsize
        os.replace(self.path.with_suffix(".part"), self.path)
        np.frombuffer(self.starts, np.int64).tofile(self.path.with_suffix(".idx"))

    def _ids(self, group: list[Piece]) -> NDArray[np.int64]:
        """Return the tokens of a group, with what closes and opens documents between them."""
        runs: list[list[int]] = []
        for (text, first), ids in zip(group, self.text.encode([t for t, _ in group]), strict=True):
            if first:
                closes = self.text.closes if self.starts else []
                self.starts.append(self.tokens + len(closes))
                ids = [*closes, *self.text.opens, *ids]
            runs.append(ids)
            self.tokens += len(ids)
            self.characters += len(text)
        flat = np.fromiter((i for run in runs for i in run), np.int64)
        self._check(flat)
        self.counts += np.bincount(flat, minlength=len(self.counts))
        return flat

    def _check(self, ids: NDArray[np.int64]) -> None:
        if len(ids) and int(ids.max()) >= self.text.vocab_size:
            raise DataError(
                f"The tokenizer gives the id {int(ids.max())}, but its vocabulary has "
                f"{self.text.vocab_size} entries. Train a tokenizer: modality.tokenizer=bpe."
            )

    def _keep(self, plain: BinaryIO, group: list[Piece], kept: int) -> None:
        """Count bytes, and keep the beginning of the text with a line end between documents."""
        for text, first in group:
            block = text.encode("utf-8")
            between = b"\n" if first and self.num_bytes else b""
            self.num_bytes += len(block)
            room = kept - plain.tell() - len(between)
            if room > 0:
                plain.write(between + block[:room].decode("utf-8", "ignore").encode("utf-8"))


def write_tokens(
    documents: Iterable[Iterable[str]], text: Text, path: Path, kept: int
) -> dict[str, Any]:
    """Write the tokens of one part and return what is known of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = _Writer(text, path)
    writer.write(documents, kept)
    share = writer.counts[writer.counts > 0] / max(writer.counts.sum(), 1)
    known = {
        "tokens": writer.tokens,
        "documents": len(writer.starts),
        "bytes": writer.num_bytes,
        "characters": writer.characters,
        "dtype": writer.dtype,
        "closing": text.opens[0] if text.opens and not text.closes else -1,
        "used": int((writer.counts > 0).sum()),
        "unknown": int(writer.counts[text.unknown_id]) if text.unknown_id is not None else 0,
        "unigram_entropy": float(-(share * np.log(share)).sum()),
        "sha256": writer.digest.hexdigest(),
        "sha256_idx": checksum(path.with_suffix(".idx")),
    }
    path.with_suffix(".json").write_text(json.dumps(known, indent=1), "utf-8")
    return known
