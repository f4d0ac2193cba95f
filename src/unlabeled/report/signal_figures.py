"""What `evaluate` says of forecasts, anomalies, retrieval and pairs, as rows of a section."""

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
    if folder.retrieval:
        counts = [plain(folder.retrieval.get(name)) for name in ("queries", "gallery", "classes")]
        title = f"Retrieval: {counts[0]} queries among {counts[1]} test samples of {counts[2]} "
        found.append((f"{title}classes (95 % interval)", _found(folder.retrieval)))
    if folder.pairs:
        counted = folder.pairs.get("scored_on")
        told = counted if isinstance(counted, Mapping) else {}
        title = f"Pairs of {plain(folder.pairs.get('file'))}: {plain(told.get('same'))} the same, "
        rows = [_told(row) for row in _rows(folder.pairs) if row.get("chosen")]
        found.append((f"{title}{plain(told.get('other'))} others (95 % interval)", rows))
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


def _found(tree: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [row for row in _rows(tree) if row.get("chosen")]
    found = []
    for row in rows:
        precision = f"{number(row.get('map'))} ({_span(row, 'map_low', 'map_high')})"
        found.append((_space(row), f"mAP {precision}, {_recalls(row)}"))
    chance = tree.get("chance")
    if isinstance(chance, Mapping):
        found.append(("chance", f"mAP {number(chance.get('map'))}, {_recalls(chance)}"))
    return found


def _recalls(row: Mapping[str, Any]) -> str:
    return ", ".join(f"recall@{k} {number(row.get(f'recall_at_{k}'))}" for k in (1, 5, 10))


def _told(row: Mapping[str, Any]) -> tuple[str, str]:
    area = f"{number(row.get('auroc'))} ({_span(row, 'auroc_low', 'auroc_high')})"
    error = (
        f"{number(row.get('equal_error'))} ({_span(row, 'equal_error_low', 'equal_error_high')})"
    )
    at = f"accuracy {number(row.get('accuracy'))} above {number(row.get('threshold'))}"
    return _space(row), f"AUROC {area}, equal error {error}, {at}"


def _space(row: Mapping[str, Any]) -> str:
    return f"{plain(row.get('features'))}, {plain(row.get('way'))}"
