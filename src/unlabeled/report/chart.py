"""What a line chart shows, and where its data lands on the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unlabeled.report.wording import number

_MAX_POINTS = 240

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Args:
        name: what the reader calls it.
        points: (x, y) in order of x.
        band: (x, low, high), the interval around the line.
        look: class of colour and dash: ``ours-0``, ``base-0``, ``run-0`` and so on.
        marks: whether points are marked.
    """

    name: str
    points: Sequence[Point]
    band: Sequence[tuple[float, float, float]] = ()
    look: str = "ours-0"
    marks: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """A horizontal arrow at height `y` from `right` to `left`, with its caption."""

    y: float
    left: float
    right: float
    caption: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn, in the units of the data.

    Args:
        title: heading, also the accessible name.
        note: what the reader should look for.
        levels: (y, caption) of reference lines.
        x_ticks: where ticks belong (all x of a label curve); chosen when empty.
        zero: whether the y axis must hold 0.
    """

    title: str
    lines: Sequence[Line]
    x_label: str = "step"
    note: str = ""
    log_x: bool = False
    levels: Sequence[tuple[float, str]] = ()
    span: Span | None = None
    x_ticks: Sequence[float] = ()
    zero: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """The mapping from data to pixels of one drawing."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    x: tuple[float, float]
    y: tuple[float, float]
    log_x: bool = False

    def across(self, value: float) -> float:
        """Return the horizontal pixel of a value."""
        low, high = self.x
        if self.log_x:
            value, low, high = math.log(value), math.log(low), math.log(high)
        share = (value - low) / ((high - low) or 1.0)
        return self.left + share * (self.width - self.left - self.right)

    def down(self, value: float) -> float:
        """Return the vertical pixel of a value."""
        low, high = self.y
        share = (value - low) / ((high - low) or 1.0)
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)


def thin(points: Sequence[Point], limit: int = _MAX_POINTS) -> list[Point]:
    """Reduce points to at most `limit` by the median of neighbours; ends stay.

    >>> thin([(0, 1.0), (1, 9.0), (2, 1.0), (3, 2.0)], 3)[0]
    (0, 1.0)
    """
    if len(points) <= limit:
        return list(points)
    size = len(points) / limit
    kept = []
    for i in range(limit):
        part = points[int(i * size) : max(int((i + 1) * size), int(i * size) + 1)]
        middle = sorted(y for _, y in part)[len(part) // 2]
        kept.append((part[len(part) // 2][0], middle))
    return [points[0], *kept[1:-1], points[-1]]


def envelope(points: Sequence[Point], limit: int = 80) -> list[tuple[float, float, float]]:
    """Return the range of neighbouring points, (x, low, high), where points are too dense."""
    if len(points) <= 2 * limit:
        return []
    size = len(points) / limit
    parts = [points[int(i * size) : int((i + 1) * size)] for i in range(limit)]
    spans = [(p[len(p) // 2][0], [y for _, y in p]) for p in parts if p]
    spans[0], spans[-1] = (points[0][0], spans[0][1]), (points[-1][0], spans[-1][1])
    return [(x, min(ys), max(ys)) for x, ys in spans]


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round numbers within [low, high].

    >>> ticks(0, 1), ticks(0, 870)
    ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 200.0, 400.0, 600.0, 800.0])
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = min(
        (m * unit for m in (1, 2, 2.5, 5, 10)), key=lambda s: abs(math.log(s) - math.log(rough))
    )
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 of each decade within [low, high]."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [m * 10.0**d for d in decades for m in (1, 2, 5) if low <= m * 10.0**d <= high]


def _heights(chart: Chart) -> tuple[float, float]:
    """Return the range of y; single outliers among many points do not set it."""
    values = sorted(y for line in chart.lines for _, y in line.points if math.isfinite(y))
    if len(values) > 100:
        cut = len(values) // 200
        values = values[cut : len(values) - cut]
    bands = [v for line in chart.lines for _, *pair in line.band for v in pair if math.isfinite(v)]
    values += bands if len(bands) < 100 else []
    values += [y for y, _ in chart.levels]
    low, high = min(values, default=0.0), max(values, default=1.0)
    low = min(low, 0.0) if chart.zero else low
    gap = (high - low) or abs(high) or 1.0
    return (low if chart.zero and low == 0 else low - 0.06 * gap), high + 0.08 * gap


def fit(chart: Chart, width: int, height: int, ends: bool) -> Frame:
    """Choose the axes of a drawing; `ends` leaves room for names at line ends."""
    xs = [x for line in chart.lines for x, _ in line.points]
    low, high = min(xs), max(xs)
    if low == high:
        low, high = (low / 2, high * 2) if chart.log_x else (low - 1, high + 1)
    longest = max((len(line.name) for line in chart.lines), default=0) if ends else 0
    right = min(14 + 7 * longest, width // 3) if ends else 14
    heights = _heights(chart)
    left = 12 + 7 * max(len(number(value)) for value in ticks(*heights))
    return Frame(width, height, left, right, 12, 38, (low, high), heights, chart.log_x)


def spread_out(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move places apart until neighbours keep `gap`, within [low, high] where it fits.

    >>> spread_out([10, 11, 40], 10, 0, 100)
    [5.5, 15.5, 40.0]
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    groups = [[float(places[i]), 1.0] for i in order]  # centre, count
    moved = True
    while moved:
        moved = False
        for i in range(len(groups) - 1):
            (a, n), (b, m) = groups[i], groups[i + 1]
            if b - a < gap * (n + m) / 2 - 1e-9:
                groups[i : i + 2] = [[(a * n + b * m) / (n + m), n + m]]
                moved = True
                break
    out = [0.0] * len(places)
    rank = 0
    for centre, count in groups:
        start = min(max(centre - gap * (count - 1) / 2, low), high - gap * (count - 1))
        for k in range(int(count)):
            out[order[rank]] = start + gap * k
            rank += 1
    return out
