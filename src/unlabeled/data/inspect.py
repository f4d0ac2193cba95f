"""Look at data before training: what is there, what is broken, what is there twice."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from unlabeled.config import ImageConfig
from unlabeled.data.duplicates import difference_hash, first_copies, near_groups
from unlabeled.data.find import Source, find
from unlabeled.data.split import content_hash
from unlabeled.errors import DataError
from unlabeled.kinds import KINDS, part, strings
from unlabeled.modalities import pixels, stored
from unlabeled.modalities.decode import decode
from unlabeled.modalities.headers import FORMATS
from unlabeled.modalities.image import Image

LIMIT = 20_000
"""How many items are opened, spread evenly over the data."""

_FLAT = 4
_SMALL_SET = 500


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Args:
        path: what was looked at.
        kind: one of `kinds.KINDS`.
        count: items in all.
        opened: items that were opened; every figure below is of these.
        num_bytes: their encoded size.
        broken: (name, reason) of each that cannot be read.
        duplicates: copies of an earlier item, byte for byte.
        near_duplicates: images that look like an earlier one and are not its copy.
        skipped: what was left out of the search, by reason.
        edges: smallest, median and largest shorter edge in pixels (images).
        modes: images by kind of pixel, such as RGB.
        coloured: share of images with any colour.
        mean: per channel, values in [0, 1].
        std: per channel.
        flat: images of nearly one colour.
        stored: smallest and largest value of images that are read as stored; empty for others.
        characters: smallest, median and largest length of a document, and the sum (text).
        words: words in all.
        blank: documents without a word.
        groups: items by top folder, largest first.
        lines: what there is to say of other kinds.
        doubts: sentences on what those figures mean for training.
        notes: sentences that a person should read.
    """

    path: str
    kind: str
    count: int
    opened: int
    num_bytes: int
    broken: Sequence[tuple[str, str]]
    duplicates: int
    near_duplicates: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    edges: tuple[int, int, int] = (0, 0, 0)
    modes: Mapping[str, int] = field(default_factory=dict)
    coloured: float = 0.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    flat: int = 0
    stored: tuple[float, ...] = ()
    characters: tuple[int, int, int, int] = (0, 0, 0, 0)
    words: int = 0
    blank: int = 0
    groups: Mapping[str, int] = field(default_factory=dict)
    lines: Sequence[str] = ()
    doubts: Sequence[str] = ()
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """Return the lines to print."""
        return "\n".join([*self._head(), *self._body(), *self._broken(), *self.notes])

    def _head(self) -> list[str]:
        noun = KINDS[self.kind].plural
        part = "" if self.opened == self.count else f" ({self.opened:,} of them opened)"
        readable = self.opened - len(self.broken)
        lines = [
            f"{self.path}: {self.count:,} {noun}{part}, {self.num_bytes / 1e6:,.1f} MB, "
            f"{readable:,} readable, {len(self.broken):,} broken, "
            f"{self.duplicates:,} exact duplicates"
        ]
        if self.skipped:
            listing = ", ".join(f"{n:,} {name}" for name, n in sorted(self.skipped.items()))
            lines.append(f"Left out: {listing}")
        if len(self.groups) > 1:
            listing = ", ".join(f"{name} {n:,}" for name, n in list(self.groups.items())[:10])
            more = f", and {len(self.groups) - 10:,} more" if len(self.groups) > 10 else ""
            lines.append(f"Folders: {listing}{more}")
        return lines

    def _body(self) -> list[str]:
        if len(self.broken) == self.opened:
            return []
        if self.lines:
            return list(self.lines)
        if strings(self.kind):
            low, middle, high, total = self.characters
            return [
                f"Length: {low:,} to {high:,} characters, median {middle:,}; {total:,} characters "
                f"and {self.words:,} words in all; {self.blank:,} blank"
            ]
        modes = ", ".join(f"{mode} {n:,}" for mode, n in self.modes.items())
        if self.stored:
            colour = f"stored values {self.stored[0]:g} to {self.stored[1]:g}"
            moments = ""
        else:
            colour = f"{self.coloured:.0%} have colour"
            moments = f"; mean {_numbers(self.mean)}, deviation {_numbers(self.std)}"
        return [
            f"Shorter edge: {self.edges[0]:,} to {self.edges[2]:,} px, median {self.edges[1]:,}; "
            f"pixels: {modes}; {colour}",
            f"Near-duplicates: {self.near_duplicates:,}; of nearly one colour: {self.flat:,}"
            f"{moments}",
        ]

    def _broken(self) -> list[str]:
        lines = [f"Broken: {name}: {reason}" for name, reason in self.broken[:5]]
        more = len(self.broken) - len(lines)
        return [*lines, f"... and {more:,} more"] if more > 0 else lines


