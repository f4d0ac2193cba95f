"""Rows of several texts in one epoch, each with its share: domain beside general text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unlabeled.data.tokens import Row, TokenRows
from unlabeled.errors import DataError


class MixedRows:
    """Every row of the first text once an epoch, and of the others as many as their shares ask for.

    The others go on where they were in the epoch before, and begin again at their end, each time
    with another grid. So a row is a function of (seed, epoch, index), as everywhere.

    Args:
        main: the text that an epoch is counted by.
        others: the texts beside it.
        shares: of all rows, one for each of `others`; together below 1.

    Raises:
        DataError: one of the texts has not even a row.
    """

    kind = "text"

    def __init__(
        self, main: TokenRows, others: Sequence[TokenRows], shares: Sequence[float]
    ) -> None:
        self.parts = [main, *others]
        self.length = main.length
        total = len(main) / (1 - sum(shares))
        self.counts = [len(main), *(max(1, round(total * share)) for share in shares)]
        self.ends = np.cumsum(self.counts)
        for part in others:
            if not len(part):
                raise DataError(
                    f"A text of data.mix has {part.num_tokens} tokens, fewer than one row of "
                    f"modality.length={part.length}. Leave it out, or give more of it."
                )

    @property
    def fingerprint(self) -> str:
        """Return the checksums of all token files."""
        return "+".join(part.fingerprint for part in self.parts)

    def __len__(self) -> int:
        """Return the number of rows in an epoch."""
        return int(self.ends[-1])

    def locate(self, index: int, epoch: int) -> tuple[int, int, int]:
        """Return which text a row is of, which of its rows, and in which pass over it."""
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        part = int(np.searchsorted(self.ends, index, side="right"))
        if part == 0:
            return 0, index, epoch
        place = epoch * self.counts[part] + index - int(self.ends[part - 1])
        return part, place % len(self.parts[part]), place // len(self.parts[part])

    def name(self, index: int) -> str:
        """Return what a row is called in messages."""
        part, row, _ = self.locate(index, 0)
        return self.parts[part].name(row)

    def payload(self, index: int, epoch: int = 0) -> Row:
        """Return one row, (3, T)."""
        part, row, turn = self.locate(index, epoch)
        return self.parts[part].payload(row, turn)
