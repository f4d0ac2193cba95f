"""Tagging of words: how sentences are read, and what a sceptic should know of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from unlabeled.data import tags
from unlabeled.data.tags import Tagged
from unlabeled.transfer import trained_on
from unlabeled.transfer.trained_on import document_length
from unlabeled.transfer.words import WordInputs

if TYPE_CHECKING:
    from unlabeled.runs import Run

_LEAST_WORDS, _MOST_POOL = 6, 50_000


class Words:
    """Sentences whose words have tags.

    Args:
        run: the run that is judged.
    """

    task, item, owner, fewest = "tagging", "words", "document", 10
    grid: tuple[int, ...]
    quick_grid: tuple[int, ...]
    grid, quick_grid = (10, 30, 100, 300, 1000, 3000), (10, 100)
    most_validation, most_test, most_test_quick = 300, 2_000, 500
    keep = False

    def __init__(self, run: Run) -> None:
        self.run = run

    def read(self, labels: str | Path | None, label_column: str | None) -> Tagged:
        """Read tagged sentences; None: the run's own data."""
        path = tags.place(labels, self.run.config.data.path)
        assert path is not None
        return tags.read_tagged(path, label_column)

    def rows(self, part: Tagged) -> WordInputs:
        """Return sentences as an encoder takes them."""
        return WordInputs(part, self.run.modality(), document_length(self.run))

    def sizes(self, part: Tagged) -> None:
        """Return nothing: sentences are short."""

    def held_out(self, found: Tagged) -> None:
        """Return nothing: which sentences pre-training kept out is not asked."""

    def seen(self, tested: Tagged, seed: int) -> tuple[int, str]:
        """Count test sentences of six words or more that stand in the pre-training text."""
        texts = trained_on.pool_texts(self.run, _MOST_POOL, seed)
        pool = "\n".join(_squeezed(text) for text in texts)
        count = sum(
            _squeezed("".join(words)) in pool
            for words in tested.words
            if sum(word.isalpha() for word in words) >= _LEAST_WORDS
        )
        return count, (
            f"{count:,} of {len(tested):,} test sentences also stand in the unlabelled text "
            "(transductive: their words were seen, their tags were not)."
        )

    def apart(self, rest: Tagged, tested: Tagged) -> tuple[Tagged, list[str]]:
        """Return all: names of documents of two files need not mean the same ones."""
        return rest, []

    def said(self, found: Tagged) -> list[str]:
        """Say how labels were read."""
        notes = [
            "Labels were read as tags of words (--task names another reading). Counts are labelled "
            "sentences in all; the score is the share of words with the right tag, each read at "
            "its first token; macro F1 is kept beside it in the rows."
        ]
        notes += self.left_out(found)
        if found.group is None:
            notes.append(
                "No column of documents was found, so sentences of one text may lie on both sides "
                "of the split; add a column document to keep them together."
            )
        return notes

    def left_out(self, found: Tagged) -> list[str]:
        """Say how many sentences have no word."""
        if not found.skipped:
            return []
        return [f"{found.skipped:,} sentences without a word were left out."]


def _squeezed(text: str) -> str:
    """Return letters and digits alone: how a text is spaced and quoted says nothing."""
    return re.sub(r"[\W_]+", "", text.lower())
