"""A short look at the data, from which defaults are chosen."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.compressed import is_packed
from unlabeled.data.find import Source
from unlabeled.errors import DataError
from unlabeled.kinds import part

if TYPE_CHECKING:
    from unlabeled.modalities.pixels import Form

SAMPLE = 200
"""How many items are opened."""

CLIPS, GREY = 40, 8
"""How many clips are decoded, and by how much the channels of grey video differ by its coding."""


@dataclass(frozen=True)
class Look:
    """What a sample of the data showed.

    Args:
        kind: one of `kinds.KINDS`.
        count: number of items.
        words: a sentence for people.
        size: edge in pixels (images), bytes in all (text), hertz (recordings) or steps (logs).
        channels: C of images.
        mean: per channel, where 0 and 1 are the ends of the scale.
        std: per channel, > 0.
        seconds: that 19 of 20 recordings do not exceed.
        details: what else a kind's choices are made from (logs: `gauge.Measured`).
        settings: further options of the modality, each with its reason.
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
    settings: Mapping[str, tuple[Any, str]] = field(default_factory=dict)


def look(source: Source) -> Look:
    """Open up to `SAMPLE` items spread over the data.

    Raises:
        DataError: none of them can be read.
    """
    places = np.unique(np.linspace(0, len(source) - 1, min(SAMPLE, len(source))).astype(int))
    found: Look = part(source.kind, "look")(source, places.tolist())
    return found


LEAST = 1.0
"""Share of a drawing that a crop covers at least (docs/log.md, 2026-11-25)."""

USUAL_RATIO = 3
"""How many times its size packed text usually unpacks to."""


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
            size = int(os.fstat(file.fileno()).st_size)
            return size * USUAL_RATIO if is_packed(source.name(place)) else size
    text: Any = source.payload(place)
    return len(text.encode("utf-8", "replace") if isinstance(text, str) else text)


def images(source: Source, places: list[int]) -> Look:
    """Measure images.

    Raises:
        DataError: none of them can be read.
    """
    from unlabeled.modalities import pixels, stored
    from unlabeled.modalities.image import Image

    heads, reasons = [], []
    for place in places:
        with contextlib.suppress(DataError):  # the reader says below what is wrong
            heads.append(stored.facts(source.payload(place)))
    found = pixels.form(heads) if heads else pixels.Form(False, 3, "first", False, "")
    reader, raws, edges, grey = Image(found.reader()), [], [], 0
    for place in places:
        try:
            raw = reader.read(source.payload(place))
        except DataError as error:
            reasons.append(str(error))
            continue
        edges.append(min(raw.shape[:2]))
        grey += raw.shape[2] == 1 or bool((raw == raw[..., :1]).all())
        raws.append(pixels.sample(raw))
    if not edges:
        raise DataError(f"None of {len(places)} images could be read. First: {reasons[0]}")
    size, why = _size(int(np.median(edges)))
    words = f"{len(source):,} images, {min(edges)}-{max(edges)} px"
    if moving := sum(head.moves for head in heads):
        words += f"; {moving} of {len(heads)} move, of which the first frame is read: --kind video "
        words += "reads all"
    every = np.concatenate(raws)
    if found.stored:
        return _as_stored(Look("image", len(source), words, size, why), found, every)
    channels = 1 if grey == len(edges) else 3
    mean, std = _moments(every[:, :channels] / 255)
    return Look(
        "image", len(source), words, size, why, channels,
        "no sampled image has colour" if channels == 1 else "some images have colour", mean, std,
        settings=_jitter(channels) | (_strokes(raws) if channels == 1 else {}),
    )  # fmt: skip


