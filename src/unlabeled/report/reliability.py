"""Section 7's calibration: is our reading right as often as its probabilities say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from unlabeled.report.chart import Chart, Line, Point
from unlabeled.report.sections import Figure, wide_figure
from unlabeled.report.wording import number, percent, real
from unlabeled.transfer import arms
from unlabeled.transfer.units import unit_of

_Z = 1.96
_CLOSE = 0.02
"""Mean sureness and accuracy that differ by less are called the same."""


def of_results(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sentence, the diagram and its table; or the reason why there is none."""
    tree = results.get("calibration")
    rows = _rows(tree) if isinstance(tree, dict) else []
    if not rows:
        return {"problem": _reason(results), "figure": None, "said": "", "table": {"rows": []}}
    assert isinstance(tree, dict)
    return {
        "problem": "",
        "said": _said(tree, results),
        "figure": _figure(rows, max(1.0, real(tree.get("draws")) or 1.0)),
        "table": {
            "header": ["sure", "right", "samples"],
            "rows": [[percent(x), percent(y), number(n)] for x, y, n in rows],
        },
    }


def _rows(tree: Mapping[str, Any]) -> list[tuple[float, float, float]]:
    """Return (sureness, accuracy, count) of each bin that has a sample."""
    found = []
    for part in tree.get("bins") or []:
        values = [real(part.get(key)) for key in ("sureness", "accuracy", "count")]
        if None not in values and values[2]:
            found.append((values[0] or 0.0, values[1] or 0.0, values[2]))
    return found


def _reason(results: Mapping[str, Any]) -> str:
    if results.get("task", "single") != "single":
        return "Calibration is measured where every sample has one class; here labels are others."
    ours = str(results.get("ours") or "")
    if ours.endswith("_spread"):
        return f"No calibration: {arms.name_of(ours)} gives no probabilities."
    return (
        "No calibration: the rows of this evaluation were kept by a version that did not keep "
        "probabilities. Rows that are made anew have them."
    )


def _said(tree: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    error, floor = real(tree.get("error")), real(tree.get("floor"))
    sure, right = real(tree.get("sureness")) or 0.0, real(tree.get("accuracy")) or 0.0
    draws, unit = number(tree.get("draws")), unit_of(results.get("task")).labels
    gap = sure - right
    side = "surer than right" if gap > 0 else "less sure than right"
    on_average = "as sure as right on average" if abs(gap) < _CLOSE else f"{side} on average"
    name, labels = arms.name_of(str(tree.get("reading") or "")), tree.get("labels_per_class")
    return (
        f"{name[:1].upper()}{name[1:]} with {number(labels)} {unit}: expected calibration error "
        f"{number(error)} in 15 bins, mean of {draws} draw{'' if draws == '1' else 's'}; "
        f"probabilities that hold exactly would show {number(floor)} on as many test samples. "
        f"It is {on_average}: probability "
        f"{percent(sure)}, accuracy {percent(right)}."
    )


def _figure(rows: list[tuple[float, float, float]], draws: float) -> Figure:
    """Draw accuracy against sureness, the diagonal being what holds exactly."""
    points: list[Point] = [(x, y) for x, y, _ in rows]
    # Draws share their test samples, so a bin tells no more than its share of one draw does.
    band = [(x, *_wilson(y, n / draws)) for x, y, n in rows]
    lines = [
        Line("accuracy", points, band, "ours-0", marks=True),
        Line("as sure as right", [(0.0, 0.0), (1.0, 1.0)], look="base-0"),
    ]
    return wide_figure(
        Chart("Reliability", lines, "probability of the class that is said", zero=True), 340
    )


def _wilson(share: float, count: float) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson, 1927).

    >>> [round(end, 3) for end in _wilson(0.5, 100)]
    [0.404, 0.596]
    """
    spread = _Z * math.sqrt(share * (1 - share) / count + (_Z / count) ** 2 / 4)
    middle, whole = share + _Z**2 / (2 * count), 1 + _Z**2 / count
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)
