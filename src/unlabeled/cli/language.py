"""What `evaluate` says of a run of text without labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unlabeled.cli import checks, show
from unlabeled.errors import UsageError
from unlabeled.methods import catalogue

HELD_OUT = "held-out"
USED = ("text", "pairs", "retrieval", "context", "stride")
"""Options of `evaluate` that text without labels reads."""


@dataclass(frozen=True)
class Asked:
    """What was asked of a run of text; nothing is its held-out text."""

    text: str | None = None
    pairs: Path | None = None
    retrieval: Path | None = None
    context: int | None = None
    stride: int | None = None
    seed: int = 0

    @property
    def anything(self) -> bool:
        """Return whether a part was named."""
        parts = (self.text, self.pairs, self.retrieval, self.context, self.stride)
        return any(part is not None for part in parts)


def wanted(
    folder: Path, labels: str | None, column: str | None, masks: Path | None, asked: Asked
) -> bool:
    """Return whether a run is to be judged without labels: where asked, or where there are none.

    Raises:
        UsageError: labels and text were both given.
    """
    if asked.anything:
        if labels is not None or masks is not None:
            raise UsageError(
                "--text, --pairs, --retrieval, --context and --stride judge without labels: leave "
                "--labels and --masks out, and call evaluate a second time with them."
            )
        return True
    if labels is not None or masks is not None or column is not None:
        return False
    trained = checks.info(folder).get("method")
    if checks.kind_of(folder) != "text" or not catalogue.scores(trained):
        return False
    try:
        checks.labels(None, folder)
    except UsageError:
        show.say("No labels were given or found, so text is scored without any.")
        return True
    return False


def judge(run: str, folder: Path, asked: Asked) -> None:
    """Score text and pairs, say what came out, and keep it for the report."""
    file = None if asked.text in (None, HELD_OUT) else str(checks.existing(str(asked.text)))
    tables = [path for path in (asked.pairs, asked.retrieval) if path is not None]
    for path in tables:
        checks.existing(str(path))
    from unlabeled.runs import Run
    from unlabeled.transfer.text_study import TextStudy

    study = TextStudy(Run.open(folder))
    if not tables or asked.text is not None:
        _say(study.score(file, asked.context, asked.stride))
    if not asked.anything:
        _say(study.memorised(asked.seed))
    if asked.pairs is not None:
        _say(study.prefer(asked.pairs))
    if asked.retrieval is not None:
        rows, lines = study.retrieve(asked.retrieval)
        header = ("features", *next(iter(rows.values())))
        cells = [(name, *(f"{x:.3f}" for x in row.values())) for name, row in rows.items()]
        show.table(header, cells)
        _say(lines)
    show.say(f"Kept in {folder}/evaluate/text.json")
    writes = catalogue.writes(checks.info(folder).get("method"))
    show.next_commands(
        [
            (f"unlabeled report {run}", "one page of everything"),
            (f"unlabeled generate {run}", "let it write")
            if writes
            else (f"unlabeled evaluate {run} --labels FILE", "did it help, with a few labels"),
            (f"unlabeled evaluate {run} --text FILE", "the same of other text"),
        ]
    )


def _say(lines: list[str]) -> None:
    for line in lines:
        show.say(line)
