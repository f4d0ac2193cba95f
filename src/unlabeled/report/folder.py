"""What a run folder says, read without opening the model or importing torch."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unlabeled.errors import UsageError
from unlabeled.report.wording import real

_MAX_BYTES = 256_000_000


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of a run folder, parsed; what is absent is empty.

    Args:
        path: the folder.
        info: run.json.
        config: config.toml.
        data: data.json.
        metrics: lines of metrics.jsonl.
        health: lines of health.jsonl.
        quarantine: lines of quarantine.jsonl.
        results: evaluate/results.json, or None before an evaluation.
        weights: encoder/config.json.
        columns: by column of labels, where several were studied, evaluate/columns.json and the
            results of each.
        column: the one column that a page is about, where several were studied.
        text: evaluate/text.json: what was measured of text without labels.
        forecast: evaluate/forecast.json: how well features foretell logs.
        anomaly: evaluate/anomaly.json: how well features tell what is odd.
        retrieval: evaluate/retrieval.json: whether test samples find those of their class.
        pairs: evaluate/pairs.json: whether features tell pairs that are the same.
        damage: sentences about files that could not be read whole.
    """

    path: Path
    info: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    health: list[dict[str, Any]] = field(default_factory=list)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    results: dict[str, Any] | None = None
    columns: dict[str, dict[str, Any]] = field(default_factory=dict)
    column: str = ""
    weights: dict[str, Any] = field(default_factory=dict)
    text: dict[str, Any] = field(default_factory=dict)
    forecast: dict[str, Any] = field(default_factory=dict)
    anomaly: dict[str, Any] = field(default_factory=dict)
    retrieval: dict[str, Any] = field(default_factory=dict)
    pairs: dict[str, Any] = field(default_factory=dict)
    damage: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the folder's name, by which people know the run."""
        return self.path.resolve().name

    @property
    def kind(self) -> str:
        """Return the kind of data, one of `kinds.KINDS`."""
        return str(self.info.get("kind") or self.config.get("data", {}).get("kind") or "image")

    @property
    def method(self) -> str:
        """Return the name of the pretext task."""
        option = self.config.get("method", {})
        return str(option.get("name") or self.info.get("method") or "unknown")

    @property
    def encoder(self) -> str:
        """Return the name of the encoder."""
        return str(self.config.get("encoder", {}).get("name") or "unknown")

    @property
    def steps(self) -> int:
        """Return how many steps were made, from the journal or the samples seen."""
        if self.metrics:
            return int(real(self.metrics[-1].get("step")) or 0)
        batch = real(self.config.get("loop", {}).get("batch"))
        return int((real(self.info.get("samples_seen")) or 0) // batch) if batch else 0

    @property
    def seconds(self) -> float | None:
        """Return the wall time spent so far."""
        last = self.metrics[-1].get("seconds") if self.metrics else None
        return real(self.info.get("seconds", last))

    @property
    def dim(self) -> int | None:
        """Return D, the width of the feature, as the saved encoder names it."""
        for key in ("num_features", "hidden_size", "n_embd"):
            if (found := real(self.weights.get(key))) is not None and found >= 1:
                return int(found)
        return None


def _text(path: Path, damage: list[str]) -> str | None:
    try:
        if path.stat().st_size > _MAX_BYTES:
            damage.append(f"{path.name} has more than 256 MB and was left out.")
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        damage.append(f"{path.name} could not be read: {error.strerror}.")
        return None


def _tree(path: Path, damage: list[str]) -> dict[str, Any] | None:
    text = _text(path, damage)
    if text is None:
        return None
    try:
        tree = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (ValueError, RecursionError):
        damage.append(f"{path.name} is damaged and was left out.")
        return None
    if not isinstance(tree, dict):
        damage.append(f"{path.name} does not hold a table and was left out.")
        return None
    return tree


def _lines(path: Path, damage: list[str]) -> list[dict[str, Any]]:
    """Read JSON lines; a run that was killed may have left half a line."""
    found, bad = [], 0
    for line in (_text(path, damage) or "").splitlines():
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict):
            found.append(record)
        else:
            bad += 1
    if bad:
        damage.append(f"{path.name}: {bad} damaged line{'s' if bad > 1 else ''} left out.")
    return found


def _sections(tree: dict[str, Any]) -> dict[str, Any]:
    """Drop sections of a configuration that are not tables."""
    return {key: part for key, part in tree.items() if isinstance(part, dict)}


def read(path: Path) -> Folder:
    """Read a run folder.

    Raises:
        UsageError: it is not a run folder.
    """
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder. Give the folder of a run, such as runs/NAME.")
    if not (path / "run.json").is_file():
        raise UsageError(
            f"{path} is not a run: it has no run.json. Give a folder that `unlabeled pretrain` "
            "made; `unlabeled runs` lists them."
        )
    damage: list[str] = []
    return Folder(
        path=path,
        info=_tree(path / "run.json", damage) or {},
        config=_sections(_tree(path / "config.toml", damage) or {}),
        data=_tree(path / "data.json", damage) or {},
        metrics=_lines(path / "metrics.jsonl", damage),
        health=_lines(path / "health.jsonl", damage),
        quarantine=_lines(path / "quarantine.jsonl", damage),
        results=_tree(path / "evaluate" / "results.json", damage),
        weights=_tree(path / "encoder" / "config.json", damage) or {},
        columns=_columns(path / "evaluate", damage),
        text=_tree(path / "evaluate" / "text.json", damage) or {},
        forecast=_tree(path / "evaluate" / "forecast.json", damage) or {},
        anomaly=_tree(path / "evaluate" / "anomaly.json", damage) or {},
        retrieval=_tree(path / "evaluate" / "retrieval.json", damage) or {},
        pairs=_tree(path / "evaluate" / "pairs.json", damage) or {},
        damage=tuple(damage),
    )


def _columns(place: Path, damage: list[str]) -> dict[str, dict[str, Any]]:
    """Return what was said of each column of labels, with its results."""
    told = (_tree(place / "columns.json", damage) or {}).get("columns")
    found = {}
    for name, part in told.items() if isinstance(told, dict) else ():
        if isinstance(part, dict):
            where = place / "columns" / Path(str(part.get("folder", ""))).name / "results.json"
            found[str(name)] = part | {"results": _tree(where, damage)}
    return found


def summary_of(path: Path) -> Folder:
    """Read only the small files of a run folder: enough for one line about it."""
    damage: list[str] = []
    return Folder(
        path=path,
        info=_tree(path / "run.json", damage) or {},
        config=_sections(_tree(path / "config.toml", damage) or {}),
        results=_tree(path / "evaluate" / "results.json", damage),
        damage=tuple(damage),
    )


def read_all(paths: Sequence[Path]) -> list[Folder]:
    """Read run folders, each once, in the order given.

    Raises:
        UsageError: none was given, or one is not a run folder.
    """
    if not paths:
        raise UsageError("No run was given. Name at least one run folder, such as runs/NAME.")
    return [read(path) for path in dict.fromkeys(Path(path) for path in paths)]
