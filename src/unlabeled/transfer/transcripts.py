"""Transcripts: what is said in a recording, letter by letter, and how far off a reading is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from unlabeled import rng

BLANK = 0
"""Class of a frame at which nothing new is said."""
_NEVER = -1e4
_COPIES = 1000


@dataclass(frozen=True)
class Alphabet:
    """The characters that transcripts are written with; class 0 is the blank.

    Args:
        letters: K - 1 characters.
    """

    letters: str

    @classmethod
    def of(cls, texts: Sequence[str]) -> Alphabet:
        """Collect the characters of some transcripts.

        >>> Alphabet.of(["one", "no"]).letters
        'eno'
        """
        return cls("".join(sorted(set("".join(texts)))))

    def encode(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return classes, (N, S), -1 behind the end; characters that are not known are left out."""
        rows = [[self.letters.index(c) + 1 for c in text if c in self.letters] for text in texts]
        found = np.full((len(rows), max(map(len, rows), default=1) or 1), -1, dtype=np.int64)
        for number, row in enumerate(rows):
            found[number, : len(row)] = row
        return found

    def decode(self, classes: NDArray[np.int64]) -> str:
        """Read frames greedily: runs become one letter, blanks none (Graves et al., 2006).

        >>> Alphabet("abc").decode(np.array([0, 1, 1, 0, 1, 3, 3]))
        'aac'
        """
        new = np.concatenate([[True], classes[1:] != classes[:-1]])
        return "".join(self.letters[c - 1] for c in classes[new & (classes != BLANK)])


def frames_needed(targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many frames a transcript needs at least: a blank must part equal neighbours."""
    real = targets >= 0
    twins = (targets[:, 1:] == targets[:, :-1]) & real[:, 1:]
    needed: NDArray[np.int64] = real.sum(1) + twins.sum(1)
    return needed


def silent(logits: Tensor, real: Tensor) -> Tensor:
    """Say blank, with certainty, at frames that are padding; (B, N, K), (B, N) bool.

    So all recordings of a batch have as many frames, and the loss is that of the real ones.
    """
    blank = torch.full_like(logits[:1, :1], _NEVER)
    blank[..., BLANK] = 0
    return torch.where(real[..., None], logits, blank)


def loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return -log p(transcript) per character, averaged over recordings.

    Connectionist temporal classification (Graves et al., 2006, doi:10.1145/1143844.1143891).

    Args:
        logits: (B, N, K) of frames, as `silent` leaves them.
        target: (B, S) classes, -1 behind the end.
    """
    lengths = (target >= 0).sum(1)
    frames = torch.full_like(lengths, logits.shape[1])
    chances = logits.float().log_softmax(2).transpose(0, 1)  # (N, B, K)
    return functional.ctc_loss(chances, target.clamp(min=0), frames, lengths, BLANK)


def distance(said: str, real: str) -> int:
    """Return how many characters must be changed, added or removed (Levenshtein).

    >>> distance("kitten", "sitting"), distance("", "abc")
    (3, 3)
    """
    row = list(range(len(real) + 1))
    for i, a in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(real, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def likeliest(texts: Sequence[str]) -> str:
    """Return the transcript that, always said, would be least wrong of the given ones.

    The 20 commonest are tried on 100 that are spread evenly over all.

    >>> likeliest(["nine", "nine", "five", "seventy"])
    'nine'
    """
    common = [text for text, _ in Counter(texts).most_common(20)]
    some = list(texts)[:: -(-len(texts) // 100)]
    return min(common, key=lambda text: sum(distance(text, real) for real in some))


def error_rate(
    said: Sequence[str], real: Sequence[str], seed: int = 0, group: NDArray[np.str_] | None = None
) -> tuple[float, float, float]:
    """Return the character error rate with its 95 % interval.

    The rate is edits over characters of all recordings; the interval is a percentile bootstrap
    over recordings, or over groups (speakers) where they are known.

    Args:
        said: what was read.
        real: what was said.
        seed: of the bootstrap.
        group: (N,) names of groups that come and go together.

    >>> error_rate(["one", "too"], ["one", "two"])[0]
    0.16666666666666666
    """
    edits = np.array([distance(a, b) for a, b in zip(said, real, strict=True)], dtype=np.float64)
    letters = np.array([len(text) for text in real], dtype=np.float64)
    member = np.arange(len(edits)) if group is None else np.unique(group, return_inverse=True)[1]
    by_edits, by_letters = (np.bincount(member, part) for part in (edits, letters))
    units = len(by_edits)
    drawn = rng.generator(rng.mix(seed, units)).integers(units, size=(_COPIES, units))
    rates = by_edits[drawn].sum(1) / np.maximum(by_letters[drawn].sum(1), 1)
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(edits.sum() / max(letters.sum(), 1)), float(low), float(high)
