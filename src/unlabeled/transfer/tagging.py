"""Tagging: which sentences are learned from, checked with and scored on.

What is counted is sentences, in all and not by class: a person who labels tags whole sentences.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled import rng
from unlabeled.data import tags
from unlabeled.data.tags import Tagged
from unlabeled.errors import UsageError
from unlabeled.kinds import strings
from unlabeled.transfer import label_curve, splits, trained_on
from unlabeled.transfer.label_curve import hold_out
from unlabeled.transfer.material import Material
from unlabeled.transfer.trained_on import document_length
from unlabeled.transfer.words import WordInputs

if TYPE_CHECKING:
    from unlabeled.runs import Run

TASK = "tagging"
GRID, QUICK_GRID = (10, 30, 100, 300, 1000, 3000), (10, 100)
MOST_VALIDATION, MOST_TEST, MOST_TEST_QUICK = 300, 2_000, 500
_FEWEST, _LEAST_WORDS, _MOST_POOL = 10, 6, 50_000


@dataclass
class TagMaterial(Material):
    """All that a study of tagging works on.

    `y` is 0 for every sentence, so that draws are of sentences; `y_test` and `group` are those of
    words. `train` and `test` are `WordInputs`.
    """

    train: WordInputs  # type: ignore[assignment]
    test: WordInputs  # type: ignore[assignment]

    @property
    def expected(self) -> NDArray[np.int64]:
        """Return the tags of the words of the validation part."""
        return self.tags_of(self.validation)

    def tags_of(self, sentences: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tags of the words of some labelled sentences."""
        return self.train.source.tags[self.train.words_of(sentences)]


def place(labels: str | Path | None, data: str) -> Path | None:
    """Return the file or folder of labels, which may be the data themselves."""
    if labels is None:
        return Path(data).expanduser()
    return None if str(labels).startswith("column:") else Path(labels).expanduser()


def asked(labels: str | Path | None, data: str, kind: str, task: str | None) -> bool:
    """Say whether labels are tags of words: by what was asked, else by their form.

    Raises:
        UsageError: tagging was asked for, but the data are no text or the labels have no such form.
    """
    if task not in (None, TASK):
        return False
    path = place(labels, data)
    found = strings(kind) and path is not None and tags.form_of(path) is not None
    if task == TASK and not found:
        reason = f"{path or labels} holds none" if strings(kind) else f"these data are {kind}"
        raise UsageError(f"--task tagging needs tagged words, and {reason}. Forms: {tags.FORMS}.")
    return found


def grid(material: TagMaterial, counts: Any, quick: bool) -> list[int]:
    """Return how many labelled sentences are drawn."""
    assert material.whole is not None
    wanted = counts or (QUICK_GRID if quick else GRID)
    return label_curve.grid(len(material.whole.y), wanted, quick)


def prepare(
    run: Run,
    labels: str | Path | None,
    test: str | Path | None,
    label_column: str | None,
    *,
    most: int,
    draws: int,
    most_test: int,
    seed: int,
) -> TagMaterial:
    """Read tagged sentences and split them by document where documents are known.

    Args:
        run: the run that is judged.
        labels: a file or folder of tagged words; None: the run's data.
        test: the same for the test part; None sets a quarter aside.
        label_column: name or number of the column of tags, where it cannot be guessed.
        most: largest number of labelled sentences that is drawn.
        draws: draws of each number.
        most_test: largest number of test sentences.
        seed: of the split.

    Raises:
        UsageError: with the sentence to print.
    """
    notes: list[str] = []
    path = place(labels, run.config.data.path)
    assert path is not None
    found = tags.read_tagged(path, label_column)
    rest, tested, how = _parts(found, test, label_column, seed)
    rest, tested = tags.same_classes(rest, tested)
    if len(rest) < _FEWEST:
        raise UsageError(
            f"{len(rest)} tagged sentences are left to learn from; at least {_FEWEST} are needed."
        )
    mask = _checked(rest, seed)
    labelled = rest.take(np.flatnonzero(~mask))
    none = np.zeros(len(labelled), dtype=np.int64)
    pool = label_curve.drawn(none, most, draws, seed)
    checked = _some(np.flatnonzero(mask), MOST_VALIDATION, seed)
    tested = tested.take(_some(np.arange(len(tested)), most_test, seed))
    train = rest.take(np.concatenate([np.flatnonzero(~mask)[pool], checked]))
    seen = _seen(run, tested, seed)
    _tell(found, labelled, len(checked), tested, seen, notes)
    length, modality = document_length(run), run.modality()
    words, words_test = WordInputs(train, modality, length), WordInputs(tested, modality, length)
    group = None if tested.group is None else np.repeat(tested.group, np.diff(tested.starts))
    record = {
        "how": how, "seen_in_pretraining": seen, "train": len(labelled),
        "validation": len(checked), "test": len(tested),
    }  # fmt: skip
    row = np.full(len(labelled), -1)
    row[pool] = np.arange(len(pool))
    return TagMaterial(
        words, np.zeros(len(train), dtype=np.int64), np.arange(len(pool)),
        np.arange(len(pool), len(train)), words_test, tested.tags,
        group if group is not None else _sentence_of(tested), train.classes, record, notes,
        task=TASK, whole=label_curve.Whole(none, row, (labelled.words, labelled.tags)),
    )  # fmt: skip


