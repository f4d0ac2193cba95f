"""Figures of logs for `inspect`: which columns, how long, what is missing, what never changes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from unlabeled.data.inspect import Looks
from unlabeled.modalities.roles import role
from unlabeled.modalities.stretch import Stretch

_SHOWN = 12


class LogFigures(Looks):
    """Figures of logs."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []
        self.columns: Counter[tuple[str, ...]] = Counter()
        self.words: dict[str, None] = {}
        self.missing: Counter[str] = Counter()
        self.backwards = 0
        self.low: dict[str, float] = {}
        self.high: dict[str, float] = {}

    def measure(self, data: Any) -> None:
        """Measure one item."""
        assert isinstance(data, Stretch)
        names = tuple(data.log.names)
        values = data.read(names)
        self.steps.append(len(values))
        self.columns[names] += 1
        self.words.update(dict.fromkeys(data.log.words))
        for name, column in zip(names, values.T, strict=True):
            there = column[~np.isnan(column)]
            self.missing[name] += len(column) - len(there)
            if len(there):
                self.low[name] = min(self.low.get(name, np.inf), float(there.min()))
                self.high[name] = max(self.high.get(name, -np.inf), float(there.max()))
            if role(name) == "time":
                self.backwards += bool((np.diff(there) < 0).any())

    def figures(self) -> dict[str, Any]:
        """Return what was measured, as lines and doubts."""
        if not self.steps:
            return {"lines": ()}
        names = self.columns.most_common(1)[0][0]
        parts: dict[str, list[str]] = {}
        for name in names:
            parts.setdefault(role(name), []).append(name)
        low, middle, high = (int(np.quantile(self.steps, q)) for q in (0, 0.5, 1))
        lines = [f"Steps: {low:,} to {high:,}, median {middle:,}; {sum(self.steps):,} in all"]
        lines += [f"{kind.capitalize()}: {_listed(found)}" for kind, found in parts.items()]
        unread = [name for name in self.words if role(name) not in ("time", "episode", "done")]
        if unread:
            lines.append(f"Words, which are never learned from: {_listed(unread)}")
        lost = sum(self.missing.values()) / (sum(self.steps) * max(1, len(names)))
        lines.append(f"Missing: {lost:.1%} of all numbers")
        return {"lines": tuple(lines), "doubts": tuple(self._doubts(names))}

    def _doubts(self, names: tuple[str, ...]) -> list[str]:
        said = []
        still = [n for n in names if self.low.get(n) == self.high.get(n)]
        empty = [n for n in still if n not in self.low]
        still = [n for n in still if n in self.low]
        if empty:
            said.append(f"Never measured: {_listed(empty)}.")
        if still:
            said.append(f"Never changing, so of no use: {_listed(still)}.")
        if len(self.columns) > 1:
            others = sum(self.columns.values()) - self.columns.most_common(1)[0][1]
            said.append(f"{others:,} have other columns than the rest; what lacks one is left out.")
        if self.backwards:
            said.append(f"Time runs backwards in {self.backwards:,}: sort their rows.")
        return said


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
