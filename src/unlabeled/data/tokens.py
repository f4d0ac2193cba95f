"""A memory-mapped stream of tokens, read in rows.

The stream is the documents one after the other, each with its special tokens. A row is T
neighbouring tokens. In pre-training the grid of rows is shifted in every epoch by a function of
(seed, epoch), so that rows are drawn without replacement and documents are cut elsewhere each
time; held-out rows lie on a fixed grid that covers every token exactly once.

A row is int32 (3, T):

    0  token ids (0 at padding)
    1  running number of the document inside the row (-1 at padding)
    2  the token that follows within the same document, or what closes it (-1: nothing to predict)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.errors import DataError
from unlabeled.rng import mix

Row = NDArray[np.int32]


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class TokenRows:
    """Rows of tokens of one part of the data.

    Args:
        path: the token file; ``.idx`` beside it holds where documents begin, ``.json`` what is
            known of it.
        length: T, tokens in a row.
        seed: of the shift of the grid.
        fixed: whether the grid never moves and covers the end of the stream (held-out rows).
    """

    kind = "text"

    def __init__(self, path: Path, length: int, seed: int = 0, fixed: bool = False) -> None:
        self.path, self.length, self.seed, self.fixed = Path(path), length, seed, fixed
        self.info: dict[str, Any] = json.loads(self.path.with_suffix(".json").read_text("utf-8"))
        self.num_tokens = int(self.info["tokens"])
        self.num_bytes = int(self.info["bytes"])
        self.closing = int(self.info["closing"])
        self._open()

    def _open(self) -> None:
        shape = (self.num_tokens,)
        self.ids: NDArray[Any] = _mapped(self.path, self.info["dtype"], shape)
        self.starts: NDArray[Any] = _mapped(
            self.path.with_suffix(".idx"), "int64", (int(self.info["documents"]),)
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave the mapping out: a worker process maps the file itself."""
        return {k: v for k, v in self.__dict__.items() if k not in ("ids", "starts")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Map the files again."""
        self.__dict__.update(state)
        self._open()

    @property
    def fingerprint(self) -> str:
        """Return the checksum of the token file."""
        return str(self.info["sha256"])

    @property
    def bytes_per_token(self) -> float:
        """Return how many bytes of UTF-8 a token stands for, special tokens counted as tokens."""
        return self.num_bytes / max(self.num_tokens, 1)

    def __len__(self) -> int:
        """Return the number of rows; a moving grid leaves less than a row out each epoch."""
        if self.fixed:
            return -(-self.num_tokens // self.length)
        return self.num_tokens // self.length

    def name(self, index: int) -> str:
        """Return what a row is called in messages."""
        return f"{self.path.name}#{index}"

    def verify(self) -> None:
        """Compare the files with their checksums.

        Raises:
            DataError: a file is damaged.
        """
        for path, key in ((self.path, "sha256"), (self.path.with_suffix(".idx"), "sha256_idx")):
            if checksum(path) != self.info[key]:
                raise DataError(
                    f"{path} is damaged (its checksum differs from the one written beside it). "
                    f"Delete the folder {path.parent} and start the run again."
                )

    def start(self, index: int, epoch: int) -> int:
        """Return where in the stream a row begins."""
        shift = 0 if self.fixed else mix(self.seed, epoch, 0x707E) % max(self.num_tokens, 1)
        return (shift + index * self.length) % max(self.num_tokens, 1)

    def payload(self, index: int, epoch: int = 0) -> Row:
        """Return one row, (3, T)."""
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        start = self.start(index, epoch)
        stop = start + self.length
        if stop < self.num_tokens or self.fixed:
            ids = self.ids[start : stop + 1].astype(np.int32)
            begins = self.starts[slice(*np.searchsorted(self.starts, [start, stop + 1]))] - start
        else:  # around the end of the stream
            over = stop + 1 - self.num_tokens
            ids = np.concatenate([self.ids[start:], self.ids[:over]]).astype(np.int32)
            first = self.starts[np.searchsorted(self.starts, start) :] - start
            again = self.starts[: np.searchsorted(self.starts, over)] + self.num_tokens - start
            begins = np.concatenate([first, again])
        return self._row(ids, begins)

    def _row(self, ids: Row, begins: NDArray[np.int64]) -> Row:
        """Lay out T tokens, of which `ids` holds one more where the stream goes on."""
        length = self.length
        count = min(len(ids), length)
        opens = np.zeros(length + 1, np.int32)
        opens[begins[begins <= length]] = 1
        row = np.zeros((3, length), np.int32)
        row[0, :count] = ids[:count]
        row[2, : len(ids) - 1] = ids[1:]
        if len(ids) <= length:
            row[2, len(ids) - 1] = self.closing
        row[2][opens[1:] == 1] = self.closing
        opens[0] = 0
        row[1] = np.cumsum(opens[:length])
        row[1:, count:] = -1
        return row

    def batch(self, indices: Sequence[int], epoch: int = 0) -> Row:
        """Return several rows, (B, 3, T)."""
        return np.stack([self.payload(int(index), epoch) for index in indices])


def _mapped(path: Path, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Map a file read-only; an empty file cannot be mapped."""
    if shape == (0,):
        return np.zeros(0, dtype)
    try:
        return np.memmap(path, dtype=dtype, mode="r", shape=shape)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
