"""Pairs of samples: do a run's features tell whether both are the same?

As speakers and faces are verified: a pair is called the same where the cosine of its features
exceeds a threshold. The threshold, and in which of three spaces the cosine is taken (see
`likeness`), are chosen on one part of the pairs and counted on another with other samples in it.
Kept in ``RUN/evaluate/pairs.json``, which the report shows, and a row a pair in ``pairs.csv``.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from unlabeled.data.duplicates import linked
from unlabeled.data.find import find
from unlabeled.data.labels import Labels
from unlabeled.data.sketchbook import LOOKS, Sketchbook
from unlabeled.errors import UsageError
from unlabeled.journal import write_json
from unlabeled.transfer import item_pairs, leaks, likeness, rivals, trained_on, verification
from unlabeled.transfer.detection import auroc
from unlabeled.transfer.features import Inputs, said_bad
from unlabeled.transfer.item_pairs import ItemPairs
from unlabeled.transfer.likeness import OURS
from unlabeled.transfer.part import Part
from unlabeled.transfer.schema import PairsModel
from unlabeled.transfer.stats import item_weights

if TYPE_CHECKING:
    from unlabeled.runs import Run

FILE, ROWS = "evaluate/pairs.json", "evaluate/pairs.csv"
FORMAT = 1
FIGURES = ("auroc", "equal_error", "accuracy")
MOST_POOL, MOST_PAIRS, QUICK = 4096, 10_000, 1000
FEW_UNITS = 10
_TEST = "test"

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Laid:
    """Pairs by the places of their items, and which of them choose and score.

    Args:
        a: (P,) items.
        b: (P,) the others.
        same: (P,) whether both are the same.
        units: (I,) what an item belongs to: all that must stand on one side.
        chooses: (P,) pairs that threshold and space are chosen on.
        scores: (P,) pairs that figures are counted on.
    """

    a: Ints
    b: Ints
    same: Bools
    units: Ints
    chooses: Bools
    scores: Bools


def study(
    run: Run,
    table: Path,
    *,
    test: str | Path | None = None,
    transductive: bool = False,
    quick: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Tell pairs that are the same from others by the cosine of features.

    Args:
        run: the run that is judged.
        table: pairs, as `item_pairs.read` takes them.
        test: data that the samples lie in; None is the run's, or files that the table names.
        transductive: whether pairs with samples that were pre-trained on may be tested.
        quick: less of the pool, fewer pairs.
        seed: of halves and intervals.

    Returns:
        The content of `FILE`, as `PairsModel` says.

    Raises:
        UsageError: with the sentence to print.
    """
    notes: list[str] = []
    pairs, data = item_pairs.read(table), run.config.data
    words = list(dict.fromkeys([*pairs.a, *pairs.b]))
    other = run.source() if test is None else find(str(test), data.kind, None, data.window)
    source, places = item_pairs.located(words, other, str(test or data.path), table)
    every = np.unique(np.concatenate([np.asarray(one, np.int64) for one in places]))
    inputs = Inputs(source, every, run.modality(), trained_on.document_length(run))
    notes += said_bad(inputs.bad)
    mean = _means(places, inputs.indices)
    seen, copies = _looked(run, source, inputs.indices, mean)
    laid = _laid(pairs, words, mean, seen, copies, transductive, (seed, notes))
    laid = _fewer(laid, QUICK if quick else MOST_PAIRS, notes)
    pool = trained_on.pool_sample(run, QUICK if quick else MOST_POOL, seed)
    found = likeness.described(run, pool, inputs)
    results, scores = _measured(found, mean, laid, seed)
    results |= {"file": table.name, "items": len(words), "notes": notes}
    (run.folder / FILE).parent.mkdir(exist_ok=True)
    PairsModel.model_validate(results)
    write_json(run.folder / FILE, results)
    _write(run.folder / ROWS, pairs, laid, scores)
    return results


def _means(places: Sequence[Sequence[int]], known: Ints) -> Any:
    """Return the matrix that takes features of samples to those of items, (I, N).

    An item that was cut into pieces is their mean; one of which nothing can be read is a row of
    zeros.
    """
    at = {int(index): column for column, index in enumerate(known)}
    parts = [[at[index] for index in one if index in at] for one in places]
    rows = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    values = np.concatenate([np.full(len(part), 1 / max(len(part), 1)) for part in parts])
    columns = np.concatenate([np.asarray(part, np.int64) for part in parts])
    return sparse.csr_matrix((values, (rows, columns)), shape=(len(parts), len(known)))


