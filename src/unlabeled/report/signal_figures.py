"""What `evaluate` says of forecasts and anomalies, as rows of the section on training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unlabeled.report.folder import Folder
from unlabeled.report.wording import number, plain


def blocks(folder: Folder) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return titles with rows of name and value; none where nothing was measured."""
    found = []
    if folder.forecast:
        steps = ", ".join(plain(n) for n in _list(folder.forecast.get("horizons")))
        title = f"Forecast: mean squared error over the next {steps} steps (95 % interval)"
        found.append((title, _forecast(_rows(folder.forecast))))
    if folder.anomaly:
        title = f"Anomalies, where '{plain(folder.anomaly.get('normal'))}' is none (95 % interval)"
        found.append((title, [_odd(row) for row in _rows(folder.anomaly)]))
    return found


def _list(tree: Any) -> Sequence[Any]:
    return tree if isinstance(tree, list) else ()


def _rows(tree: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in _list(tree.get("rows")) if isinstance(row, Mapping)]


def _forecast(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    cells: dict[str, list[str]] = {}
    for row in rows:
        said = f"{number(row.get('mse'))} ({_span(row, 'low', 'high')})"
        cells.setdefault(plain(row.get("name")), []).append(said)
    return [(name, ", ".join(said)) for name, said in cells.items()]


def _odd(row: Mapping[str, Any]) -> tuple[str, str]:
    area = f"{number(row.get('auroc'))} ({_span(row, 'auroc_low', 'auroc_high')})"
    name = f"{plain(row.get('score'))} of {plain(row.get('features'))}"
    return name, f"AUROC {area}, average precision {number(row.get('precision'))}"


def _span(row: Mapping[str, Any], low: str, high: str) -> str:
    return f"{number(row.get(low))} to {number(row.get(high))}"
