"""A short look at the data, from which defaults are chosen."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unlabeled.config import ImageConfig
from unlabeled.data.find import Source
from unlabeled.errors import DataError
from unlabeled.kinds import part

SAMPLE = 200
"""How many items are opened."""


@dataclass(frozen=True)
class Look:
    """What a sample of the data showed.

    Args:
        kind: one of `kinds.KINDS`.
        count: number of items.
        words: a sentence for people.
        size: edge in pixels (images), bytes in all (text), hertz (recordings) or steps (logs).
        channels: 1 or 3.
        mean: per channel, in [0, 1].
        std: per channel, in (0, 1].
        seconds: that 19 of 20 recordings do not exceed.
        details: what else a kind's choices are made from (logs: `gauge.Measured`).
    """

    kind: str
    count: int
    words: str
    size: int
    size_reason: str = ""
    channels: int = 3
    channels_reason: str = ""
    mean: list[float] = field(default_factory=list)
    std: list[float] = field(default_factory=list)
    seconds: float = 0.0
    details: Any = None


def look(source: Source) -> Look:
    """Open up to `SAMPLE` items spread over the data.

    Raises:
        DataError: none of them can be read.
    """
    places = np.unique(np.linspace(0, len(source) - 1, min(SAMPLE, len(source))).astype(int))
    found: Look = part(source.kind, "look")(source, places.tolist())
    return found


def documents(source: Source, places: list[int]) -> Look:
    """Weigh documents.

    Raises:
        DataError: none of them can be read.
    """
    sizes, reasons = [], []
    for place in places:
        try:
            sizes.append(_weigh(source, place))
        except DataError as error:
            reasons.append(str(error))
    if not sizes:
        raise DataError(f"None of {len(places)} documents could be read. First: {reasons[0]}")
    total = int(np.mean(sizes) * len(source))
    words = f"{len(source):,} documents, about {total / 1e6:.1f} MB"
    return Look("text", len(source), words, total)


def _weigh(source: Source, place: int) -> int:
    """Return the bytes of a document, which may be larger than the memory.

    Raises:
        DataError: it cannot be read.
    """
    stream = getattr(source, "stream", None)
    if stream is not None:
        with stream(place) as file:
            return int(os.fstat(file.fileno()).st_size)
    text: Any = source.payload(place)
    return len(text.encode("utf-8", "replace") if isinstance(text, str) else text)


def images(source: Source, places: list[int]) -> Look:
    """Measure images.

    Raises:
        DataError: none of them can be read.
    """
    from unlabeled.modalities.image import Image

    reader = Image(ImageConfig())
    edges, grey, pixels, reasons = [], 0, [], []
    for place in places:
        try:
            raw = np.asarray(reader.read(source.payload(place)))
        except DataError as error:
            reasons.append(str(error))
            continue
        edges.append(min(raw.shape[:2]))
        same = bool((raw[..., 0] == raw[..., 1]).all() and (raw[..., 0] == raw[..., 2]).all())
        grey += same
        step = max(1, min(raw.shape[:2]) // 32)
        pixels.append(raw[::step, ::step].reshape(-1, 3).astype(np.float64) / 255)
    if not edges:
        raise DataError(f"None of {len(places)} images could be read. First: {reasons[0]}")
    channels = 1 if grey == len(edges) else 3
    every = np.concatenate(pixels)[:, :channels]
    size, why = _size(int(np.median(edges)))
    return Look(
        "image", len(source), f"{len(source):,} images, {min(edges)}-{max(edges)} px", size, why,
        channels, "no sampled image has colour" if channels == 1 else "some images have colour",
        [round(float(v), 4) for v in every.mean(0)],
        [round(max(float(v), 0.01), 4) for v in every.std(0)],
    )  # fmt: skip


def _size(edge: int) -> tuple[int, str]:
    """Choose the input size from the median shorter edge."""
    if edge <= 36:
        size = max(8, edge // 4 * 4)
        return size, f"the images' own size ({edge} px), in whole patches"
    if edge <= 96:
        return 48 if edge < 64 else 64, f"near the images' own size ({edge} px)"
    return 96, f"large images ({edge} px) cost most; raise modality.size with more compute"
