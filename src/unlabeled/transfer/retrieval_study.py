"""A run's features as a search engine: does each test sample find others of its class?

Every test sample asks, all others answer. Nothing is fitted to labels; which of three spaces the
cosine is taken in (see `likeness`) is chosen by labelled samples that are not tested, for our
features and the others' alike. Kept in ``RUN/evaluate/retrieval.json``, which the report shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.duplicates import linked
from unlabeled.data.label_forms import as_task, form_of
from unlabeled.data.labels import Labels, read_labelled
from unlabeled.data.sketchbook import LOOKS, Sketchbook
from unlabeled.errors import DataError, UsageError
from unlabeled.journal import write_json
from unlabeled.transfer import leaks, likeness, ranking, rivals, trained_on
from unlabeled.transfer.features import Inputs, said_bad
from unlabeled.transfer.likeness import OURS
from unlabeled.transfer.part import Part
from unlabeled.transfer.schema import RetrievalModel
from unlabeled.transfer.stats import item_weights

if TYPE_CHECKING:
    from unlabeled.runs import Run

FILE = "evaluate/retrieval.json"
FORMAT = 1
MOST_POOL, MOST_TEST, MOST_CHECKED, QUICK = 4096, 4000, 1000, 1000
FEWEST_CHECKED = 20
"""Queries that there must be for a choice to be made by them."""
_BLOCK = 256

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """Samples that ask and answer.

    Args:
        labels: (N, K) 0 and 1; two samples belong together where they share a label.
        mates: (N, G) numbers; a sample does not answer one with an equal number in any column,
            its copies and its group.
        units: (N,) names of what is drawn together for intervals.
    """

    labels: NDArray[np.float32]
    mates: NDArray[np.int64]
    units: NDArray[np.str_]

    def take(self, rows: NDArray[Any]) -> Asked:
        """Return the samples at `rows` (positions or a mask)."""
        return Asked(self.labels[rows], self.mates[rows], self.units[rows])

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.bool_], NDArray[np.bool_]]]:
        """Yield queries, what belongs to each, and what does not answer, (b, N)."""
        for start in range(0, len(self.labels), _BLOCK):
            part = slice(start, start + _BLOCK)
            near = self.mates[part, None] == self.mates[None]  # (b, N, G)
            out = near.any(2)
            yield part, (self.labels[part] @ self.labels.T > 0) & ~out, out

    def partnered(self) -> NDArray[np.bool_]:
        """Return which samples something belongs to, (N,)."""
        return np.concatenate([right.any(1) for _, right, _ in self.blocks()])


def study(
    run: Run,
    labels: str | Path | None = None,
    *,
    test: str | Path | None = None,
    label_column: str | None = None,
    transductive: bool = False,
    quick: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Let every test sample look for the others of its class.

    Args:
        run: the run that is judged.
        labels: as for `evaluate`. Tested are those of the split ``test`` where the table has one,
            else those that pre-training did not see; the rest only chooses the space.
        test: labels of the tested samples, in another file.
        label_column: name of the label column, where it cannot be guessed.
        transductive: whether samples that were pre-trained on may be tested.
        quick: fewer samples.
        seed: of what is drawn, and of intervals.

    Returns:
        The content of `FILE`, as `RetrievalModel` says.

    Raises:
        UsageError: with the sentence to print.
    """
    notes: list[str] = []
    tested, checked = _parts(run, (labels, test, label_column), transductive, notes)
    most = QUICK if quick else MOST_TEST
    if len(tested) > most:
        notes.append(f"{most:,} of {len(tested):,} test samples were taken, of all classes alike.")
    tested = tested.fewer(most, seed + 2)
    checked = checked.fewer(QUICK if quick else MOST_CHECKED, seed)
    parts, read = _readable(run, [tested, checked], notes)
    pool = trained_on.pool_sample(run, QUICK if quick else MOST_POOL, seed)
    found = likeness.described(run, pool, *read)
    asked = [_asked(part, notes if part is parts[0] else []) for part in parts]
    results = _measured(found, asked, seed, notes)
    results["classes"] = len(np.unique(parts[0].labels.y))
    (run.folder / FILE).parent.mkdir(exist_ok=True)
    RetrievalModel.model_validate(results)
    write_json(run.folder / FILE, results)
    return results


