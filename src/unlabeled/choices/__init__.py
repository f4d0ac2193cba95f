"""What was asked for, what is chosen for the rest, and why; one module for each kind of data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from unlabeled import presets

DEFAULT_SECONDS = 600.0


@dataclass(frozen=True)
class Request:
    """What a person asked for; everything absent is chosen.

    Args:
        data: path, list of files, table or ``hf://`` name.
        method: name of the pretext task.
        seconds: budget of the run; steps are measured from it.
        steps: number of steps, instead of a budget.
        kind: one of `kinds.KINDS`.
        column: column of a table.
        init: local folder with weights to start from.
        overrides: {section: {option: value}}, from ``key=value`` words.
        file: tree of a TOML file, below the overrides.
    """

    data: str
    method: str | None = None
    seconds: float | None = None
    steps: int | None = None
    kind: str | None = None
    column: str | None = None
    init: str | None = None
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    file: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """One thing that was chosen, and why."""

    name: str
    value: Any
    reason: str


class Chooser:
    """Fills a tree of options: what was asked wins, the rest is chosen and remembered."""

    def __init__(self, asked: Mapping[str, Mapping[str, Any]]) -> None:
        """Start from what was asked."""
        self.tree: dict[str, dict[str, Any]] = {k: dict(v) for k, v in asked.items()}
        self.choices: list[Choice] = []
        self.rate, self.rate_reason = 1.0, ""  # what the recipe's rate is multiplied by, and why

    def choose(self, section: str, name: str, value: Any, reason: str) -> Any:
        """Set an option unless it was asked for; returns what holds."""
        options = self.tree.setdefault(section, {})
        if name in options:
            if not any(c.name == f"{section}.{name}" for c in self.choices):
                self.choices.append(Choice(f"{section}.{name}", options[name], "asked for"))
            return options[name]
        options[name] = value
        self.choices.append(Choice(f"{section}.{name}", value, reason))
        return value


def short(request: Request) -> float | None:
    """Return the seconds of a short run on a CPU, None for any other."""
    from unlabeled import device

    seconds = request.seconds if request.seconds is not None else DEFAULT_SECONDS
    short = device.device().type == "cpu" and seconds <= presets.FULL_SECONDS
    return seconds if short else None
