"""Channels of a log over time, a row each, with their names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

MOST = 12
_LEFT, _WIDE, _HIGH, _GAP = 150, 640, 44, 8
_INK, _PAPER, _SHADE = (120, 120, 120), (255, 255, 255), (238, 232, 213)
_BLUE, _DARK = (20, 90, 200), (40, 40, 40)


def page(
    names: Sequence[str],
    truth: Tensor,
    guess: Tensor,
    hidden: Tensor,
    still: Tensor | None = None,
) -> Image.Image:
    """Draw at most `MOST` channels, (T, C) each; NaN is drawn as a gap.

    Args:
        names: of the C channels.
        truth: grey.
        guess: blue.
        hidden: bool, shaded.
        still: dashed.
    """
    count = min(MOST, len(names))
    shown = Image.new("RGB", (_LEFT + _WIDE, count * (_HIGH + _GAP)), _PAPER)
    draw = ImageDraw.Draw(shown)
    for channel in range(count):
        top = channel * (_HIGH + _GAP) + _GAP // 2
        lines = [x[:, channel].double().numpy() for x in (truth, guess)]
        if still is not None:
            lines.append(still[:, channel].double().numpy())
        _shade(draw, hidden[:, channel].numpy(), top)
        low, high = _range(lines)
        _line(draw, lines[0], top, low, high, _INK, 1)
        for line in lines[2:]:
            _line(draw, line, top, low, high, _DARK, 1, every=2)
        _line(draw, lines[1], top, low, high, _BLUE, 2)
        draw.text((4, top + _HIGH // 2 - 6), _short(names[channel]), fill=_DARK)
    return shown


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"...{name[-21:]}"


def _range(lines: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Return the extremes of what was there and what was guessed, never alike."""
    values = np.concatenate([line[np.isfinite(line)] for line in lines])
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    return (low, high) if high - low > 1e-9 else (low - 0.5, high + 0.5)


def _place(step: float, steps: int) -> float:
    return _LEFT + (_WIDE - 1) * step / max(1, steps - 1)


def _shade(draw: ImageDraw.ImageDraw, hidden: NDArray[np.bool_], top: int) -> None:
    for step in np.flatnonzero(hidden).tolist():
        left, right = _place(step - 0.5, len(hidden)), _place(step + 0.5, len(hidden))
        draw.rectangle((max(_LEFT, left), top, right, top + _HIGH), fill=_SHADE)


def _line(
    draw: ImageDraw.ImageDraw,
    line: NDArray[np.float64],
    top: int,
    low: float,
    high: float,
    colour: tuple[int, int, int],
    width: int,
    every: int = 1,
) -> None:
    """Draw a line between neighbours that are both there; a point where one stands alone."""
    there = np.isfinite(line)
    places = [
        (_place(i, len(line)), top + _HIGH * (1 - (value - low) / (high - low)) if ok else 0.0)
        for i, (value, ok) in enumerate(zip(line, there, strict=True))
    ]
    for i in range(len(line)):
        if i and there[i] and there[i - 1] and i % every == 0:
            draw.line((*places[i - 1], *places[i]), fill=colour, width=width)
        elif there[i] and every == 1:
            x, y = places[i]
            draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=colour)