def _strokes(samples: list[NDArray[Any]]) -> dict[str, tuple[Any, str]]:
    """Return how drawings are distorted, nothing for other grey images; samples (N, C) each."""
    from unlabeled.modalities import pixels

    share = pixels.drawn([x[:, :1] for x in samples])
    if not share:
        return {}
    why = f"{share:.0%} of pixels are ink or ground: drawings"
    return {
        "jitter": ("none", f"{why}; ink has one darkness"),
        "flip": (False, f"{why}; mirrored they mean something else"),
        "bend": (1.0, f"{why}; another hand bends strokes"),
        "widen": (1.0, f"{why}; another pen is wider"),
        "least": (LEAST, f"{why}; a part of one is another"),
    }


def clips(source: Source, places: list[int]) -> Look:
    """Measure clips; of `details`, the median of their frames and of frames a second.

    Raises:
        DataError: none of them can be read.
    """
    from unlabeled.modalities import pixels
    from unlabeled.modalities.film import Limits
    from unlabeled.modalities.video import decode

    found, reasons = [], []
    for place in places[:: max(1, len(places) // CLIPS)]:
        try:
            found.append(decode(source.payload(place), Limits(edge=256, keep=8)))
        except DataError as error:
            reasons.append(str(error))
    if not found:
        raise DataError(f"None of {len(reasons)} clips could be read. First: {reasons[0]}")
    edges, counts = [min(f.height, f.width) for f in found], [f.count for f in found]
    rates = [f.rate for f in found if f.rate]
    rate = float(np.median(rates)) if rates else 0.0
    size, why = _size(int(np.median(edges)))
    every = np.concatenate([pixels.sample(frame) for f in found for frame in f.frames])
    grey = bool(np.ptp(every, axis=1).max() <= GREY)
    channels = 1 if grey else 3
    mean, std = _moments(every[:, :channels] / 255)
    words = (
        f"{len(source):,} clips of {min(counts):,}-{max(counts):,} frames, {min(edges)}-"
        f"{max(edges)} px" + (f", {rate:.3g} frames a second" if rate else "")
    )
    return Look(
        "video", len(source), words, size, why, channels,
        "no sampled clip has colour" if grey else "some clips have colour", mean, std,
        details=(int(np.median(counts)), rate),
    )  # fmt: skip


def _as_stored(look: Look, found: Form, every: NDArray[Any]) -> Look:
    """Return what was seen of images that are read as stored; every (N, C) pixels of them."""
    settings = _jitter(found.channels)
    if found.pages == "channels":
        settings["pages"] = ("channels", f"{found.reason}: each page is taken for a channel")
    if found.deep:
        from unlabeled.modalities.pixels import span

        low, high = span(every)
        why = f"0.1 % of stored values lie below (smallest {every.min():g})"
        settings["low"] = (low, why)
        settings["high"] = (high, f"0.1 % lie above (largest {every.max():g}); none is clipped")
        every = (every - np.asarray(low)) / (np.asarray(high) - np.asarray(low))
    else:
        every = every / 255
    mean, std = _moments(every)
    return replace(
        look, channels=found.channels, channels_reason=found.reason, mean=mean, std=std,
        settings=settings,
    )  # fmt: skip


def _moments(pixels: NDArray[Any]) -> tuple[list[float], list[float]]:
    """Return mean and deviation of pixels (N, C), by channel."""
    return (
        [round(float(v), 4) for v in pixels.mean(0)],
        [round(max(float(v), 0.01), 4) for v in pixels.std(0)],
    )


def _jitter(channels: int) -> dict[str, tuple[Any, str]]:
    if channels == 3:
        return {"jitter": ("colour", "three channels are taken for red, green and blue")}
    return {"jitter": ("values", "no colour: gains are varied; no hue, grey or solarising")}


def _size(edge: int) -> tuple[int, str]:
    """Choose the input size from the median shorter edge."""
    if edge <= 36:
        size = max(8, edge // 4 * 4)
        return size, f"the images' own size ({edge} px), in whole patches"
    if edge <= 96:
        return 48 if edge < 64 else 64, f"near the images' own size ({edge} px)"
    return 96, f"large images ({edge} px) cost most; raise modality.size with more compute"
