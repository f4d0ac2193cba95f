"""The runs in a folder, as a table for the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlabeled.errors import UsageError
from unlabeled.report import comparison, curves
from unlabeled.report.folder import Folder, summary_of
from unlabeled.report.wording import duration, number, plain

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("run", "method", "encoder", "data", "steps", "time", "status", "verdict", "score")
_MAX_RUNS = 10_000


@dataclass(frozen=True, slots=True)
class RunLine:
    """What the table says of one run."""

    path: Path
    id: str
    method: str
    encoder: str
    data: str
    steps: int
    seconds: float | None
    status: str
    verdict: str
    score: str
    saved: float | None

    def cells(self) -> tuple[str, ...]:
        """Return the cells in the order of `COLUMNS`."""
        return (self.id, self.method, self.encoder, self.data, number(self.steps),
                duration(self.seconds), self.status, self.verdict, self.score)  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Return the line as JSON values."""
        return {"path": str(self.path), "id": self.id, "method": self.method,
                "encoder": self.encoder, "data": self.data, "steps": self.steps,
                "seconds": self.seconds, "status": self.status, "verdict": self.verdict,
                "score": self.score, "labels_saved": self.saved}  # fmt: skip


def list_runs(folder: Path) -> list[RunLine]:
    """List the runs in a folder, newest first; the folder may itself be a run.

    Raises:
        UsageError: the folder does not exist.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is not a folder. Runs are made by `unlabeled pretrain DATA`, in runs/ "
            "unless --out says otherwise."
        )
    places = [folder, *sorted(child for child in folder.iterdir() if child.is_dir())]
    found = [place for place in places[:_MAX_RUNS] if (place / "run.json").is_file()]
    lines = [(summary_of(place), place) for place in found]
    lines.sort(key=lambda pair: str(pair[0].info.get("started") or ""), reverse=True)
    return [_line(summary) for summary, _ in lines]


def _line(folder: Folder) -> RunLine:
    savings = curves.savings(folder.results or {})
    verdict = str((folder.results or {}).get("verdict") or folder.info.get("verdict") or "")
    return RunLine(
        path=folder.path,
        id=folder.name,
        method=folder.method,
        encoder=folder.encoder,
        data=plain(folder.config.get("data", {}).get("path")),
        steps=folder.steps,
        seconds=folder.seconds,
        status=str(folder.info.get("status") or "unreadable"),
        verdict=verdict.split(". ")[0].rstrip("."),
        score=comparison.best_score(folder),
        saved=savings[0].ratio if savings else None,
    )


def table(lines: Sequence[RunLine]) -> Table:
    """Return the lines as a rich table."""
    from rich.markup import escape
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="dim")
    for column in COLUMNS:
        numeric = column in ("steps", "time")
        made.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for line in lines:
        made.add_row(*(escape(cell) for cell in line.cells()))
    return made


def plain_text(lines: Sequence[RunLine]) -> str:
    """Return the lines separated by tabs, for other programs."""
    rows = [COLUMNS, *(line.cells() for line in lines)]
    return "\n".join("\t".join(" ".join(cell.split()) for cell in row) for row in rows)


def as_json(lines: Sequence[RunLine]) -> str:
    """Return the lines as JSON."""
    return json.dumps([line.as_dict() for line in lines], indent=1)
