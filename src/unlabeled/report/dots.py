"""Samples as dots where their features lie, coloured by what people call them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from unlabeled.data.find import Source
from unlabeled.data.labels import read_labels
from unlabeled.errors import UnlabeledError

COLOURS = (
    (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189),
    (140, 86, 75), (227, 119, 194), (188, 189, 34), (23, 190, 207), (90, 90, 200),
)  # fmt: skip
OTHER = (170, 170, 170)
"""Of samples without a label, and of classes beyond the most frequent ten."""

_RADIUS, _LEGEND, _LINE = 5, 190, 20
_INK, _PAPER = (40, 40, 40), (255, 255, 255)


def known(source: Source, table: str) -> dict[str, str]:
    """Return what people call the samples of a source by name; empty where nobody said.

    Labels are taken where they lie in the data: class folders, or a label column.
    """
    try:
        found = read_labels(None, source, table=table)
    except UnlabeledError:
        return {}
    if found.task != "single":
        return {}
    pairs = zip(found.indices.tolist(), found.y.tolist(), strict=True)
    return {source.name(index): found.classes[y] for index, y in pairs}


def page(places: NDArray[np.float32], labels: Sequence[str | None], size: int) -> Image.Image:
    """Draw a dot a sample, and beside them which colour is which class.

    Args:
        places: (N, 2), any scale.
        labels: N classes; None where it is not known.
        size: height of the picture in pixels.
    """
    classes = [name for name, _ in Counter(x for x in labels if x is not None).most_common()]
    colours = dict(zip(sorted(classes[: len(COLOURS)]), COLOURS, strict=False))
    low, high = places.min(0), places.max(0)
    room = size - 4 * _RADIUS
    spots = 2 * _RADIUS + (places - low) / np.maximum(high - low, 1e-9) * room
    shown = Image.new("RGB", (size + (_LEGEND if classes else 0), size), _PAPER)
    draw = ImageDraw.Draw(shown)
    for (x, y), label in zip(spots.tolist(), labels, strict=True):
        box = (x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS)
        draw.ellipse(box, fill=colours.get(label or "", OTHER), outline=_PAPER)
    rows = [*colours.items(), *([("others", OTHER)] if len(classes) > len(COLOURS) else [])]
    for number, (name, colour) in enumerate(rows):
        top = 2 * _RADIUS + number * _LINE
        draw.ellipse((size, top, size + 2 * _RADIUS, top + 2 * _RADIUS), fill=colour)
        draw.text((size + 18, top - 1), name if len(name) <= 24 else f"{name[:21]}...", fill=_INK)
    return shown
