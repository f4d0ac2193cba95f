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
    "gguf": "gguf",
}
_MANY = 1000


def card(folder: Path, to: str, usage: str, info: Mapping[str, Any], part: str = "encoder") -> str:
    """Return the text of the card.

    Args:
        folder: the run folder.
        to: the format, a key of `LIBRARIES`.
        usage: code that loads the export.
        info: content of ``run.json``.
        part: ``encoder``, or ``finetune`` for its classifier.
    """
    method, kind = str(info.get("method", "unknown")), str(info.get("kind", "unknown"))
    classes = _json(folder / "finetune" / "classes.json") if part == "finetune" else {}
    task = _task(to, kind, bool(classes))
    front = [f"library_name: {LIBRARIES[to]}", f"pipeline_tag: {task}", "tags:"]
    tags = dict.fromkeys(["self-supervised", method, kind, task])
    results = _json(folder / "evaluate" / "results.json")
    what = "A generator" if to == "gguf" else "An encoder"
    said = (
        f"A classifier of {kind}: an encoder that was pre-trained with `{method}` on unlabelled "
        f"data, then fine-tuned on {classes.get('train', 'some')} labelled samples."
        if classes
        else f"{what} of {kind}, pre-trained with `{method}` on unlabelled data. No label was used."
    )
    parts = [
        "\n".join(["---", *front, *(f"- {tag}" for tag in tags), "---", ""]),
        f"# {folder.name}\n\n{said}\n",
        _verdict(info, results),
        f"## Use\n\n```python\n{usage}\n```\n",
        _classes(classes),
        _curve(results),
        _training(info),
        _limits(info, results, bool(classes) or to == "gguf"),
    ]
    return "\n".join(part for part in parts if part)


def _task(to: str, kind: str, classifier: bool) -> str:
    """Return the hub's name of what the model does."""
    if classifier:
        return f"{kind}-classification"
    if to in ("sentence-transformers", "gguf"):
        return {"gguf": "text-generation"}.get(to, "sentence-similarity")
    return "image-feature-extraction" if kind == "image" else "feature-extraction"


def _json(path: Path) -> dict[str, Any]:
    """Read a JSON file, or nothing where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _classes(classes: Mapping[str, Any]) -> str:
    if not classes:
        return ""
    names = ", ".join(f"`{name}`" for name in classes["classes"]) or "A number a sample."
    how = _OUTPUTS.get(str(classes.get("task")), "")
    return (
        f"## Classes\n\n{names}{how}\n\n{_score(classes)} on {classes['validation']} labelled "
        "samples set aside, which also chose how it was trained.\n"
    )


_OUTPUTS = {
    "multi": "\n\nOne logit a label; above 0 it is there.",
    "ordinal": "\n\nOne logit a step: above 0 the sample is above that grade. The grade is the "
    "rounded sum of the steps' sigmoids.",
}


def _score(classes: Mapping[str, Any]) -> str:
    """Say how good it is, in the words of its task."""
    if classes.get("score") is None:
        return f"Accuracy {classes['accuracy']:.3f}, macro F1 {classes['macro_f1']:.3f}"
    name = {"multi": "F1 over labels", "ordinal": "Quadratic-weighted kappa"}
    found = f"{name.get(classes['task'], 'Explained variance')} {classes['score']:.3f}"
    if classes["task"] == "regression" and classes.get("scale", 1.0) != 1.0:
        found += f" (multiply outputs by {classes['scale']:.6g} and add {classes['mean']:.6g})"
    error = classes.get("mae")
    return found if error is None else f"{found}, mean absolute error {error:.3g}"


def _verdict(info: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    verdict = results.get("verdict") or info.get("verdict")
    return f"**{verdict}**\n" if verdict else ""


def _curve(results: Mapping[str, Any]) -> str:
    """Return the label curve as a table: a row a reading, a column a label count."""
    cells = {
        (str(part["name"]), int(part["labels_per_class"])): part
        for part in results.get("summary", [])
    }
    if not cells:
        return ""
    counts = sorted({count for _, count in cells})
    lines = [
        "## Label curve\n",
        f"Mean {results.get('metric', 'score')} over draws with its 95 % interval, by labels per "
        "class.\n",
        "| reading | " + " | ".join(map(str, counts)) + " |",
        "|---|" + "---|" * len(counts),
    ]
    for name in dict.fromkeys(name for name, _ in cells):
        row = (_cell(cells.get((name, count))) for count in counts)
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def _cell(part: Mapping[str, Any] | None) -> str:
    if part is None:
        return ""
    if part.get("low") is None or part.get("high") is None:
        return f"{part['mean']:.3f}"
    return f"{part['mean']:.3f} ({part['low']:.3f} to {part['high']:.3f})"


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


def _limits(info: Mapping[str, Any], results: Mapping[str, Any], classifier: bool) -> str:
    lines = ["It learned from one collection and reflects it; on other data it may be poor."]
    if not classifier:
        lines.append("It has no classes: put a probe on it, or fine-tune it, with your labels.")
    if not results.get("summary"):
        lines.append("It was not evaluated with labels when this card was written.")
    if info.get("status") != "finished":
        lines.append(f"Its run was {info.get('status', 'unfinished')}, not finished.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"