def _numbers(values: Sequence[float]) -> str:
    return "/".join(f"{value:.2f}" for value in values)


class Looks:
    """Figures gathered item by item; one decoded item is in memory at a time."""

    def __init__(self) -> None:
        self.broken: list[tuple[str, str]] = []
        self.num_bytes = 0
        self.hashes: list[NDArray[np.int64]] = []
        self.groups: Counter[str] = Counter()

    def open(self, source: Source, index: int) -> None:
        """Look at one item."""
        name = source.name(index)
        self.groups[name.split("/")[0] if "/" in name else "."] += 1
        try:
            payload = source.payload(index)
            data = payload.encode("utf-8", "replace") if isinstance(payload, str) else payload
            self.num_bytes += len(data)
            self.hashes.append(np.frombuffer(content_hash(data), np.int64))
            self.measure(data)
        except DataError as error:
            self.broken.append((name, str(error)))

    def measure(self, data: bytes) -> None:
        """Measure one item."""
        raise NotImplementedError

    def figures(self) -> dict[str, Any]:
        """Return what was measured, by the names of `Inspection`."""
        raise NotImplementedError


class Documents(Looks):
    """Figures of text."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []
        self.words = self.blank = 0

    def measure(self, data: bytes) -> None:
        """Measure one item."""
        text = decode(data)
        words = len(text.split())
        self.lengths.append(len(text))
        self.words += words
        self.blank += not words

    def figures(self) -> dict[str, Any]:
        """Return what was measured."""
        return {
            "characters": (*_spread(self.lengths), sum(self.lengths)),
            "words": self.words,
            "blank": self.blank,
        }


class Images(Looks):
    """Figures of images."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = Image(ImageConfig())
        self.edges: list[int] = []
        self.modes: Counter[str] = Counter()
        self.coloured = self.flat = 0
        self.looks: list[int] = []
        self.sums = np.zeros((2, 3))
        self.lowest, self.highest = np.inf, -np.inf

    def measure(self, data: bytes) -> None:
        """Measure one item."""
        try:
            head = stored.facts(data)
        except DataError:
            self.reader.read(data)  # says more precisely what is wrong
            raise
        form = pixels.form([head])
        raw = (Image(form.reader()) if form.stored else self.reader).read(data)
        plain = isinstance(data, bytes) and not stored.is_array(data) and not form.stored
        self.modes[self._mode(data) if plain else str(head)] += 1
        self.edges.append(min(head.height, head.width) if not form.stored else min(raw.shape[:2]))
        values = pixels.sample(raw)
        if form.stored:
            self.lowest, self.highest = (
                min(self.lowest, float(values.min())), max(self.highest, float(values.max()))
            )  # fmt: skip
            raw = _seen(raw)
        small = np.asarray(PIL.Image.fromarray(raw).resize((9, 8)).convert("L"))
        if np.ptp(small) <= _FLAT:
            self.flat += 1
        else:
            self.looks.append(difference_hash(small))
        if not form.stored:
            shares = values / 255
            self.coloured += bool(np.ptp(raw, axis=2).max() > _FLAT)
            self.sums += shares.mean(0), (shares**2).mean(0)

    def _mode(self, data: bytes) -> str:
        with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.mode

    def figures(self) -> dict[str, Any]:
        """Return what was measured."""
        num = max(1, len(self.edges))
        mean = self.sums[0] / num
        std = np.sqrt(np.maximum(self.sums[1] / num - mean**2, 0))
        groups = near_groups(np.asarray(self.looks, np.uint64))
        return {
            "edges": _spread(self.edges),
            "modes": dict(self.modes.most_common()),
            "coloured": self.coloured / num,
            "flat": self.flat,
            "mean": tuple(map(float, mean)),
            "std": tuple(map(float, std)),
            "near_duplicates": len(groups) - len(np.unique(groups)),
            "stored": (self.lowest, self.highest) if self.highest >= self.lowest else (),
        }


