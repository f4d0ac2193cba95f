"""Charts: where things are drawn."""

from __future__ import annotations

import itertools
import math
import re

import pytest

from unlabeled.report.chart import Chart, Line, Span, envelope, spread_out, thin, ticks
from unlabeled.report.svg import draw


def points(svg: str) -> list[tuple[float, float]]:
    found = re.findall(r'<polyline[^>]* points="([^"]*)"', svg)
    return [tuple(map(float, pair.split(","))) for part in found for pair in part.split()]


def test_a_straight_line_stays_straight() -> None:
    drawn = points(draw(Chart("t", [Line("a", [(0, 0), (5, 5), (10, 10)])])))
    (x0, y0), (x1, y1), (x2, y2) = drawn
    assert x1 == pytest.approx((x0 + x2) / 2, abs=0.1)
    assert y1 == pytest.approx((y0 + y2) / 2, abs=0.1)
    assert y0 > y2


def test_logarithmic_axis_spaces_decades_evenly() -> None:
    (x0, _), (x1, _), (x2, _) = points(
        draw(Chart("t", [Line("a", [(1, 0), (10, 1), (100, 2)])], log_x=True))
    )
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)


def test_one_point_and_constant_values_are_drawn() -> None:
    for chart in (
        Chart("t", [Line("a", [(3, 2.0)])]),
        Chart("t", [Line("a", [(1, 0.0), (2, 0.0)])]),
        Chart("t", [Line("a", [(7, 2.0)])], log_x=True),
    ):
        assert all(math.isfinite(v) for pair in points(draw(chart)) for v in pair)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_a_gap(bad: float) -> None:
    svg = draw(Chart("t", [Line("a", [(0, 1.0), (1, bad), (2, 2.0), (3, 3.0)])]))
    assert "nan" not in svg
    assert "inf" not in svg
    assert svg.count("<polyline") == 2


def test_names_are_escaped() -> None:
    svg = draw(Chart("<b>", [Line('"<i>', [(0, 0), (1, 1)])], x_label="<u>"), ends=True)
    assert not re.search(r"<[biu]>", svg)


def test_the_saved_arrow_spans_the_two_label_counts() -> None:
    lines = [Line("a", [(1, 0.2), (100, 0.8)])]
    chart = Chart("t", lines, log_x=True, span=Span(0.5, 10, 100, "10x"))
    (x0, _), (x1, _) = points(draw(chart))
    arrow = re.search(r'class="span"><line x1="([\d.]+)" x2="([\d.]+)"', draw(chart))
    assert arrow is not None
    left, right = map(float, arrow.groups())
    assert left == pytest.approx((x0 + x1) / 2 + 6, abs=0.2)
    assert right == pytest.approx(x1, abs=0.2)


def test_thinning_keeps_ends_and_bounds_the_count() -> None:
    many = [(float(i), math.sin(i / 500)) for i in range(10_000)]
    kept = thin(many, 200)
    assert len(kept) == 200
    assert (kept[0], kept[-1]) == (many[0], many[-1])
    assert [x for x, _ in kept] == sorted(x for x, _ in kept)
    low = min(low for _, low, _ in envelope(many))
    assert low == min(y for _, y in many)


def test_labels_at_line_ends_do_not_touch() -> None:
    placed = sorted(spread_out([50, 50, 51, 52, 120], 15, 0, 200))
    assert all(b - a >= 15 - 1e-9 for a, b in itertools.pairwise(placed))
    assert placed[-1] == 120


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 7), (1e-6, 2e-6), (0, 123456)])
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 8
    assert low - 1e-12 <= found[0] <= found[-1] <= high + 1e-12
