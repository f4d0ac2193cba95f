"""What `evaluate --masks` says: which class every place of an image is of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unlabeled.cli import show
from unlabeled.errors import UsageError

USED = ("masks", "counts")
"""Options of `evaluate` that masks read."""


def judge(folder: Path, masks: Path, counts: Sequence[int], seed: int) -> None:
    """Score patch features by masks, and print them beside what needs no training."""
    if not masks.is_dir():
        raise UsageError(f"{masks} is no folder. Give the folder of the masks.")
    from unlabeled.runs import Run
    from unlabeled.transfer.dense import evaluate_masks

    rows, notes = evaluate_masks(Run.open(folder), masks, counts, seed)
    show.say("Mean intersection over union, on half of the images (95 % interval over draws):")
    cells = [
        (
            row.features, row.reading, str(row.images), f"{row.mean:.3f}",
            "" if row.low is None or row.high is None else f"{row.low:.3f} to {row.high:.3f}",
        )
        for row in rows
    ]  # fmt: skip
    show.table(("features", "reading", "masks", "mIoU", "interval"), cells)
    for note in notes:
        show.say(f"Note: {note}")
    show.next_commands(
        [
            (f"unlabeled report {folder}", "where the encoder looks, patches as colours"),
            (f"unlabeled embed {folder} DATA --dense", "features of places as parquet"),
            (f"unlabeled evaluate {folder} --labels FILE", "features of whole images"),
        ]
    )