def _readable(run: Run, parts: list[Part], notes: list[str]) -> tuple[list[Part], list[Inputs]]:
    """Read the samples of parts; what cannot be read, and parts with nothing, are left out."""
    modality, length = run.modality(), trained_on.document_length(run)
    kept, read = [], []
    for part in (part for part in parts if len(part)):
        inputs = Inputs(part.source, part.labels.indices, modality, length)
        notes += said_bad(inputs.bad)
        if len(inputs):
            kept.append(part.take(np.isin(part.labels.indices, inputs.indices)))
            read.append(inputs)
    if not kept or kept[0].source is not parts[0].source:
        raise DataError("None of the tested samples can be read.")
    return kept, read


def _parts(
    run: Run, given: tuple[Any, Any, str | None], transductive: bool, notes: list[str]
) -> tuple[Part, Part]:
    """Return what is tested, and the labelled samples beside it."""
    labels, test, column = given
    data, book = run.config.data, Sketchbook(run.folder / LOOKS)

    def read(one: str | Path | None) -> Part:
        source, found = read_labelled(
            one, run.source(), table=data.path, column=data.column, label_column=column
        )
        return leaks.look(Part(source, _classes(found)), book)

    found = read(labels)
    if found.labels.missing:
        notes.append(found.labels.missing)
    tested, rest = _tested(found) if test is None else (read(test), found)
    if rest is not None and test is not None and _one_source(rest, tested):
        rest = rest.take(~np.isin(rest.labels.indices, tested.labels.indices))
    mask = leaks.seen(run, tested, book)
    if rest is None and not transductive:
        rest = tested.take(mask)
    tested, _ = leaks.unseen(tested, mask, transductive, notes)
    if rest is None:
        return tested, tested.take(np.zeros(len(tested), bool))
    quiet: list[str] = []  # what is left out here only chooses among three spaces
    return tested, leaks.apart(leaks.groups_of(rest, tested, quiet), tested, quiet)[0]


def _one_source(one: Part, other: Part) -> bool:
    return one.source.fingerprint == other.source.fingerprint


def _tested(found: Part) -> tuple[Part, Part | None]:
    """Return the samples that a table calls test and the rest; all and None without such."""
    split = found.labels.split
    mask = np.zeros(len(found), bool) if split is None else np.char.lower(split) == "test"
    return (found.take(mask), found.take(~mask)) if mask.any() else (found, None)


def _classes(labels: Labels) -> Labels:
    """Return labels as classes, one or several a sample; grades are classes too.

    Raises:
        UsageError: they are numbers.
    """
    form = form_of(labels)
    if form != "regression":
        return as_task(labels, "multi" if form == "multi" else "single")
    raise UsageError(
        "--task retrieval asks which samples are of one class, and these labels are numbers "
        f"({labels.classes[0]}, {labels.classes[1]}, ...). Give classes, or --label-column NAME."
    )


def _asked(part: Part, notes: list[str]) -> Asked:
    """Return samples with what belongs together; groups that classes cross are kept apart."""
    labels, rows = part.labels, np.arange(len(part))
    aims = (labels.y[:, None] == np.unique(labels.y)[None]).astype(np.float32)
    if labels.targets is not None:
        aims = np.nan_to_num(labels.targets)  # a label that nobody gave is shared with nobody
    pairs = part.looks.pairs() if part.looks is not None else np.zeros((0, 2), np.int64)
    mates = [linked(len(part), pairs)]
    if len(part) > len(np.unique(mates[0])):
        notes.append(
            f"{len(part) - len(np.unique(mates[0])):,} test samples are near-duplicates of "
            "others; copies of a query do not answer it."
        )
    named = rows.astype(np.str_) if labels.group is None else labels.group
    own = np.where(named == "", np.char.add(" ", rows.astype(np.str_)), named)
    numbers = np.unique(own, return_inverse=True)[1]
    if labels.group is not None:
        crossed = len(np.unique(np.stack([labels.y, numbers]), axis=1)[0]) > len(
            np.unique(labels.y)
        )
        if crossed:
            mates.append(numbers)
        notes.append(_GROUPS[crossed])
    return Asked(aims, np.stack(mates, 1), own)


