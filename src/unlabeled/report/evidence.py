"""Sections 7 to 10: errors, data health, cost, and how to run it again."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

from unlabeled.report import curves, reliability
from unlabeled.report.folder import Folder
from unlabeled.report.sections import pairs, shown
from unlabeled.report.wording import duration, number, percent, plain, real, size
from unlabeled.transfer import arms
from unlabeled.transfer.units import unit_of


def errors(folder: Folder) -> dict[str, Any]:
    """Return section 7: confusion, worst classes, surest mistakes, calibration."""
    results = folder.results or {}
    tree = results.get("confusion")
    unit = unit_of(results.get("task")).labels
    confusion = _confusion(tree, unit) if isinstance(tree, dict) else None
    mistakes = results.get("mistakes")
    return {
        "confusion": confusion,
        "worst": _worst(confusion) if confusion else [],
        "calibration": reliability.of_results(results) if results else None,
        "mistakes": [_mistake(m) for m in mistakes[:16] if isinstance(m, dict)]
        if isinstance(mistakes, list)
        else [],
    }


def _mistake(tree: Mapping[str, Any]) -> dict[str, str]:
    def first(*keys: str) -> str:
        return plain(next((tree[key] for key in keys if key in tree), None))

    share = real(tree.get("share"))
    return {
        "name": first("name", "sample", "path"),
        "truth": first("truth", "label", "true"),
        "guess": first("guess", "predicted", "prediction"),
        "confidence": first("confidence", "score") if share is None else percent(share, 0),
        "sure": percent(tree.get("sure"), 0),
    }


def _confusion(tree: Mapping[str, Any], unit: str) -> dict[str, Any] | None:
    classes, matrix = tree.get("classes"), tree.get("matrix")
    if not isinstance(classes, list) or not isinstance(matrix, list):
        return None
    if len(matrix) != len(classes) or not classes:
        return None
    try:
        counts = [[float(cell) for cell in row] for row in matrix]
    except (TypeError, ValueError):
        return None
    if any(len(row) != len(classes) for row in counts):
        return None
    rows = []
    for name, row in zip(classes, counts, strict=True):
        total = sum(row) or 1.0
        cells = [{"count": number(c), "share": c / total, "shade": round(10 * c / total)}
                 for c in row]  # fmt: skip
        rows.append({"name": str(name), "cells": cells, "total": total})
    return {
        "classes": [str(name) for name in classes],
        "rows": rows,
        "large": len(classes) > 30,
        "reading": arms.name_of(str(tree.get("reading") or "")),
        "labels": f"{number(tree.get('labels_per_class'))} {unit}",
    }


def _worst(confusion: Mapping[str, Any]) -> list[dict[str, str]]:
    found = []
    for i, row in enumerate(confusion["rows"]):
        others = [(c["share"], j) for j, c in enumerate(row["cells"]) if j != i]
        share, taken = max(others, default=(0.0, i))
        found.append((row["cells"][i]["share"], row["name"], share, confusion["classes"][taken]))
    found.sort(key=lambda item: item[0])
    return [{"name": name, "recall": percent(recall, 0), "taken": other,
             "share": percent(share, 0)}
            for recall, name, share, other in found[:6]]  # fmt: skip


def data_health(folder: Folder) -> dict[str, Any]:
    """Return section 8: counts of data.json, quarantine by reason, leakage."""
    flat: list[tuple[str, str]] = []
    for key, value in folder.data.items():
        if isinstance(value, list | dict) and len(value) > 8:
            flat.append((_label(key), f"{len(value):,} entries"))
        elif key != "format":
            flat.append((_label(key), plain(value)))
    reasons = Counter(str(line.get("reason") or "no reason recorded") for line in folder.quarantine)
    split = (folder.results or {}).get("split")
    seen = real(split.get("seen_in_pretraining")) if isinstance(split, dict) else None
    path = shlex.quote(str(folder.config.get("data", {}).get("path") or "DATA"))
    return {
        "inspect": f"unlabeled inspect {path} --encoder {shown(folder)} --labels labels.csv",
        "facts": flat,
        "reasons": reasons.most_common(8),
        "quarantine": [
            {"name": str(line.get("name", "")), "reason": str(line.get("reason", ""))}
            for line in folder.quarantine[:20]
        ],
        "num_bad": len(folder.quarantine),
        "budget": percent(folder.config.get("data", {}).get("bad_budget"), 0),
        "split": pairs(split),
        "seen": number(seen) if seen else "",
        "damage": folder.damage,
    }


def cost(folder: Folder) -> list[tuple[str, str]]:
    """Return section 9."""
    info = folder.info
    machine = info.get("hardware") if isinstance(info.get("hardware"), dict) else {}
    assert isinstance(machine, dict)
    seconds = folder.seconds
    threads = real(machine.get("threads") or folder.config.get("loop", {}).get("threads"))
    rates = [y for _, y in curves.series(folder.metrics, "samples_per_second") if y == y]
    waits = [y for _, y in curves.series(folder.metrics, "data_wait") if y == y]
    busy = real(info.get("cpu_seconds"))
    if busy is None and seconds is not None and threads is not None:
        busy = seconds * threads
    found = [
        ("Wall time", duration(seconds)),
        ("CPU hours", number(None if busy is None else busy / 3600)),
        ("Samples seen", number(info.get("samples_seen"))),
        ("Samples per second", number(sorted(rates)[len(rates) // 2] if rates else None)),
        ("Share waiting for data", percent(sum(waits) / len(waits) if waits else None)),
        ("Peak memory", size(info.get("peak_memory") or machine.get("peak_memory"))),
        ("Parameters", number(info.get("parameters"))),
    ]
    return found + [(_label(key), plain(value)) for key, value in machine.items()]


def reproduce(folder: Folder) -> dict[str, Any]:
    """Return section 10: command, data, versions, choices, configuration, limits."""
    data, loop = folder.data, folder.config.get("loop", {})
    facts = [
        ("Run", plain(folder.info.get("id"))),
        ("Started", plain(folder.info.get("started"))),
        ("Data", plain(folder.config.get("data", {}).get("path"))),
        ("Data hash", plain(data.get("fingerprint"))),
        ("Seed", plain(folder.info.get("seed", loop.get("seed")))),
    ]
    choices = folder.info.get("choices")
    command = folder.info.get("command")
    return {
        "command": shlex.join(map(str, command))
        if isinstance(command, list)
        else str(command or ""),
        "again": f"unlabeled pretrain --config {shlex.quote(str(folder.path / 'config.toml'))}",
        "facts": facts,
        "versions": pairs(folder.info.get("versions")),
        "choices": [
            {key: plain(c.get(key)) for key in ("name", "value", "reason")}
            for c in (choices if isinstance(choices, list) else [])
            if isinstance(c, dict)
        ],
        "config": [
            (section, [(f"{section}.{key}", plain(value)) for key, value in values.items()])
            for section, values in folder.config.items()
        ],
        "limits": limits(folder),
    }


def limits(folder: Folder) -> list[str]:
    """Say what this page cannot tell."""
    results = folder.results
    found = []
    if results is None:
        found.append("No labels were used: whether the encoder helps is not known.")
    else:
        draws = [n for row in results.get("summary", []) if isinstance(row, dict)
                 if (n := real(row.get("n"))) is not None]  # fmt: skip
        if draws:
            found.append(
                f"Intervals come from {number(min(draws))} draws of labels; one pre-training run "
                "with one seed stands behind them, so its own variation is not in them."
            )
        notes = results.get("notes")
        found += [str(note) for note in notes] if isinstance(notes, list) else []
        if isinstance(notes, str) and notes:
            found.append(notes)
    if real(folder.config.get("loop", {}).get("threads")) is not None:
        found.append(
            "The run repeats bit for bit with the same versions, threads and processor; "
            "elsewhere figures differ in the last digits."
        )
    return found


def _label(key: str) -> str:
    return str(key).replace("_", " ").capitalize()
