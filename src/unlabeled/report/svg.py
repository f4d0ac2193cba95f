"""Line charts as SVG that obeys the page's colours, themes and content policy.

A chart is a few kilobytes of text. Nothing in it is styled in place: lines carry class names,
so that one style sheet serves light, dark and print, and no inline style is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from unlabeled.report.chart import (
    Chart,
    Frame,
    Line,
    Point,
    Span,
    fit,
    log_ticks,
    spread_out,
    thin,
    ticks,
)
from unlabeled.report.wording import number

_NO_BREAK = "\u00a0"


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
    marks = chart.x_ticks or (log_ticks(*frame.x) if chart.log_x else ticks(*frame.x))
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


def _ends(chart: Chart, frame: Frame) -> Markup:
    lines = [line for line in chart.lines if line.points and math.isfinite(line.points[-1][1])]
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
        points = [point for point in line.points if math.isfinite(point[1])]
        if points:
            (x0, y0), (x1, y1) = points[0], points[-1]
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
    frame = fit(chart, width, height, ends)
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