def _looked(run: Run, source: Any, indices: Ints, mean: Any) -> tuple[Bools, Ints]:
    """Return which items pre-training saw, (I,), and which are near-duplicates, (M, 2)."""
    book = Sketchbook(run.folder / LOOKS)
    labels = Labels(indices, np.zeros(len(indices), np.int64), ["sample"])
    part = leaks.look(Part(source, labels), book)
    mask = leaks.seen(run, part, book)
    owner = (mean > 0).T.tocsr()
    near = part.looks.pairs() if part.looks is not None else np.zeros((0, 2), np.int64)
    items = [(int(owner[a].indices[0]), int(owner[b].indices[0])) for a, b in near]
    return np.asarray(mean @ mask > 0), np.array(items, np.int64).reshape(-1, 2)


def _laid(
    pairs: ItemPairs,
    words: list[str],
    mean: Any,
    seen: Bools,
    copies: Ints,
    transductive: bool,
    told: tuple[int, list[str]],
) -> _Laid:
    """Divide pairs into those that choose and those that score; no unit stands on both sides."""
    seed, notes = told
    number = {word: place for place, word in enumerate(words)}
    a, b = (np.array([number[word] for word in side], np.int64) for side in (pairs.a, pairs.b))
    there = np.asarray(mean.sum(1)).ravel() > 0
    readable = there[a] & there[b]
    units = _units(pairs, a, b, copies, len(words))
    old = np.zeros(int(units.max()) + 1, bool)
    old[units[np.flatnonzero(seen)]] = True
    ua, ub = units[a], units[b]
    if pairs.split is not None and (pairs.split == _TEST).any():
        scores = readable & (pairs.split == _TEST)
        touched = np.zeros(len(old), bool)
        touched[ua[scores]] = touched[ub[scores]] = True
        chooses = readable & (pairs.split != _TEST) & ~touched[ua] & ~touched[ub]
    else:
        chooses, scores = _divided(ua, ub, pairs.same, old, readable, seed)
    strict = scores & ~seen[a] & ~seen[b]
    lost = int((scores & ~strict).sum())
    if lost:
        notes.append(
            f"{lost:,} pairs hold samples, or near-duplicates of them, that were in the "
            "pre-training pool" + (" (transductive)." if transductive else " and were left out.")
        )
    laid = _Laid(a, b, pairs.same, units, chooses, scores if transductive else strict)
    left = len(a) - int(laid.chooses.sum() + laid.scores.sum()) - (0 if transductive else lost)
    if left:
        notes.append(f"{left:,} pairs were left out: both sides of the division have a part in "
                     "them, or a sample cannot be read.")  # fmt: skip
    _check(laid)
    return laid


def _units(pairs: ItemPairs, a: Ints, b: Ints, copies: Ints, count: int) -> Ints:
    """Return a number for each item; equal ones belong together, by whatever is known.

    Samples that are the same, copies, samples of one owner, and all samples of a group of pairs.
    """
    links = [copies, np.stack([a, b], 1)[pairs.same]]
    if pairs.group is not None:
        links += [_by_name(pairs.group, a), _by_name(pairs.group, b)]
        links.append(np.stack([a, b], 1)[[name != "" for name in pairs.group]])
    if pairs.owners is not None:
        links.append(_by_name([*pairs.owners[0], *pairs.owners[1]], np.concatenate([a, b])))
    roots = linked(count, np.concatenate(links))
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def _by_name(names: Sequence[str], items: Ints) -> Ints:
    """Return links (M, 2) from each item to the first of its name."""
    first: dict[str, int] = {}
    found = [
        (first.setdefault(name, int(item)), int(item))
        for name, item in zip(names, items, strict=True)
        if name
    ]
    return np.array(found, np.int64).reshape(-1, 2)


def _divided(
    ua: Ints, ub: Ints, same: Bools, old: Bools, readable: Bools, seed: int
) -> tuple[Bools, Bools]:
    """Return pairs that choose and that score: what was pre-trained on chooses, else a half."""
    chooses, scores = readable & old[ua] & old[ub], readable & ~old[ua] & ~old[ub]
    if all((part & kind).any() for part in (chooses, scores) for kind in (same, ~same)):
        return chooses, scores
    side = verification.halves(ua[readable], ub[readable], same[readable], len(old), seed)
    if side is None:
        raise UsageError(
            "The pairs cannot be divided into two parts that share no sample, speaker or group and "
            "hold both kinds of pairs, one to choose a threshold on and one to score. Add a column "
            "split with train and test, or pairs of other samples."
        )
    return readable & ~side[ua] & ~side[ub], readable & side[ua] & side[ub]


