"""Near-duplicates and groups on one side of a split, and test samples that were pre-trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.apart import looked, spread
from unlabeled.data.duplicates import linked
from unlabeled.data.sketch import across
from unlabeled.data.sketchbook import Sketchbook, among
from unlabeled.errors import UsageError
from unlabeled.transfer import trained_on
from unlabeled.transfer.part import Part

if TYPE_CHECKING:
    from unlabeled.runs import Run

MOST_LABELLED, MOST_POOL = 60_000, 20_000
"""Labelled samples, and samples of the pool, that are looked at for near-duplicates."""
MOST_CHECKED = 1_000_000
FEWEST = 20
"""With fewer test samples left than these, a study is refused."""


def look(part: Part, book: Sketchbook | None = None) -> Part:
    """Return a part with what its samples look like; what the book knows is not read again."""
    looks = looked(book or Sketchbook(), part.source, part.labels.indices, MOST_LABELLED)
    return replace(part, looks=looks)


def together(part: Part) -> tuple[Part, int]:
    """Join near-duplicates into groups, with the groups that were given.

    Returns:
        The part, with groups where there are any, and how many samples are near-duplicates of an
        earlier one.
    """
    if part.looks is None:
        return part, 0
    pairs = part.looks.pairs()
    if not len(pairs):
        return part, 0
    copies = len(part) - len(np.unique(linked(len(part), pairs)))
    given = part.labels.group
    if given is not None:
        _, first, member = np.unique(given, return_index=True, return_inverse=True)
        named = given != ""  # samples of no group form none
        rows = np.arange(len(part))
        pairs = np.concatenate([pairs, np.stack([first[member], rows], 1)[named]])
    roots = linked(len(part), pairs).astype(np.str_)
    return replace(part, labels=replace(part.labels, group=roots)), copies


def apart(rest: Part, tested: Part, notes: list[str]) -> tuple[Part, int]:
    """Leave out of training and validation what is near to a test sample, or of its group.

    Returns:
        What is left, and how many near-duplicates were left out.
    """
    near = np.zeros(len(rest), bool)
    if rest.looks is not None and tested.looks is not None:
        near = across(rest.looks, tested.looks)
    if near.any():
        notes.append(
            f"{int(near.sum()):,} labelled samples look like a test sample and were left out of "
            "training and validation."
        )
    return rest.take(~near), int(near.sum())


def groups_of(rest: Part, tested: Part, notes: list[str]) -> Part:
    """Leave out of training the groups that have test samples, where a split was given."""
    ours, theirs = rest.labels.group, tested.labels.group
    if ours is None or theirs is None:
        return rest
    torn = np.isin(ours, theirs[theirs != ""])
    if torn.any():
        notes.append(
            f"{int(torn.sum()):,} labelled samples are of a group that has test samples too and "
            "were left out of training and validation."
        )
    return rest.take(~torn)


def seen(run: Run, tested: Part, book: Sketchbook | None = None) -> NDArray[np.bool_]:
    """Return which test samples, or near-duplicates of them, are in the pre-training pool.

    Args:
        run: the run that is judged.
        tested: the test samples.
        book: what samples look like, where some are known.
    """
    book = book or Sketchbook()
    source, indices = run.source(), tested.labels.indices
    pool, held_out = trained_on.pool_indices(run), trained_on.held_out_indices(run)
    same = tested.source.fingerprint == source.fingerprint
    exact = np.isin(indices, pool) if same else np.zeros(len(indices), bool)
    # A copy of a sample of the pool is not in it, nor held out, and was trained on all the same.
    doubtful = np.flatnonzero(~exact & ~np.isin(indices, held_out) if same else ~exact)
    if len(doubtful):
        asked = book.hashes(tested.source, indices[doubtful])
        exact[doubtful] = among(asked, book.hashes(source, pool[spread(len(pool), MOST_CHECKED)]))
    if tested.looks is None or exact.all() or not len(pool):
        return exact
    some = pool[spread(len(pool), MOST_POOL)]
    near: NDArray[np.bool_] = across(tested.looks, book.sketches(source, some))
    return exact | near


def unseen(
    tested: Part,
    masks: NDArray[np.bool_],
    transductive: bool,
    notes: list[str],
    fallback: bool = False,
) -> tuple[Part, dict[str, Any]]:
    """Drop test samples that were pre-trained on, unless that was said to be meant.

    Args:
        tested: the test part.
        masks: (M,), or (S, M) for S runs: which of it, or its like, was pre-trained on; what any
            run saw counts.
        transductive: whether they stay.
        notes: gets a sentence on what was found.
        fallback: whether the test part was cut from samples that were pre-trained on, because
            too few were held out; then they stay, and the notes say why.

    Raises:
        UsageError: too few are left.
    """
    masks = np.atleast_2d(masks)
    mask: NDArray[np.bool_] = np.any(masks, axis=0)
    count, total, pools = int(mask.sum()), len(tested), _pools(masks)
    if not count:
        return tested, {"transductive": False, "seen_in_pretraining": 0, "dropped_from_test": 0}
    if fallback and not transductive:
        transductive = True
        notes.append(
            "Too few labelled samples were held out of pre-training for a test part, so it is as "
            "if --transductive had been said. To be strict give --test FILE, or pre-train with a "
            "larger data.held_out."
        )
    if transductive:
        notes.append(
            f"Transductive: {count:,} of {total:,} test samples, or near-duplicates of them, were "
            "in the unlabelled data (their content was seen, their labels were not). Scores on "
            "data that come later may be lower."
        )
        return tested, {
            "transductive": True, "seen_in_pretraining": count, "dropped_from_test": 0,
        }  # fmt: skip
    if total - count < FEWEST:
        raise UsageError(
            f"{count:,} of {total:,} test samples, or near-duplicates of them, were in {pools}, "
            f"and {total - count} are left. Give other samples with --test FILE, "
            "pre-train again without them (data.exclude=FILE), or say --transductive, which the "
            "report then says too."
        )
    notes.append(
        f"{count:,} of {total:,} test samples, or near-duplicates of them, were in "
        f"{pools} and were left out of the test part (--transductive keeps them)."
    )
    return tested.take(~mask), {
        "transductive": False, "seen_in_pretraining": 0, "dropped_from_test": count,
    }  # fmt: skip


def _pools(masks: NDArray[np.bool_]) -> str:
    """Say whose pool it is that test samples were in, (S, M) of S runs."""
    if len(masks) == 1:
        return "the pre-training pool"
    more = int((masks.any(axis=0) & ~masks[0]).sum())
    others = f" ({more:,} of them not of the first)" if more else ""
    return f"the pre-training pool of at least one of the {len(masks)} runs{others}"
