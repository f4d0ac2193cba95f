"""A run's anomaly scores: what they are measured against, and what came out.

Kept in ``RUN/evaluate/anomaly.json``, which the report shows, and a row a sample in
``anomaly.csv``.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.labels import read_labelled
from unlabeled.data.sketchbook import LOOKS, Sketchbook
from unlabeled.errors import DataError, UsageError
from unlabeled.journal import write_json
from unlabeled.transfer import anomaly, leaks, likeness, rivals, trained_on
from unlabeled.transfer.features import Inputs, said_bad
from unlabeled.transfer.part import Part
from unlabeled.transfer.stats import item_weights

if TYPE_CHECKING:
    from unlabeled.runs import Run

FILE, SAMPLES = "evaluate/anomaly.json", "evaluate/anomaly.csv"
MOST_POOL, MOST_TEST = 5000, 10_000
_SLOW = likeness.SLOW
_POOL = (
    "What pre-training saw counts as usual, anomalies that lie in it too: to find those of a kind "
    "that it holds, pre-train on data that hold none."
)


def study(
    run: Run,
    labels: str | Path | None = None,
    *,
    label_column: str | None = None,
    normal: str | None = None,
    transductive: bool = False,
    quick: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Score how unlike the pre-training pool labelled samples are, and count by their labels.

    Args:
        run: the run that is judged.
        labels: of test samples, as for `evaluate`; those that pre-training saw are left out.
        label_column: name of the label column, where it cannot be guessed.
        normal: the class that is no anomaly; None looks for a name such as ``normal``.
        transductive: whether samples that were pre-trained on stay in the test part.
        quick: less of the pool.
        seed: of what is drawn from the pool, and of intervals.

    Raises:
        UsageError: with the sentence to print.
    """
    notes: list[str] = []
    tested = _tested(run, labels, label_column, transductive, notes)
    classes = tested.labels.classes
    counts = np.bincount(tested.labels.y, minlength=len(classes))
    usual = anomaly.usual(classes, counts, normal)
    modality, length = run.modality(), trained_on.document_length(run)
    test = Inputs(tested.source, tested.labels.indices, modality, length)
    tested = tested.take(np.isin(tested.labels.indices, test.indices))
    y = tested.labels.y
    odd = y != usual
    if not odd.any() or odd.all():
        raise UsageError(
            f"Of {len(y)} test samples {int(odd.sum())} are anomalies; some of both are needed. "
            f"What is no anomaly is '{classes[usual]}' (--normal CLASS)."
        )
    notes += said_bad(test.bad)
    pool = _pool(run, tested, MOST_POOL // 3 if quick else MOST_POOL, seed)
    scores = anomaly.scored(_features(run, pool, test))
    group = tested.labels.group
    weights = item_weights(len(y), seed, group)
    results = {
        "format": 1,
        "normal": classes[usual],
        "pool": len(pool),
        "test": {name: int((y == i).sum()) for i, name in enumerate(classes)},
        "units": len(y) if group is None else len(np.unique(group)),
        "rows": anomaly.rows(scores, odd, weights),
        "difference": anomaly.difference(scores, odd, weights),
        "classes": anomaly.by_class(scores[anomaly.JUDGED], y, usual, classes),
        "notes": [*notes, _POOL],
    }
    _write(run, results, scores, [test.source.name(int(i)) for i in test.indices], classes, y)
    return results


def _tested(
    run: Run, labels: Any, column: str | None, transductive: bool, notes: list[str]
) -> Part:
    """Return labelled samples that pre-training did not see."""
    data, book = run.config.data, Sketchbook(run.folder / LOOKS)
    source, given = read_labelled(
        labels, run.source(), table=data.path, column=data.column, label_column=column
    )
    found = leaks.look(Part(source, given), book)
    kept, _ = leaks.unseen(found, leaks.seen(run, found, book), transductive, notes)
    if len(kept) > MOST_TEST:
        notes.append(f"{MOST_TEST:,} of the labelled samples were scored.")
    return kept.fewer(MOST_TEST, 2)


def _pool(run: Run, tested: Part, most: int, seed: int) -> Inputs:
    """Return what is usual: samples that pre-training saw, none of which is tested.

    Raises:
        DataError: none can be read.
    """
    found = trained_on.pool_sample(run, most, seed)
    if tested.source.fingerprint == run.source().fingerprint:
        apart = found.indices[~np.isin(found.indices, tested.labels.indices)]
        if len(apart) < len(found):
            found = Inputs(run.source(), apart, run.modality(), trained_on.document_length(run))
    if not len(found):
        raise DataError("No sample of the pre-training pool is left to compare with.")
    return found


def _features(run: Run, pool: Inputs, test: Inputs) -> dict[str, anomaly.Features]:
    """Return features of pool and test samples; words are too many for either score."""
    return {
        name: (seen, asked)
        for name, (seen, asked) in likeness.described(run, pool, test, slow=_SLOW).items()
        if isinstance(seen, np.ndarray)
    }


def _write(
    run: Run,
    results: dict[str, Any],
    scores: Any,
    names: list[str],
    classes: list[str],
    y: NDArray[np.int64],
) -> None:
    """Write the results, and the samples with their scores, the oddest first."""
    (run.folder / FILE).parent.mkdir(exist_ok=True)
    write_json(run.folder / FILE, results)
    ours = [scores["features", way] for way in anomaly.SCORES]
    with (run.folder / SAMPLES).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", *(way.lower() for way in anomaly.SCORES)])
        for row in np.argsort(-ours[0], kind="stable"):
            table.writerow([names[row], classes[y[row]], *(f"{s[row]:.6g}" for s in ours)])


def sentence(results: dict[str, Any]) -> str:
    """Return what came of it: nearest neighbours of our features against the best of the others."""
    found = results["difference"]
    ours = next(r for r in results["rows"] if (r["features"], r["score"]) == anomaly.JUDGED)
    features, way = found["rival"]
    said = f"Nearest neighbours of the encoder's features: AUROC {ours['auroc']:.3f}"
    return rivals.sentence(said, f"{way} of {features}", found) + "."