def _check(laid: _Laid) -> None:
    for part, what in ((laid.chooses, "choose a threshold on"), (laid.scores, "score")):
        counts = int((part & laid.same).sum()), int((part & ~laid.same).sum())
        if min(counts) < 1:
            raise UsageError(
                f"{counts[0]} pairs that are the same and {counts[1]} others are left to {what}; "
                "some of both kinds are needed. Samples that pre-training saw are no test "
                "(--transductive keeps them), and no sample, speaker or group stands on both sides."
            )


def _fewer(laid: _Laid, most: int, notes: list[str]) -> _Laid:
    """Return at most so many pairs of each part, spread evenly over the table."""
    kept = []
    for part in (laid.chooses, laid.scores):
        rows = np.flatnonzero(part)
        if len(rows) > most:
            notes.append(f"{most:,} of {len(rows):,} pairs were taken, spread over the table.")
            rows = rows[np.linspace(0, len(rows) - 1, most).astype(int)]
        kept.append(np.isin(np.arange(len(part)), rows))
    return _Laid(laid.a, laid.b, laid.same, laid.units, kept[0], kept[1])


def _measured(
    found: dict[str, list[Any]], mean: Any, laid: _Laid, seed: int
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Return a row for each kind of features and way, and our score of every pair."""
    scored, one = laid.scores, np.ones((1, int(laid.chooses.sum())), np.float32)
    ua, ub = (laid.units[side[scored]] for side in (laid.a, laid.b))
    drawn = np.unique(np.concatenate([ua, ub]))
    at = np.searchsorted(drawn, ua), np.searchsorted(drawn, ub)
    weights = verification.pair_weights(at[0], at[1], item_weights(len(drawn), seed))
    gained, cosines = {}, {}
    for name, (pool, x) in found.items():
        for way, space in likeness.spaces(pool).items():
            items = space(mean @ x)
            cosines[name, way] = likeness.paired(items[laid.a], items[laid.b])
            part = cosines[name, way][laid.chooses]
            gained[name, way] = float(auroc(part, laid.same[laid.chooses], one)[0])
    best = likeness.best(gained)
    rows, areas = [], {}
    for (name, way), score in cosines.items():
        limit = verification.threshold(score[laid.chooses], laid.same[laid.chooses])
        given = score[scored], laid.same[scored], weights
        figures = (auroc(*given), verification.equal_error(*given),
                   verification.accuracy(*given, limit))  # fmt: skip
        row = {"features": name, "way": way, "chosen": way == best[name], "threshold": limit,
               "checked": gained[name, way]}  # fmt: skip
        for figure, values in zip(FIGURES, figures, strict=True):
            row |= rivals.spanned(figure, values)
        rows.append(row)
        if way == best[name]:
            areas[name] = figures[0]
    rival, gain = rivals.compared(areas.pop(OURS), areas)
    results = {
        "format": FORMAT,
        "chosen_on": _counts(laid, laid.chooses),
        "scored_on": _counts(laid, scored),
        "units": len(drawn),
        "rows": rows,
        "difference": {"rival": rival, **gain},
    }
    return results, cosines[OURS, best[OURS]]


def _counts(laid: _Laid, part: Bools) -> dict[str, int]:
    return {"same": int((part & laid.same).sum()), "other": int((part & ~laid.same).sum())}


def _write(path: Path, pairs: ItemPairs, laid: _Laid, scores: NDArray[np.float64]) -> None:
    """Write our score of every pair, and what it was used for."""
    used = np.where(laid.scores, "score", np.where(laid.chooses, "choose", ""))
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["a", "b", "same", "used", "cosine"])
        for row in zip(pairs.a, pairs.b, pairs.same.astype(int), used, scores, strict=True):
            table.writerow([*row[:4], f"{row[4]:.6f}"])


def sentences(results: dict[str, Any]) -> list[str]:
    """Return what came of it: our features against the best of the others."""
    ours = next(r for r in results["rows"] if r["features"] == OURS and r["chosen"])
    found = results["difference"]
    figure = f"The encoder's features ({ours['way']}): AUROC {ours['auroc']:.3f}"
    said = [rivals.sentence(figure, found["rival"], found) + "."]
    if results["units"] < FEW_UNITS:
        said.append(
            f"Only {results['units']} units (speakers, groups, or what is the same) are in the "
            "pairs that score: the intervals say little of others."
        )
    return said
