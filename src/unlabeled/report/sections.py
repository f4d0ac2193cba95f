"""What each section of the page says, as plain values for the template."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from unlabeled.report import curves, signal_figures, text_figures
from unlabeled.report.chart import Chart
from unlabeled.report.folder import Folder
from unlabeled.report.svg import draw
from unlabeled.report.wording import MISSING, number, plain, real
from unlabeled.transfer import arms, grade
from unlabeled.transfer.diagnosis import diagnose
from unlabeled.transfer.measures import WORDS
from unlabeled.transfer.units import unit_of

LIGHTS = {"helped": "good", "no_clear_difference": "fair", "did_not_help": "poor"}


@dataclass(frozen=True, slots=True)
class Command:
    """A command to run next, and what it is for."""

    line: str
    why: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart drawn once for each width; the style sheet shows one."""

    title: str
    note: str
    wide: Markup
    narrow: Markup | None = None
    legend: tuple[tuple[str, str], ...] = ()


def figure(chart: Chart) -> Figure:
    """Draw a small chart of one line."""
    return Figure(chart.title, chart.note, draw(chart))


def wide_figure(chart: Chart, height: int = 430) -> Figure:
    """Draw a chart of several lines: names at line ends where there is room, else a legend."""
    legend = tuple((line.look, line.name) for line in chart.lines)
    return Figure(
        chart.title,
        chart.note,
        draw(chart, 860, height, ends=True),
        draw(chart, 400, min(height, 330)),
        legend,
    )


def shown(folder: Folder) -> str:
    """Return the folder as it is typed on a command line."""
    return shlex.quote(str(folder.path))


def evaluate_hint(folder: Folder) -> Command:
    """Return the command that fills what only labels can tell."""
    return Command(
        f"unlabeled evaluate {shown(folder)} --labels labels.csv", "did it help, and how much"
    )


def verdict(folder: Folder) -> dict[str, Any]:
    """Return section 1: sentence, light, labels saved, next commands."""
    status = str(folder.info.get("status") or "unknown")
    results = folder.results
    light, word = "none", "Not yet proven"
    sentence = str(folder.info.get("verdict") or "").strip()
    if results is not None:
        light, word = LIGHTS.get(str(results.get("grade")), "fair"), grade.word_of(results)
        light = light if grade.compared(results) else "none"
        sentence = str(results.get("verdict") or sentence)
    elif status == "failed":
        light, word = "poor", "Failed"
    elif status in ("running", "interrupted"):
        word = status.capitalize()
    if not sentence:
        sentence = "No labels have been used yet, so nothing is proven."
    savings = curves.savings(results) if results is not None else []
    return {
        "light": light,
        "word": word,
        "sentence": sentence,
        "status": status,
        "savings": [saved for saved in savings if saved.ratio is not None],
        "commands": next_commands(folder, light),
        "alarms": alarms(folder),
    }


def alarms(folder: Folder) -> list[str]:
    """Return the sentences of the last health check that raised any."""
    last = folder.health[-1] if folder.health else {}
    found = last.get("alarms")
    return [str(word) for word in found] if isinstance(found, list) else []


def next_commands(folder: Folder, light: str) -> list[Command]:
    """Return the three commands that make sense now."""
    run, status = shown(folder), folder.info.get("status")
    finetune = Command(f"unlabeled finetune {run} --labels labels.csv", "a classifier to deploy")
    export = Command(f"unlabeled export {run} --to hf", "opens in transformers, without unlabeled")
    embed = Command(f"unlabeled embed {run} DATA", "features as a parquet file")
    if status in ("interrupted", "failed", "running"):
        return [Command(f"unlabeled resume {run}", "continue where it stopped"),
                evaluate_hint(folder), export]  # fmt: skip
    if folder.results is None:
        return [evaluate_hint(folder), finetune, export]
    if light == "poor":
        path = shlex.quote(str(folder.config.get("data", {}).get("path") or "DATA"))
        return [Command(f"unlabeled inspect {path}", "is there enough, and is it what it seems"),
                Command(f"unlabeled pretrain {path} --time 2h", "train for longer"),
                Command("unlabeled methods", "another pretext task may fit better")]  # fmt: skip
    return [finetune, export, embed]


