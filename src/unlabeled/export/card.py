"""The model card: what a stranger must know of an exported encoder, as README.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LIBRARIES = {
    "hf": "transformers",
    "timm": "timm",
    "onnx": "onnx",
    "sentence-transformers": "sentence-transformers",
}
_MANY = 1000


def card(folder: Path, to: str, usage: str, info: Mapping[str, Any]) -> str:
    """Return the text of the card.

    Args:
        folder: the run folder.
        to: the format, a key of `LIBRARIES`.
        usage: code that loads the export.
        info: content of ``run.json``.
    """
    method, kind = str(info.get("method", "unknown")), str(info.get("kind", "unknown"))
    tags = ["self-supervised", method, kind, "feature-extraction"]
    front = ["---", f"library_name: {LIBRARIES[to]}", "tags:", *(f"- {tag}" for tag in tags)]
    if kind == "text" and to != "onnx":
        front.append(f"pipeline_tag: {_pipeline(to)}")
    elif kind == "image":
        front.append("pipeline_tag: image-feature-extraction")
    results = _results(folder)
    parts = [
        "\n".join([*front, "---", ""]),
        f"# {folder.name}\n",
        f"An encoder for {kind}, pre-trained with `{method}` on unlabelled data; no label was "
        "used.\n",
        _verdict(info, results),
        f"## Use\n\n```python\n{usage}\n```\n",
        _curve(results),
        _training(info),
        _limits(info, results),
    ]
    return "\n".join(part for part in parts if part)


def _pipeline(to: str) -> str:
    return "sentence-similarity" if to == "sentence-transformers" else "feature-extraction"


def _results(folder: Path) -> dict[str, Any]:
    """Read the evaluation, or nothing where there is none."""
    try:
        found = json.loads((folder / "evaluate" / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _verdict(info: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    summary = results.get("summary")
    verdict = summary.get("verdict") if isinstance(summary, Mapping) else results.get("verdict")
    verdict = verdict or info.get("verdict")
    return f"**{verdict}**\n" if verdict else ""


def _curve(results: Mapping[str, Any]) -> str:
    """Return the label curve as a table: a row a reading, a column a label count."""
    scores: dict[tuple[str, int], list[float]] = {}
    for row in results.get("rows", []):
        key = (str(row["reading"]), int(row["labels_per_class"]))
        scores.setdefault(key, []).append(float(row["score"]))
    if not scores:
        return ""
    counts = sorted({count for _, count in scores})
    readings = list(dict.fromkeys(reading for reading, _ in scores))
    lines = [
        "## Label curve\n",
        f"Mean {results.get('metric', 'score')} over draws, by labels per class.\n",
        "| reading | " + " | ".join(map(str, counts)) + " |",
        "|---|" + "---|" * len(counts),
    ]
    for reading in readings:
        cells = [scores.get((reading, count)) for count in counts]
        means = [f"{sum(c) / len(c):.3f}" if c else "" for c in cells]
        lines.append(f"| {reading} | " + " | ".join(means) + " |")
    return "\n".join(lines) + "\n"


def _training(info: Mapping[str, Any]) -> str:
    known = {
        "Method": info.get("method"),
        "Parameters": info.get("parameters"),
        "Steps": info.get("steps"),
        "Samples seen": info.get("samples_seen"),
        "Seconds": info.get("seconds"),
        "Seed": info.get("seed"),
    }
    rows = [f"- {name}: {_number(value)}" for name, value in known.items() if value is not None]
    return "## Training\n\n" + "\n".join(rows) + "\n" if rows else ""


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) and value > _MANY else str(value)


def _limits(info: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    lines = [
        "It learned from one collection and reflects it; features of other data may be poor.",
        "It has no classes of its own: put a probe on it, or fine-tune it, with your labels.",
    ]
    if not results.get("rows"):
        lines.append("It was not evaluated with labels when this card was written.")
    if info.get("status") != "finished":
        lines.append(f"Its run was {info.get('status', 'unfinished')}, not finished.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"
