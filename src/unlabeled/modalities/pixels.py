"""How the images of a data set are read: found from their headers and a few of their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.config import ImageConfig
from unlabeled.modalities.headers import Facts, Pages

_TAILS = (0.1, 99.9)
"""Percentiles of stored values that become 0 and 1: one hot pixel must not set the scale."""


@dataclass(frozen=True)
class Form:
    """How images are read.

    Args:
        stored: whether values are taken as stored, not as eight bits of grey or colour.
        channels: C; 3 where eight bits may be grey or colour.
        pages: what the pages of a TIFF are.
        deep: whether values have more than eight bits.
        reason: why.
    """

    stored: bool
    channels: int
    pages: Pages
    deep: bool
    reason: str

    def reader(self) -> ImageConfig:
        """Return settings that read such images; deep values stay as stored."""
        span = ((0.0,), (1.0,)) if self.deep else ((), ())
        return ImageConfig(channels=self.channels, pages=self.pages, low=span[0], high=span[1])


def form(found: Sequence[Facts]) -> Form:
    """Decide how images with these headers are read; all that are alike in form, as stored."""
    stacked = len({f.pages for f in found}) == 1 and found[0].pages > 1
    pages: Pages = "channels" if stacked else "first"
    planes = {f.channels * (f.pages if stacked else 1) for f in found}
    deep = all(f.deep for f in found)
    if len(planes) > 1 or any(f.alpha for f in found) or any(f.deep for f in found) != deep:
        return Form(False, 3, "first", False, "")
    channels = planes.pop()
    if not deep and channels in (1, 3):
        return Form(False, 3, "first", False, "")
    each = f"every sampled image has {found[0]}"
    return Form(True, channels, pages, deep, each)


def span(pixels: NDArray[Any]) -> tuple[list[float], list[float]]:
    """Return the stored values that become 0 and 1, one a channel, of pixels (N, C).

    >>> span(np.array([[0, 7], [4000, 7]]))
    ([4.0, 7.0], [3996.0, 8.0])
    """
    low, high = np.percentile(pixels.astype(np.float64), _TAILS, axis=0)
    high = np.where(high > low, high, low + 1)
    return [float(f"{v:.5g}") for v in low], [float(f"{v:.5g}") for v in high]


_ENDS, _AT_ENDS, _AT_EACH = 0.15, 0.55, 0.05
"""How near to black or white is an end, and how many pixels of a drawing are at both and each."""


def drawn(samples: Sequence[NDArray[Any]]) -> float:
    """Return the share of pixels at the ends of the scale if it is that of drawings, 0 if not.

    A drawing has ink and ground and little between them, whichever of the two is dark. A scan on
    a black ground has the ground alone: hardly any of it is as bright as its brightest.

    Args:
        samples: (N, 1) values, one array an image; each is stretched to its own range.

    >>> ink = np.array([[0], [0], [0], [255]])
    >>> drawn([ink, 255 - ink]), drawn([np.arange(256)[:, None]])
    (1.0, 0.0)
    """
    found = []
    for x in samples:
        values = x.astype(np.float64)
        values = (values - values.min()) / max(float(np.ptp(values)), 1.0)
        found.append(((values < _ENDS).mean(), (values > 1 - _ENDS).mean()))
    ends = np.mean(found, axis=0)
    is_drawn = ends.sum() >= _AT_ENDS and ends.min() >= _AT_EACH
    return float(ends.sum()) if is_drawn else 0.0


def sample(raw: NDArray[Any]) -> NDArray[Any]:
    """Return about 32 x 32 pixels spread over an image (H, W, C), as (N, C)."""
    step = max(1, min(raw.shape[:2]) // 32)
    return raw[::step, ::step].reshape(-1, raw.shape[2])