def _seen(raw: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the mean of an image's channels as eight bits between its own ends, (H, W)."""
    grey = raw.mean(axis=2, dtype=np.float32)
    low, high = float(grey.min()), float(grey.max())
    scaled = (grey - low) * (255 / max(high - low, 1e-12))
    return np.asarray(np.rint(scaled), np.uint8)


def _spread(values: Sequence[int]) -> tuple[int, int, int]:
    if not values:
        return (0, 0, 0)
    return min(values), int(np.median(values)), max(values)


def inspect(
    path: str, kind: str | None = None, column: str | None = None, limit: int = LIMIT
) -> Inspection:
    """Look at up to `limit` items spread evenly over the data.

    Raises:
        UsageError: there is nothing to look at; with the sentence to print.
    """
    source = find(path, kind, column)
    places = np.unique(np.linspace(0, len(source) - 1, min(limit, len(source))).astype(np.int64))
    looks: Looks = part(source.kind, "inspection")()
    for index in places.tolist():
        looks.open(source, index)
    figures = looks.figures()
    hashes = np.asarray(looks.hashes).reshape(-1, 2)
    duplicates = len(hashes) - len(first_copies(hashes))
    if "near_duplicates" in figures:  # what is a copy is no near copy
        figures["near_duplicates"] = max(0, figures["near_duplicates"] - duplicates)
    found = Inspection(
        path,
        source.kind,
        len(source),
        len(places),
        looks.num_bytes,
        looks.broken,
        duplicates,
        skipped=dict(getattr(source, "skipped", {})),
        groups=dict(looks.groups.most_common()),
        **figures,
    )
    return Inspection(**{**found.__dict__, "notes": notes(found)})


def notes(found: Inspection) -> list[str]:
    """Return what a person should know before training."""
    readable = found.opened - len(found.broken)
    said = []
    if not readable:
        return ["Nothing can be read."]
    if not strings(found.kind) and found.count < _SMALL_SET:
        said.append(
            f"{found.count:,} {KINDS[found.kind].plural} are few: pre-training from zero will "
            "hardly beat plain features. Start from weights with --init, or collect more."
        )
    if len(found.broken) > 0.01 * found.opened:
        said.append("More than 1 % are broken: repair or remove them, or raise data.bad_budget.")
    if found.duplicates > 0.1 * readable:
        said.append("More than a tenth are exact copies; they are dropped before training.")
    if found.near_duplicates > 0.1 * readable:
        said.append(
            "More than a tenth look like another image: samples of one scene may lie on both "
            "sides of a split."
        )
    if found.flat > 0.1 * readable:
        said.append("More than a tenth of the images are of nearly one colour.")
    if found.coloured == 0 and "RGB" in found.modes:
        said.append("Stored as colour, but all grey: one channel is enough.")
    said.extend(found.doubts)
    sizes = list(found.groups.values())
    if len(sizes) > 1 and sizes[0] > 20 * sizes[-1]:
        said.append(
            f"Folders are unbalanced: the largest has {sizes[0]:,}, the smallest {sizes[-1]:,}."
        )
    return said
