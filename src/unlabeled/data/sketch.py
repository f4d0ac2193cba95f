"""Near-duplicates of any kind of data: what an item looks like in a few hundred bytes.

Images: a perceptual hash of 64 bits proposes pairs, thumbnails of 16 x 16 decide. Recordings: the
same of their log-mel spectrogram (signs of energy differences between bands, as in Haitsma and
Kalker, "A highly robust audio fingerprinting system", 2002), which louder copies share. Text:
MinHash of runs of three words (Broder, "On the resemblance and containment of documents", 1997).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from unlabeled.data.duplicates import close_pairs, difference_hash, linked
from unlabeled.data.find import Source
from unlabeled.data.survey import read
from unlabeled.errors import DataError
from unlabeled.kinds import KINDS, part

PICTURE, SOUND, SHARED = 0.985, 0.965, 0.6
"""Cosine of thumbnails, of spectrograms, and share of equal MinHash values of near-duplicates.

Of 4,000 different digits 11 pairs are above the first, of 4,000 photographs of CIFAR-10 none; of
600 spoken digits of six speakers none is above the second, and quieter copies all are.
"""

_BITS = 8
"""Bits of the hash in which near-duplicates may differ."""
_EDGE, _SOUND = 16, (16, 64)
_FLAT = 4.0
_PERMUTATIONS, _BAND = 64, 4
_RUN, _FEWEST = 3, 8
_CHARACTERS = 200_000


@dataclass(frozen=True)
class Sketches:
    """What N items look like; items that could not be read, or say nothing, are near to none.

    Args:
        keys: (N, W) items that share a key of one column are compared.
        looks: (N, L) what is compared.
        known: (N,) whether an item says anything.
        form: how `looks` are compared: ``cosine`` or ``shared``.
        alike: from which value on two items are near.
    """

    keys: NDArray[np.uint64]
    looks: NDArray[Any]
    known: NDArray[np.bool_]
    form: str
    alike: float = PICTURE

    def take(self, rows: NDArray[Any]) -> Sketches:
        """Return the items at `rows` (positions or a mask)."""
        return replace(self, keys=self.keys[rows], looks=self.looks[rows], known=self.known[rows])

    def __len__(self) -> int:
        """Return N."""
        return len(self.known)

    def join(self, other: Sketches) -> Sketches:
        """Return these items and then others of the same kind."""
        if not len(self) or not len(other):
            return self if len(self) else other
        return replace(
            self,
            keys=np.concatenate([self.keys, other.keys]),
            looks=np.concatenate([self.looks, other.looks]),
            known=np.concatenate([self.known, other.known]),
        )

    def pairs(self) -> NDArray[np.int64]:
        """Return which items are near-duplicates of one another, (M, 2)."""
        rows = np.flatnonzero(self.known)
        found = [np.zeros((0, 2), np.int64)]
        for column in range(self.keys.shape[1]):
            near = rows[close_pairs(self.keys[rows], column)]
            if self.form == "cosine":
                bits = self.keys[near[:, 0]] ^ self.keys[near[:, 1]]
                near = near[np.bitwise_count(bits).sum(axis=1) <= _BITS]
            found.append(near[self._alike(near[:, 0], near[:, 1])])
        return np.unique(np.concatenate(found), axis=0)

    def _alike(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.bool_]:
        alike = np.zeros(len(a), bool)
        for start in range(0, len(a), 65536):
            x, y = (self.looks[part[start : start + 65536]] for part in (a, b))
            if self.form == "cosine":
                value = np.einsum("nd,nd->n", x.astype(np.float32), y.astype(np.float32))
            else:
                value = (x == y).mean(axis=1)
            alike[start : start + 65536] = value >= self.alike
        return alike

    def groups(self) -> NDArray[np.int64]:
        """Return for each item the first one that it is linked to by near-duplicates, (N,)."""
        return linked(len(self), self.pairs())


def across(these: Sketches, those: Sketches) -> NDArray[np.bool_]:
    """Return which of `these` have a near-duplicate among `those`."""
    pairs = these.join(those).pairs() if len(these) and len(those) else np.zeros((0, 2), np.int64)
    border = len(these)
    near = np.zeros(border, bool)
    near[pairs[(pairs[:, 0] < border) & (pairs[:, 1] >= border), 0]] = True
    return near


def sketch(source: Source, indices: Sequence[int] | NDArray[np.int64]) -> Sketches:
    """Look at items of a source; one item is in memory at a time.

    Returns:
        Their sketches; none is known where the kind of data has no sketch.
    """
    kind = getattr(source, "kind", "text")
    named = KINDS[kind].sketch
    if not named:
        count = len(indices)
        return Sketches(
            np.zeros((count, 1), np.uint64), np.zeros((count, 1)), np.zeros(count, bool), "cosine"
        )
    reader = part(kind, "sketch")()
    keys = np.zeros((len(indices), len(reader.nothing[0])), np.uint64)
    looks = np.zeros((len(indices), len(reader.nothing[1])), reader.kept)
    known = np.zeros(len(indices), bool)
    for row, index in enumerate(indices):
        found = _look(reader, source, int(index))
        if found is not None:
            (keys[row], looks[row]), known[row] = found, True
    return Sketches(keys, looks, known, reader.form, reader.alike)


def _look(reader: Any, source: Source, index: int) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return the keys and the look of an item; None where it cannot be read or says nothing."""
    try:
        found: tuple[NDArray[Any], NDArray[Any]] | None = reader.look(source, index)
    except DataError:
        return None
    return found


