"""How what is tagged is divided, and what a sceptic should know of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled import rng
from unlabeled.errors import UsageError
from unlabeled.transfer import splits
from unlabeled.transfer.label_curve import hold_out
from unlabeled.transfer.tag_form import TASK, Form
from unlabeled.transfer.tag_rows import TagRows

ENOUGH = 10
"""Recordings or episodes that pre-training kept out from which they are the test part."""


def many(form: Form) -> str:
    """Return what a person labels, in words."""
    return "tagged sentences" if form.task == TASK else f"labelled {form.owner}s"


def parts(
    form: Form, found: Any, test: str | Path | None, label_column: str | None, seed: int
) -> tuple[Any, Any, str]:
    """Return what is learned from, what is tested on, and how it was decided."""
    if test is not None:
        tested = form.read(test, label_column)
        return found, tested, f"test {many(form).split()[1]} given ({test})"
    if found.split is not None:
        mask = np.char.lower(found.split) == "test"
        if mask.any() and not mask.all():
            return found.take(~mask), found.take(mask), "column split of the labels"
    held = form.held_out(found)
    if held is not None and held.sum() >= ENOUGH and (~held).sum() >= form.fewest:
        torn = found.group is not None and np.isin(found.group[held], found.group[~held]).any()
        if not torn:
            return found.take(~held), found.take(held), f"{form.owner}s held out of pre-training"
    mask = hold_out(
        np.zeros(len(found), dtype=np.int64), splits.TEST_SHARE, len(found), seed + 1, found.group
    )
    if not mask.any():
        raise UsageError(f"{len(found)} {many(form)} are too few to set a test part aside.")
    whole = f"{form.owner}s" if form.task == TASK else "groups"
    unit = f"{many(form).split()[1]}" if found.group is None else f"{whole}, whole ones"
    return found.take(~mask), found.take(mask), f"a random quarter of the {unit}"


def enough(form: Form, rest: Any) -> None:
    """Refuse to learn from too little.

    Raises:
        UsageError: with what is needed.
    """
    if len(rest) < form.fewest:
        raise UsageError(
            f"{len(rest)} {many(form)} are left to learn from; at least {form.fewest} are needed."
        )


def checked(rest: Any, seed: int) -> NDArray[np.bool_]:
    """Return what may validate: what is named so, else a fifth, by whole documents or groups."""
    if rest.split is not None:
        named = np.isin(np.char.lower(rest.split), ["val", "valid", "validation", "dev"])
        if named.any() and not named.all():
            return named
    y = np.zeros(len(rest), dtype=np.int64)
    return hold_out(y, splits.VALIDATION_SHARE, len(rest), seed + 3, rest.group)


MOST_ITEMS = 100_000
"""Frames or tokens of steps that are tested, or validate, at most; whole recordings or episodes."""


def some(
    rows: NDArray[np.int64], most: int, seed: int, sizes: NDArray[np.float64] | None = None
) -> NDArray[np.int64]:
    """Return at most `most` of some rows, drawn at random, in their order.

    Args:
        rows: positions.
        most: how many.
        seed: of the choice.
        sizes: (N,) how many items each has, by its position; all have at most `MOST_ITEMS`.
    """
    few = sizes is None or sizes[rows].sum() <= MOST_ITEMS
    if len(rows) <= most and few:
        return rows
    drawn = rng.generator(rng.mix(seed, 7, most)).permutation(rows)[:most]
    if sizes is not None:
        drawn = drawn[: max(1, int((sizes[drawn].cumsum() <= MOST_ITEMS).sum()))]
    return np.sort(drawn)


def owners(part: Any, rows: TagRows) -> NDArray[np.str_]:
    """Return for each item its group, or the number of what it is of: these come together."""
    alone = np.char.add(" ", np.arange(len(part)).astype(np.str_))
    if part.group is not None and len(np.unique(part.group)) > 1:
        alone = np.where(part.group == "", alone, part.group)
    return np.repeat(alone, np.diff(rows.starts))


def doubts(
    form: Form, parts: tuple[Any, Any], rows: tuple[TagRows, TagRows], count: int
) -> list[str]:
    """Return what a sceptic should know.

    Args:
        form: of the run that is judged.
        parts: what labels are drawn from, and what is tested.
        rows: what of them was read.
        count: how many were kept for choices.
    """
    return [*strange(*parts), *few(form, parts[1]), *unread(*rows), chosen(form, count)]


def few(form: Form, tested: Any) -> list[str]:
    """Say what intervals mean where the test part is of one group, or of few parts."""
    groups: list[str] = [] if tested.group is None else np.unique(tested.group).tolist()
    if len(groups) == 1 and groups[0]:
        return [
            f"All that is tested is of one group ('{groups[0]}'): intervals are over its "
            f"{form.owner}s and say nothing of other groups."
        ]
    units = len(groups) or len(tested)
    if units >= ENOUGH or form.task == TASK:
        return []
    return [f"Only {units} {'groups' if groups else form.owner + 's'} are tested: intervals over "
            "so few say little."]  # fmt: skip


def strange(labelled: Any, tested: Any) -> list[str]:
    """Say which tags occur in the test part alone."""
    known = set(labelled.tags.tolist())
    strange = sorted({labelled.classes[tag] for tag in set(tested.tags.tolist()) - known})
    if not strange:
        return []
    return [
        "Tags that occur in the test part only, which counts against every reading: "
        f"{', '.join(strange[:10])}."
    ]


def unread(*rows: TagRows) -> list[str]:
    """Say what cannot be read."""
    bad = dict.fromkeys(one for part in rows for one in getattr(part, "bad", []))
    if not bad:
        return []
    name, reason = next(iter(bad))
    return [f"{len(bad)} labelled samples cannot be read (first: {name}: {reason})."]


def chosen(form: Form, count: int) -> str:
    """Say on how many choices were made."""
    return (
        f"Choices (penalty, rate and length of training; which of our readings is judged) were "
        f"made on {count:,} further {'labelled ' if form.task == TASK else ''}"
        f"{many(form).replace('tagged ', '')}, the same for all readings; these are not counted "
        "as labels."
    )