_GROUPS = {
    True: "Samples of a query's own group do not answer it; intervals are over groups.",
    False: "Every class is one group, so that a query is answered by its own group too; intervals "
    "are over groups.",
}


def _measured(
    found: dict[str, list[Any]], asked: list[Asked], seed: int, notes: list[str]
) -> dict[str, Any]:
    """Return a row for each kind of features and each way to compare them."""
    tested, asks = asked[0], asked[0].partnered()
    if not asks.any():
        raise UsageError(
            "No test sample shares its class with another that may answer. Label more samples of "
            "a class, in more than one group."
        )
    checks = int(asked[1].partnered().sum()) if len(asked) > 1 else 0
    chooses = checks >= FEWEST_CHECKED
    weights = item_weights(int(asks.sum()), seed, tested.units[asks])
    copies: dict[tuple[str, str], Floats] = {}
    gained: dict[tuple[str, str], float] = {}
    for name, (pool, x, *rest) in found.items():
        for way, space in likeness.spaces(pool).items():
            copies[name, way] = ranking.means(answered(space(x), tested)[asks], weights)
            gained[name, way] = float("nan")
            if chooses:
                gained[name, way] = float(np.nanmean(answered(space(rest[0]), asked[1])[:, 0]))
    chosen = likeness.best(gained)
    how = "the default: no labelled samples are left to choose by"
    if chooses:
        how = f"on {checks:,} labelled samples that are not tested"
    chance = _chance(tested)[asks].mean(0)
    maps = {name: copies[name, way][0] for name, way in chosen.items()}
    rival, gain = rivals.compared(maps.pop(OURS), maps)
    return {
        "format": FORMAT,
        "queries": int(asks.sum()),
        "gallery": len(asks),
        "alone": int((~asks).sum()),
        "units": len(np.unique(tested.units[asks])),
        "chosen": how,
        "chance": dict(zip(ranking.FIGURES, chance.tolist(), strict=True)),
        "rows": [
            _row(*key, chosen[key[0]], one, gained[key]) for key, one in copies.items()
        ],
        "difference": {"rival": rival, **gain},
        "notes": notes,
    }  # fmt: skip


def answered(rows: Any, asked: Asked) -> Floats:
    """Return the figures of every query, (N, 4); NaN where nothing belongs to it.

    Args:
        rows: (N, D) of length 1.
        asked: the same N samples.
    """
    found = []
    for part, right, out in asked.blocks():
        scores = likeness.cosines(rows[part], rows)
        scores[out] = -np.inf
        found.append(ranking.per_query(scores, right))
    return np.concatenate(found)


def _chance(asked: Asked) -> Floats:
    """Return the figures of features that are all alike."""
    return answered(np.zeros((len(asked.labels), 1)), asked)


def _row(name: str, way: str, best: str, copies: Floats, checked: float) -> dict[str, Any]:
    row: dict[str, Any] = {"features": name, "way": way, "chosen": way == best}
    row["checked"] = None if np.isnan(checked) else checked
    for figure, one in zip(ranking.FIGURES, copies, strict=True):
        row |= rivals.spanned(figure, one)
    return row


def sentence(results: dict[str, Any]) -> str:
    """Return what came of it: our features against the best of the others."""
    ours = next(r for r in results["rows"] if r["features"] == OURS and r["chosen"])
    found = results["difference"]
    said = f"The encoder's features ({ours['way']}): mAP {ours['map']:.3f}"
    chance = f"chance {results['chance']['map']:.3f}"
    return f"{rivals.sentence(said, found['rival'], found)}; {chance}."