class _Pictures:
    """Sketches of grey pictures."""

    form, kept, alike = "cosine", np.float16, PICTURE
    nothing = np.zeros(4, np.uint64), np.zeros(_EDGE * _EDGE)

    def of(self, grey: PIL.Image.Image) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Return the words of the hash and the thumbnail; None where all is of one value."""
        small = np.asarray(grey.resize((9, 8), PIL.Image.Resampling.BOX), np.float32)
        look = np.asarray(grey.resize((_EDGE, _EDGE), PIL.Image.Resampling.BOX), np.float32).ravel()
        if np.ptp(look) <= _FLAT:
            return None
        bits = difference_hash(small)
        words = np.array([(bits >> shift) & 0xFFFF for shift in (0, 16, 32, 48)], np.uint64)
        look = look - look.mean()
        return words, look / np.linalg.norm(look)


class Images(_Pictures):
    """Sketches of encoded images."""

    def __init__(self) -> None:
        from unlabeled.config import ImageConfig
        from unlabeled.modalities.image import Image

        self.reader = Image(ImageConfig())

    def look(self, source: Source, index: int) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Look at one image."""
        raw = np.asarray(self.reader.read(source.payload(index)))
        grey = raw.astype(np.float32)
        grey = grey.mean(axis=2) if grey.ndim == 3 else grey
        if raw.dtype != np.uint8:  # measured values of any range, as greys
            grey = (grey - grey.min()) * (255 / max(float(np.ptp(grey)), 1e-12))
        return self.of(PIL.Image.fromarray(grey))


class Clips(_Pictures):
    """Sketches of clips: three frames of each, beside one another."""

    def look(self, source: Source, index: int) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Look at one clip."""
        from unlabeled.modalities.film import Limits
        from unlabeled.modalities.video import decode

        frames = decode(source.payload(index), Limits(1, 32, 8)).frames[..., 0]
        places = np.linspace(0, len(frames) - 1, 3).astype(int)
        return self.of(PIL.Image.fromarray(np.hstack(list(frames[places]))))


class Recordings(_Pictures):
    """Sketches of encoded recordings: how 16 bands move over 64 moments.

    The average spectrum is left out, or all words of a speaker would look alike.
    """

    alike = SOUND
    nothing = np.zeros(4, np.uint64), np.zeros(_SOUND[0] * _SOUND[1])

    def __init__(self) -> None:
        from unlabeled.config import AudioConfig
        from unlabeled.modalities.audio import Audio

        self.reader = Audio(AudioConfig())

    def look(self, source: Source, index: int) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Look at the log-mel spectrogram of a recording, each step of which is worth 32 greys."""
        frames = np.asarray(self.reader.read(source.payload(index)), np.float32)
        both = self.of(PIL.Image.fromarray(32 * frames))
        if both is None:
            return None
        fine = PIL.Image.fromarray(frames).resize(_SOUND, PIL.Image.Resampling.BOX)
        bands = np.asarray(fine, np.float32)  # (64, 16)
        bands = bands - bands.mean(axis=0)
        return both[0], bands.ravel() / max(float(np.linalg.norm(bands)), 1e-6)


class Documents:
    """Sketches of texts."""

    form, kept, alike = "shared", np.uint32, SHARED
    nothing = (
        np.zeros(_PERMUTATIONS // _BAND, np.uint64),
        np.zeros(_PERMUTATIONS, np.uint32),
    )

    def __init__(self) -> None:
        random = np.random.Generator(np.random.Philox(key=0x5EED))
        most = (1 << 64) - 1
        turns = random.integers(0, most, (2, _PERMUTATIONS, 1), np.uint64, endpoint=True)
        self.turns = turns | np.array([1, 0], np.uint64)[:, None, None]  # odd multipliers

    def look(self, source: Source, index: int) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Look at the beginning of a document; fewer than eight words say nothing."""
        found, length = [], 0
        for piece in read(source, index):
            found.append(piece)
            length += len(piece)
            if length > _CHARACTERS:
                break
        words = "".join(found)[:_CHARACTERS].lower().split()
        if len(words) < _FEWEST:
            return None
        numbers = np.array([zlib.crc32(word.encode()) for word in words], np.uint64)
        runs = numbers[: len(words) - _RUN + 1].copy()
        for shift in range(1, _RUN):  # wraps around 2^64, on purpose
            runs = runs * np.uint64(0x9E3779B97F4A7C15) + numbers[shift : len(runs) + shift]
        runs = np.unique((runs ^ (runs >> np.uint64(32))) & np.uint64(0xFFFFFFFF))
        # The upper half of a x + b modulo 2^64 (Dietzfelbinger, 1996). The multipliers must be
        # of 64 bits: smaller ones leave the order of the phrases nearly the same in all 64.
        a, b = self.turns
        least = ((a * runs + b) >> np.uint64(32)).min(axis=1)  # (64,)
        bands = least.reshape(-1, _BAND)
        keys = bands[:, 0].copy()
        for column in range(1, _BAND):
            keys = keys * np.uint64(0x100000001B3) ^ bands[:, column]
        return keys, least.astype(np.uint32)
