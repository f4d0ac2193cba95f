"""Line charts as SVG that obeys the page's colours, themes and content policy.

A chart is a few kilobytes of text. Nothing in it is styled in place: lines carry class names,
so that one style sheet serves light, dark and print, and no inline style is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from unlabeled.report.wording import number

_MAX_POINTS = 240
_NO_BREAK = "\u00a0"

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
    ends: bool = field(default=False)

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


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [m * 10.0**d for d in decades for m in (1, 2, 5) if low <= m * 10.0**d <= high]


def _heights(chart: Chart) -> tuple[float, float]:
    """Return the range of y; single outliers among many points do not set it."""
    values = sorted(y for line in chart.lines for _, y in line.points)
    if len(values) > 100:
        cut = len(values) // 200
        values = values[cut : len(values) - cut] or values
    bands = [v for line in chart.lines for _, *pair in line.band for v in pair]
    if len(bands) < 100:
        values = sorted([*values, *bands])
    values += [y for y, _ in chart.levels]
    low, high = min(values), max(values)
    if chart.zero:
        low = min(low, 0.0)
    gap = (high - low) or abs(high) or 1.0
    return (low if chart.zero and low == 0 else low - 0.06 * gap), high + 0.08 * gap


def _frame(chart: Chart, width: int, height: int, ends: bool) -> Frame:
    xs = [x for line in chart.lines for x, _ in line.points]
    low, high = min(xs), max(xs)
    if low == high:
        low, high = (low / 2, high * 2) if chart.log_x else (low - 1, high + 1)
    longest = max((len(line.name) for line in chart.lines), default=0) if ends else 0
    right = min(14 + 7 * longest, width // 3) if ends else 14
    return Frame(width, height, 46, right, 12, 38, (low, high), _heights(chart), chart.log_x, ends)


def _path(frame: Frame, points: Sequence[Point]) -> str:
    top, bottom = frame.top, frame.height - frame.bottom
    return " ".join(
        f"{frame.across(x):.1f},{min(max(frame.down(y), top), bottom):.1f}" for x, y in points
    )


def _axes(chart: Chart, frame: Frame) -> Markup:
    parts = []
    base, right = frame.height - frame.bottom, frame.width - frame.right
    for value in ticks(*frame.y):
        at = round(frame.down(value), 1)
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                frame.left, right, at, at
            )
        )
        parts.append(
            Markup('<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>').format(
                frame.left - 7, at + 4, number(value)
            )
        )
    taken = -1e9
    marks = chart.x_ticks or (_log_ticks(*frame.x) if chart.log_x else ticks(*frame.x))
    for value in marks:
        at = round(frame.across(value), 1)
        label = number(value)
        if at - taken < 12 + 7 * len(label):
            continue
        taken = at
        parts.append(
            Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>').format(
                at, base + 16, label
            )
        )
    parts.append(
        Markup('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            frame.left, right, base, base
        )
    )
    parts.append(
        Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            (frame.left + right) / 2, frame.height - 5, chart.x_label
        )
    )
    return Markup("").join(parts)


def _levels(chart: Chart, frame: Frame) -> Markup:
    parts = []
    right = frame.width - frame.right
    for value, caption in chart.levels:
        at = round(frame.down(value), 1)
        parts.append(
            Markup(
                '<line class="level" x1="{}" x2="{}" y1="{}" y2="{}"/>'
                '<text class="caption" x="{}" y="{}" text-anchor="end">{}</text>'
            ).format(frame.left, right, at, at, right, at - 5, caption)
        )
    return Markup("").join(parts)


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """Split points where a value is missing."""
    runs: list[list[Point]] = [[]]
    for x, y in points:
        if math.isfinite(y):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _line(line: Line, frame: Frame) -> Markup:
    parts = []
    if line.band:
        edge = [(x, high) for x, _, high in line.band]
        edge += [(x, low) for x, low, _ in reversed(line.band)]
        parts.append(
            Markup('<polygon class="band {}" points="{}"/>').format(line.look, _path(frame, edge))
        )
    for run in _runs(thin(line.points)):
        parts.append(
            Markup('<polyline class="line {}" data-name="{}" points="{}"/>').format(
                line.look, line.name, _path(frame, run)
            )
        )
        if line.marks or len(run) == 1:
            parts += [
                Markup('<circle class="mark {}" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(
                    line.look, frame.across(x), frame.down(y)
                )
                for x, y in run
            ]
    return Markup("").join(parts)


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


def _ends(chart: Chart, frame: Frame) -> Markup:
    lines = [line for line in chart.lines if line.points]
    wanted = [frame.down(line.points[-1][1]) for line in lines]
    places = spread_out(wanted, 15, frame.top + 4, frame.height - frame.bottom)
    return Markup("").join(
        Markup('<text class="end {}" x="{}" y="{:.1f}">{}</text>').format(
            line.look, frame.width - frame.right + 9, at + 4, line.name
        )
        for line, at in zip(lines, places, strict=True)
    )


def _span(span: Span, frame: Frame) -> Markup:
    at = round(frame.down(span.y), 1)
    left, right = round(frame.across(span.left), 1), round(frame.across(span.right), 1)
    head = f"{left},{at} {left + 8},{at - 4.5} {left + 8},{at + 4.5}"
    return Markup(
        '<g class="span"><line x1="{}" x2="{}" y1="{}" y2="{}"/><polygon points="{}"/>'
        '<circle cx="{}" cy="{}" r="3"/>'
        '<text x="{:.1f}" y="{}" text-anchor="middle">{}</text></g>'
    ).format(left + 6, right, at, at, head, right, at, (left + right) / 2, at - 9, span.caption)


def describe(chart: Chart) -> str:
    """Say in words what the chart shows, for readers who do not see it."""
    parts = []
    for line in chart.lines:
        if line.points:
            (x0, y0), (x1, y1) = line.points[0], line.points[-1]
            parts.append(f"{line.name}: {number(y0)} at {number(x0)}, {number(y1)} at {number(x1)}")
    return f"{chart.title} over {chart.x_label}. " + "; ".join(parts) + "."


def draw(chart: Chart, width: int = 400, height: int = 220, ends: bool = False) -> Markup:
    """Draw a chart.

    Args:
        chart: at least one line with one finite point.
        width: of the drawing in pixels at scale 1.
        height: likewise.
        ends: write each line's name at its right end instead of relying on a legend.
    """
    frame = _frame(chart, width, height, ends)
    body = [_axes(chart, frame), _levels(chart, frame)]
    body += [_line(line, frame) for line in chart.lines]
    if ends:
        body.append(_ends(chart, frame))
    if chart.span is not None:
        body.append(_span(chart.span, frame))
    scale = [*frame.x, *frame.y, frame.left, width - frame.right, height - frame.bottom, frame.top]
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" tabindex="0" aria-label="{}" '
        'data-scale="{}" data-log="{}" data-x="{}">{}<g class="cursor"></g></svg>'
    ).format(
        width,
        height,
        describe(chart),
        " ".join(f"{value:.6g}" for value in scale),
        int(chart.log_x),
        chart.x_label.replace(" ", _NO_BREAK),
        Markup("").join(body),
    )
