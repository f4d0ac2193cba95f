"""The run's record on disk: append-only JSON lines, and small JSON files replaced whole."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Journal:
    """Append-only lines of JSON, each with a ``step``; a torn last line is ignored."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet; `path` is made by the first write."""
        self.path = path

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one line and hand it to the system (kill -9 keeps it)."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_finite(line)) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        """Return all whole lines."""
        return read_lines(self.path)

    def forget_after(self, step: int) -> None:
        """Drop lines of steps after `step`: they will be done again."""
        if self.path.exists():
            kept = [line for line in self.lines() if line.get("step", 0) <= step]
            write_atomic(self.path, "".join(json.dumps(line) + "\n" for line in kept))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines, leaving out a torn one at the end; an absent file has none."""
    if not path.exists():
        return []
    found = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            found.append(line)
    return found


def write_json(path: Path, value: Any) -> None:
    """Replace a small JSON file whole."""
    write_atomic(path, json.dumps(_finite(value), indent=1, default=str) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file; an absent or damaged one is empty."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_atomic(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old or the new one, never half."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON cannot hold, by their names."""
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
