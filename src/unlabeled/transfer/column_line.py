"""One line of a study by one column of labels among several; nothing heavy is imported."""

from __future__ import annotations

from typing import Any

from unlabeled.transfer.arms import name_of
from unlabeled.transfer.units import unit_of


def line_of(results: dict[str, Any]) -> dict[str, Any]:
    """Return what one line says of a study: the judged reading with the most labels."""
    ours = [row for row in results["summary"] if row["reading"] == results["ours"]]
    best = max(ours, key=lambda row: row["labels_per_class"], default=None)
    return {
        "task": results["task"],
        "metric": results["metric"],
        "reading": results["ours"],
        "score": None if best is None else best["mean"],
        "labels_per_class": None if best is None else best["labels_per_class"],
        "grade": results["grade"],
        "verdict": results["verdict"],
    }


def said_of(part: dict[str, Any]) -> str:
    """Write one line about a column.

    >>> said_of({"problem": "No row has a label."})
    'not studied: No row has a label.'
    """
    if "problem" in part:
        return f"not studied: {part['problem']}"
    if part["score"] is None:
        return str(part["verdict"])
    metric = part["metric"].replace("_", " ")
    return (
        f"{part['task']}, {metric} {part['score']:.3f} ({name_of(part['reading'])}, "
        f"{part['labels_per_class']} {unit_of(part['task']).labels}). {part['verdict']}"
    )