def for_training(
    run: Run, labels: str | Path | None, label_column: str | None, seed: int
) -> TagMaterial:
    """Return all tagged sentences; some of them are for validation, none for a test.

    Raises:
        UsageError: with the sentence to print.
    """
    path = place(labels, run.config.data.path)
    assert path is not None
    found = tags.read_tagged(path, label_column)
    mask = _checked(found, seed)
    if not mask.any():
        raise UsageError(f"{len(found)} tagged sentences are too few: some must check the others.")
    checked = _some(np.flatnonzero(mask), MOST_VALIDATION, seed)
    pool = np.setdiff1d(np.arange(len(found)), np.flatnonzero(mask))
    train = found.take(np.concatenate([pool, checked]))
    length, modality = document_length(run), run.modality()
    words, none = WordInputs(train, modality, length), found.take(pool[:1])
    return TagMaterial(
        words, np.zeros(len(train), dtype=np.int64), np.arange(len(pool)),
        np.arange(len(pool), len(train)), WordInputs(none, modality, length), none.tags,
        None, train.classes, task=TASK,
    )  # fmt: skip


def _sentence_of(part: Tagged) -> NDArray[np.str_]:
    """Return for each word the number of its sentence: words of one come and go together."""
    return np.repeat(np.arange(len(part)), np.diff(part.starts)).astype(np.str_)


def _parts(
    found: Tagged, test: str | Path | None, label_column: str | None, seed: int
) -> tuple[Tagged, Tagged, str]:
    """Return what is learned from, what is tested on, and how it was decided."""
    if test is not None:
        return found, tags.read_tagged(Path(test), label_column), f"test sentences given ({test})"
    if found.split is not None:
        mask = np.char.lower(found.split) == "test"
        if mask.any() and not mask.all():
            return found.take(~mask), found.take(mask), "column split of the labels"
    mask = hold_out(
        np.zeros(len(found), dtype=np.int64), splits.TEST_SHARE, len(found), seed + 1, found.group
    )
    if not mask.any():
        raise UsageError(f"{len(found)} tagged sentences are too few to set a test part aside.")
    unit = "sentences" if found.group is None else "documents, whole ones"
    return found.take(~mask), found.take(mask), f"a random quarter of the {unit}"


def _checked(rest: Tagged, seed: int) -> NDArray[np.bool_]:
    """Return which sentences may validate: those named so, else a fifth, by whole documents."""
    if rest.split is not None:
        named = np.isin(np.char.lower(rest.split), ["val", "valid", "validation", "dev"])
        if named.any() and not named.all():
            return named
    y = np.zeros(len(rest), dtype=np.int64)
    return hold_out(y, splits.VALIDATION_SHARE, len(rest), seed + 3, rest.group)


def _some(rows: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Return at most `most` of some rows, drawn at random, in their order."""
    if len(rows) <= most:
        return rows
    return np.sort(rng.generator(rng.mix(seed, 7, most)).permutation(rows)[:most])


def _seen(run: Run, tested: Tagged, seed: int) -> int:
    """Count test sentences of six words or more that stand in the pre-training text."""
    pool = "\n".join(_squeezed(text) for text in trained_on.pool_texts(run, _MOST_POOL, seed))
    return sum(
        _squeezed("".join(words)) in pool
        for words in tested.words
        if sum(word.isalpha() for word in words) >= _LEAST_WORDS
    )


def _squeezed(text: str) -> str:
    """Return letters and digits alone: how a text is spaced and quoted says nothing."""
    return re.sub(r"[\W_]+", "", text.lower())


def _tell(
    found: Tagged, labelled: Tagged, checked: int, tested: Tagged, seen: int, notes: list[str]
) -> None:
    """Write down what a sceptic should know."""
    notes.append(
        "Labels were read as tags of words (--task names another reading). Counts are labelled "
        "sentences in all; the score is the share of words with the right tag, each read at its "
        "first token; macro F1 is kept beside it in the rows."
    )
    if found.skipped:
        notes.append(f"{found.skipped:,} sentences without a word were left out.")
    if found.group is None:
        notes.append(
            "No column of documents was found, so sentences of one text may lie on both sides of "
            "the split; add a column document to keep them together."
        )
    known = set(labelled.tags.tolist())
    strange = sorted({labelled.classes[tag] for tag in set(tested.tags.tolist()) - known})
    if strange:
        notes.append(
            f"Tags that occur in the test part only, which counts against every reading: "
            f"{', '.join(strange[:10])}."
        )
    if seen:
        notes.append(
            f"{seen:,} of {len(tested):,} test sentences also stand in the unlabelled text "
            "(transductive: their words were seen, their tags were not)."
        )
    notes.append(
        f"Choices (penalty, rate and length of training; which of our readings is judged) were "
        f"made on {checked:,} further labelled sentences, the same for all readings; "
        "these are not counted as labels."
    )
