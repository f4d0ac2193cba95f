"""What `evaluate --task retrieval` and `--pairs` say: which samples are alike by their features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unlabeled.cli import checks, show
from unlabeled.errors import UsageError

USED = ("pairs", "test", "quick", "transductive")
"""Options of `evaluate` that pairs of samples read."""


def holds(folder: Path, table: Path) -> bool:
    """Say whether a table of pairs is of samples that are the same or not.

    Raises:
        UsageError: it is not there, or holds no such pairs where a run can use no others.
    """
    from unlabeled.data.label_table import columns_of
    from unlabeled.transfer import item_pairs

    checks.existing(str(table))
    if item_pairs.has(table):
        return True
    kind = checks.kind_of(folder)
    if kind in (None, "text"):
        return False
    raise UsageError(
        f"{table} has the columns {', '.join(columns_of(table)) or 'of nothing'}. Pairs of samples "
        f"need three: a,b,same. (Minimal pairs, good,bad, are of text; {folder} is of {kind}.)"
    )


def retrieval(folder: Path, labels: str | None, **options: Any) -> None:
    """Let every test sample look for the others of its class, and print who finds them."""
    from unlabeled.runs import Run
    from unlabeled.transfer.ranking import FIGURES
    from unlabeled.transfer.retrieval_study import FILE, sentence, study

    found = study(Run.open(folder), labels, **options)
    alone = f"; {found['alone']:,} have no partner" if found["alone"] else ""
    show.say(
        f"{found['queries']:,} queries among {found['gallery']:,} test samples of "
        f"{found['classes']:,} classes{alone}. The space was chosen {found['chosen']}."
    )
    cells = [(_named(row), *(span(row, name) for name in FIGURES)) for row in _shown(found["rows"])]
    cells.append(("chance", *(f"{found['chance'][name]:.3f}" for name in FIGURES)))
    names = [name.replace("_at_", "@") for name in FIGURES[1:]]
    show.table(("features (95 % interval)", "mAP", *names), cells)
    _end(folder, [sentence(found)], found["notes"], FILE)


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows in the space that was chosen."""
    return [row for row in rows if row["chosen"]]


def _named(row: dict[str, Any]) -> str:
    return f"{row['features']}, {row['way']}"


def span(row: dict[str, Any], name: str) -> str:
    """Return a figure with its interval."""
    return f"{row[name]:.3f} ({row[f'{name}_low']:.3f} to {row[f'{name}_high']:.3f})"


def _end(folder: Path, said: list[str], notes: list[str], file: str) -> None:
    for line in (*said, *(f"Note: {note}" for note in notes)):
        show.say(line)
    show.say(f"Kept in {folder / file}")
    show.next_commands(
        [
            (f"unlabeled report {folder}", "one page of everything"),
            (f"unlabeled search {folder} --help", "look for what is like a sample"),
            (f"unlabeled evaluate {folder} --labels FILE", "what a few labels are enough for"),
        ]
    )


def pairs(folder: Path, table: Path, **options: Any) -> None:
    """Tell pairs that are the same from others, and print how often that is right."""
    from unlabeled.runs import Run
    from unlabeled.transfer.pair_study import FIGURES, FILE, ROWS, sentences, study

    found = study(Run.open(folder), table, **options)
    scored, chosen = found["scored_on"], found["chosen_on"]
    show.say(
        f"{scored['same']:,} pairs that are the same and {scored['other']:,} others, of "
        f"{found['units']:,} units. Space and threshold were chosen on {chosen['same']:,} and "
        f"{chosen['other']:,} pairs of others."
    )
    cells = [
        (_named(row), *(span(row, name) for name in FIGURES), f"{row['threshold']:.3f}")
        for row in _shown(found["rows"])
    ]
    header = ("features (95 % interval)", "AUROC", "equal error", "accuracy at", "threshold")
    show.table(header, cells)
    _end(folder, sentences(found), found["notes"], f"{FILE}; every pair in {folder / ROWS}")
