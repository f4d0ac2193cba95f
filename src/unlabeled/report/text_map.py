"""Texts as dots where their features lie, in numbered groups: read without a pointer, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from unlabeled.report.pictures import short
from unlabeled.report.wording import real
from unlabeled.transfer.clusters import kmeans

MOST_GROUPS, TYPICAL = 6, 3
_TEXTS_A_GROUP = 10
_WIDTH, _HEIGHT, _EDGE = 640, 440, 14
_EXCERPT, _HOVER = 240, 160


def lay_out(features: NDArray[np.float32], texts: Sequence[str], seed: int) -> dict[str, Any]:
    """Return places, groups and typical texts, as RUN/samples/map.json holds them.

    Args:
        features: (N, D), N >= 2.
        texts: N.
        seed: of t-SNE and of k-means.
    """
    from unlabeled.report import nearest  # torch, which pages are made without

    places = nearest.plane(features, seed)
    low, high = places.min(0), places.max(0)
    places = (places - low) / np.maximum(high - low, 1e-9)
    centred = features - features.mean(0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    group = kmeans(unit, min(MOST_GROUPS, max(1, len(texts) // _TEXTS_A_GROUP)), seed)
    # Numbered by size, the largest first.
    order = np.argsort(-np.bincount(group), kind="stable")
    group = np.argsort(order)[group]
    return {
        "texts": [
            {"text": short(text, _HOVER), "x": round(x, 4), "y": round(y, 4), "group": g}
            for text, (x, y), g in zip(texts, places.tolist(), group.tolist(), strict=True)
        ],
        "groups": [_typical(unit, group == g, texts) for g in range(group.max() + 1)],
    }


def _typical(unit: NDArray[np.float32], mine: NDArray[np.bool_], texts: Sequence[str]) -> list[str]:
    """Return the texts of a group that lie nearest to its middle."""
    rows = np.flatnonzero(mine)
    near = np.argsort(-unit[rows] @ unit[rows].mean(0), kind="stable")[:TYPICAL]
    return [short(texts[row], _EXCERPT) for row in rows[near]]


def drawn(tree: Mapping[str, Any], alt: str) -> Markup | None:
    """Return the map as SVG, a title on each dot; None where there is nothing to draw."""
    dots = [found for row in _tables(tree.get("texts")) if (found := _dot(row)) is not None]
    if not dots:
        return None
    marks = [
        Markup('<circle class="dot run-{}" cx="{}" cy="{}" r="4.5"><title>{}: {}</title></circle>')
        .format(group, x, y, group + 1, text)
        for x, y, group, text in dots
    ]  # fmt: skip
    for group in sorted({group for _, _, group, _ in dots}):
        x, y = (float(np.median([d[axis] for d in dots if d[2] == group])) for axis in (0, 1))
        marks.append(
            Markup('<text class="name run-{}" x="{}" y="{}" text-anchor="middle">{}</text>').format(
                group, round(x, 1), round(y + 7, 1), group + 1
            )
        )
    head = Markup('<svg class="dots" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
        _WIDTH, _HEIGHT, alt
    )
    return head + Markup("").join(marks) + Markup("</svg>")


def _dot(row: Mapping[str, Any]) -> tuple[float, float, int, str] | None:
    x, y, group = real(row.get("x")), real(row.get("y")), real(row.get("group"))
    if x is None or y is None or group is None or not 0 <= group < MOST_GROUPS:
        return None
    across = _EDGE + min(max(x, 0.0), 1.0) * (_WIDTH - 2 * _EDGE)
    down = _EDGE + min(max(y, 0.0), 1.0) * (_HEIGHT - 2 * _EDGE)
    return round(across, 1), round(down, 1), int(group), str(row.get("text", ""))


def groups(tree: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the number and typical texts of each group."""
    told = tree.get("groups")
    return [
        (str(number), [short(text, _EXCERPT) for text in texts])
        for number, texts in enumerate(told if isinstance(told, list) else [], 1)
        if isinstance(texts, list) and number <= MOST_GROUPS
    ]


def _tables(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