def label_table(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return section 2's table: a row a reading, a column a number of labels."""
    groups = curves.summary(dict(results))
    counts = sorted({float(row["labels_per_class"]) for rows in groups.values() for row in rows})
    best = {
        count: max(
            (float(r["mean"]) for rows in groups.values() for r in rows
             if float(r["labels_per_class"]) == count),
        )
        for count in counts
    }  # fmt: skip
    table = []
    for reading, rows in groups.items():
        found = {float(row["labels_per_class"]): row for row in rows}
        cells = [_cell(found.get(count), best[count]) for count in counts]
        table.append({"name": curves.name_of(reading, rows), "ours": curves.is_ours(reading),
                      "cells": cells})  # fmt: skip
    axis = unit_of(results.get("task")).axis
    return {"axis": axis, "counts": [number(count) for count in counts], "rows": table}


def _cell(row: Mapping[str, Any] | None, best: float) -> dict[str, Any]:
    if row is None:
        return {"mean": MISSING, "span": "", "best": False}
    low, high = real(row.get("low")), real(row.get("high"))
    span = "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
    mean = float(row["mean"])
    draws = real(row.get("n"))
    return {"mean": f"{mean:.3f}", "span": span, "best": mean == best, "n": draws}


def sampled(records: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    """Return about a dozen rows of the records, evenly spaced, last one included."""
    keys = [key for key in keys if any(real(r.get(key)) is not None for r in records)]
    if not records or not keys:
        return {"header": [], "rows": []}
    stride = max(1, -(-(len(records) - 1) // 11))
    chosen = [*records[: -1 or None : stride], records[-1]]
    rows = [[number(record.get(key), 4) for key in keys] for record in chosen]
    return {"header": [key.replace("_", " ") for key in keys], "rows": rows}


def training(folder: Folder) -> dict[str, Any]:
    """Return section 3."""
    keys = ("step", "loss", "lr", "grad_norm", "samples_per_second", "data_wait")
    return {
        "figures": [figure(chart) for chart in curves.training(folder)],
        "table": sampled(folder.metrics, keys),
        "baselines": pairs(folder.info.get("baselines")),
        "text": [*text_figures.blocks(folder), *signal_figures.blocks(folder)],
        "diagnosis": diagnose(folder.path),
    }


def health(folder: Folder) -> dict[str, Any]:
    """Return section 4."""
    keys = ("step", "spread", "effective_rank", "mean_cosine", "entropy", "target_entropy")
    over_time = curves.over_time(folder.results or {})
    return {
        "figures": [figure(chart) for chart in (*curves.monitors(folder), *over_time)],
        "kept": bool(over_time),
        "table": sampled(folder.health, keys),
        "alarms": alarms(folder),
    }


def unlabelled(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of what an evaluation measured without learning from labels."""
    quality, clusters = (
        {str(k): v for k, v in found.items() if isinstance(v, dict)}
        if isinstance(found := results.get(part), dict)
        else {}
        for part in ("quality", "clusters")
    )
    names = [name for name in WORDS if any(name in row for row in quality.values())]
    ways = [(way, index) for way in ("kmeans", "agglomerative") for index in ("nmi", "ari")]
    return {
        "measures": [WORDS[name] for name in names],
        "quality": {
            "header": ["features", *(WORDS[name].partition(":")[0] for name in names)],
            "rows": [
                [_features(r), *(number(v.get(n)) for n in names)] for r, v in quality.items()
            ],
        },
        "clusters": {
            "header": ["features", *(f"{way} {index.upper()}" for way, index in ways)],
            "rows": [
                [_features(r), *(number((v.get(way) or {}).get(index)) for way, index in ways)]
                for r, v in clusters.items()
            ],
        },
    }


def _features(reading: str) -> str:
    """Return whose features they are; how they are read is no part of it."""
    return "pre-trained" if reading == "probe" else arms.name_of(reading).removesuffix(" + LR")


def pairs(tree: Any) -> list[tuple[str, str]]:
    """Return a table as rows of name and value."""
    if not isinstance(tree, dict):
        return []
    return [(str(key).replace("_", " "), plain(value)) for key, value in tree.items()]
