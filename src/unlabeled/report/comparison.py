"""Several runs on one page: a table, overlaid curves, and what differs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from unlabeled.journal import read_json
from unlabeled.report import curves, evidence, sections
from unlabeled.report.chart import Chart, Line
from unlabeled.report.folder import Folder
from unlabeled.report.wording import number, plain
from unlabeled.transfer import arms
from unlabeled.transfer.units import unit_of

_SECTIONS = {
    "verdict": "Verdict",
    "labels": "Label efficiency",
    "training": "Training",
    "health": "Collapse monitors",
    "differences": "What differs",
    "cost": "Cost",
}
_NUM_LOOKS = 6


def context(folders: Sequence[Folder], place: Path) -> dict[str, Any]:
    """Return what the comparison template shows; links are relative to `place`."""
    shared = shared_reading(folders)
    curve, rival = _label_curve(folders, shared)
    left = left_after(folders)
    evaluated = [folder for folder in folders if folder.results]
    return {
        "title": f"{len(folders)} runs compared",
        "kicker": "Pre-training report",
        "subtitle": ", ".join(folder.name for folder in folders),
        "names": _SECTIONS,
        "mixed": _mixed(folders),
        "header": ["run", "method", "encoder", "steps", "loss", "spread", "rank",
                   arms.name_of(shared) if shared else "best score", "labels saved"],
        "rows": [_row(folder, place, left.get(folder.path), shared) for folder in folders],
        "shared": arms.name_of(shared) if shared else "",
        "curve": sections.wide_figure(curve) if curve is not None else None,
        "table": _table(evaluated, shared),
        "rival": rival,
        "hint": sections.evaluate_hint(folders[0]),
        "training": _overlays(folders, _TRAINING, "metrics"),
        "health": _overlays(folders, _HEALTH, "health"),
        "differences": differences(folders),
        "cost": _cost(folders),
    }  # fmt: skip


def _mixed(folders: Sequence[Folder]) -> bool:
    """Say whether runs are of different data, so that their scores say nothing of methods."""
    return len({plain(folder.config.get("data", {}).get("path")) for folder in folders}) > 1


def shared_reading(folders: Sequence[Folder]) -> str:
    """Return a reading of ours that all evaluated runs have; empty: there is none.

    Scores of different readings say nothing of pre-training. It is the one by which all were
    judged, else the first of the table of readings, whatever it scores.
    """
    evaluated = [folder for folder in folders if best(folder) is not None]
    judged = {(folder.results or {}).get("ours") for folder in evaluated}
    had = [set(_ours(folder)) for folder in evaluated]
    common = set.intersection(*had) if had else set()
    if len(judged) == 1 and judged <= common:
        return str(judged.pop())
    return next((name for name in ("probe", *arms.ARMS) if name in common), "")


def _ours(folder: Folder) -> dict[str, list[dict[str, Any]]]:
    groups = curves.summary(folder.results or {})
    return {name: rows for name, rows in groups.items() if curves.is_ours(name)}


def best(folder: Folder, shared: str = "") -> tuple[str, list[dict[str, Any]]] | None:
    """Return the reading that is `shared`, by which a run was judged, or that is its best."""
    results, ours = folder.results or {}, _ours(folder)
    if not ours:
        return None
    if shared in ours:
        return shared, ours[shared]
    judged = results.get("ours")
    name = judged if judged in ours else max(ours, key=lambda key: float(ours[key][-1]["mean"]))
    return str(name), ours[str(name)]


def best_score(folder: Folder, shared: str = "") -> str:
    """Return the best score in words, or that of the `shared` reading, with its labels."""
    found = best(folder, shared)
    if found is None:
        return number(None)
    row, unit = found[1][-1], unit_of((folder.results or {}).get("task")).short
    return f"{float(row['mean']):.3f} at {number(row['labels_per_class'])} {unit}"


def left_after(folders: Sequence[Folder]) -> dict[Path, int]:
    """Return after which round a comparison of methods left runs behind, of those it did.

    A comparison keeps ``compare.json`` beside its runs (`unlabeled.transfer.contest`).
    """
    found = {}
    for folder in folders:
        rounds = _rounds(folder.path.resolve().parent / "compare.json")
        numbers = [i for i, names in enumerate(rounds, 1) if folder.name in names]
        if numbers and numbers[-1] < len(rounds):
            found[folder.path] = numbers[-1]
    return found


def _rounds(path: Path) -> list[list[str]]:
    """Return the names of the run folders of each round; none before the last one is over."""
    record = read_json(path)
    rounds = record.get("rounds") if record.get("complete") else None
    return [
        [str(run.get("folder")) for run in part["runs"].values() if isinstance(run, dict)]
        for part in (rounds if isinstance(rounds, list) else [])
        if isinstance(part, dict) and isinstance(part.get("runs"), dict)
    ]


def _row(folder: Folder, place: Path, left: int | None, shared: str) -> dict[str, Any]:
    verdict = sections.verdict(folder)
    if left is not None:
        verdict |= {"light": "none", "word": f"Left after round {left}"}
        verdict["sentence"] = (
            "Others were better on the validation labels, so it was trained no longer. "
            f"{verdict['sentence']}"
        )
    last = folder.health[-1] if folder.health else {}
    losses = curves.series(folder.metrics, "loss")
    saved = verdict["savings"][0] if verdict["savings"] else None
    page = folder.path / "report.html"
    return {
        "name": folder.name,
        "link": quote(os.path.relpath(page, place)) if page.is_file() else "",
        "light": verdict["light"],
        "word": verdict["word"],
        "sentence": verdict["sentence"],
        "cells": [
            folder.method,
            folder.encoder,
            number(folder.steps),
            number(losses[-1][1] if losses else None),
            number(last.get("spread")),
            number(last.get("effective_rank")),
            best_score(folder, shared),
            f"{saved.sign}{number(saved.ratio, 2)}×" if saved is not None else number(None),
        ],
    }


def _label_curve(folders: Sequence[Folder], shared: str) -> tuple[Chart | None, str]:
    lines: list[Line] = []
    rival, metrics = "", {str((f.results or {}).get("metric")) for f in folders if best(f)}
    for i, folder in enumerate(folders):
        found = best(folder, shared)
        if found is None or folder.results is None:
            continue
        line = curves.curve_line(found[0], found[1], f"run-{i % _NUM_LOOKS}")
        lines.append(replace(line, name=f"{folder.name}, {line.name}"))
        if not rival and "scratch" in (groups := curves.summary(folder.results)):
            base = curves.curve_line("scratch", groups["scratch"], "base-0")
            lines.append(base)
            rival = base.name
    if not lines:
        return None, ""
    counts = sorted({x for line in lines for x, _ in line.points})
    axis = unit_of(_task(folders)).axis
    metric = metrics.pop() if len(metrics) == 1 else "score"
    title = f"{metric.replace('_', ' ').capitalize()} by {axis}"
    return Chart(title, lines, axis, log_x=True, x_ticks=counts), rival


def _table(evaluated: Sequence[Folder], shared: str) -> dict[str, Any]:
    """Return one reading of each run as one label table."""
    summary = []
    for folder in evaluated:
        found = best(folder, shared)
        for row in found[1] if found is not None else []:
            name = f"{folder.name}, {curves.name_of(*found)}" if found else ""
            summary.append({**row, "reading": name, "name": name})
    return sections.label_table({"summary": summary, "task": _task(evaluated)})


def _task(folders: Sequence[Folder]) -> str | None:
    """Return the form of the labels of all runs, None where they differ."""
    found = {folder.results.get("task") for folder in folders if folder.results}
    return found.pop() if len(found) == 1 else None


_TRAINING = (("loss", "Loss"), ("samples_per_second", "Samples per second"))
_HEALTH = (
    ("spread", "Feature spread"),
    ("effective_rank", "Effective rank"),
    ("mean_cosine", "Mean cosine of two samples"),
)


def _overlays(
    folders: Sequence[Folder], wanted: Sequence[tuple[str, str]], source: str
) -> list[sections.Figure]:
    figures = []
    for key, title in wanted:
        lines = []
        for i, folder in enumerate(folders):
            records = folder.metrics if source == "metrics" else folder.health
            points = curves.series(records, key)
            if curves.finite(points):
                lines.append(Line(folder.name, points, look=f"run-{i % _NUM_LOOKS}"))
        if lines:
            zero = key not in ("loss",)
            figures.append(sections.wide_figure(Chart(title, lines, zero=zero), 280))
    return figures


def differences(folders: Sequence[Folder]) -> list[tuple[str, list[str]]]:
    """Return the options that are not equal in all runs, with each run's value."""
    flat = [
        {f"{section}.{key}": plain(value) for section, values in folder.config.items()
         for key, value in values.items()}
        for folder in folders
    ]  # fmt: skip
    names = dict.fromkeys(name for options in flat for name in options)
    found = []
    for name in names:
        values = [options.get(name, plain(None)) for options in flat]
        if len(set(values)) > 1:
            found.append((name, values))
    return found


def _cost(folders: Sequence[Folder]) -> list[tuple[str, list[str]]]:
    tables = [dict(evidence.cost(folder)) for folder in folders]
    names = dict.fromkeys(name for table in tables for name in table)
    return [(name, [table.get(name, plain(None)) for table in tables]) for name in names]
