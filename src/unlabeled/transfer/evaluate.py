"""Did pre-training help, and how many labels did it save."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from unlabeled import kinds
from unlabeled.errors import UsageError, nearest
from unlabeled.journal import write_json
from unlabeled.runs import Lock
from unlabeled.transfer import (
    baselines,
    clusters,
    label_curve,
    public,
    quality,
    schema,
    splits,
    table,
    targets,
    verdict,
)  # fmt: skip
from unlabeled.transfer.metrics import headline
from unlabeled.transfer.readings import NAMES, Frozen, Reading, Search, Trained, name_of
from unlabeled.transfer.splits import Material
from unlabeled.transfer.study import Store, Study
from unlabeled.transfer.training import LIGHT, Classifier
from unlabeled.types import PLAIN, View

if TYPE_CHECKING:
    from unlabeled.encoders.base import Encoder
    from unlabeled.runs import Run

RESULTS = "results.json"
ROWS = 1
"""Form of kept rows; those of another form are made again."""
MOST_TEST, MOST_TEST_QUICK = 10_000, 2_000
MOST_POOL, MOST_POOL_QUICK = 5_000, 2_000
MOST_TEXTS, MOST_TEXTS_QUICK = 50_000, 5_000
QUICK_MINUTES, QUICK_DRAWS = 1.5, 3
FIRST_LAYER = 0.1
"""Rate of a pre-trained encoder's first layer relative to its last."""


def evaluate(
    run: Run,
    labels: str | Path | None = None,
    *,
    test: str | Path | None = None,
    label_column: str | None = None,
    quick: bool = False,
    counts: Sequence[int] | None = None,
    draws: int = 5,
    seed: int = 0,
    arms: Sequence[str] | None = None,
    against: Sequence[str] = (),
    minutes: float | None = None,
    task: str | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Compare what few labels give with the encoder, without it, and with plain features.

    Writes ``RUN/evaluate/results.json`` and returns its content. When interrupted, the next call
    with the same labels goes on with the rows that are missing.

    Args:
        run: the run that is judged.
        labels: as for `data.labels.read_labelled`; None looks in the run's data.
        test: labels to score on, of the same forms; None sets samples aside.
        label_column: name of the label column, where it cannot be guessed.
        quick: about two minutes: three counts, three draws, nothing tuned.
        counts: labels per class; None is 1, 5, 10, 50, 100, 500 as far as the data go.
        draws: draws of each count.
        seed: of split and draws.
        arms: readings to make; None makes all.
        against: public weights as further readings: folders, packages, or names in the hub's
            local cache (see `public.resolve`).
        minutes: after which no further network is trained; None is no limit.
        task: ``single``, ``multi`` or ``regression`` (``ordinal``); None finds it from the labels.
        console: where the table is printed; None prints nothing.

    Raises:
        UsageError: with the sentence to print.
    """
    started = time.monotonic()
    _check_arms(arms)
    weights = [public.resolve(given) for given in against]
    if quick:
        draws, minutes = min(draws, QUICK_DRAWS), QUICK_MINUTES if minutes is None else minutes
    most = max(counts or (label_curve.QUICK_GRID if quick else label_curve.GRID))
    material = splits.prepare(
        run, labels, test, label_column,
        per_class=most * draws, most_test=MOST_TEST_QUICK if quick else MOST_TEST, seed=seed,
        task=task,
    )  # fmt: skip
    found, frozen = readings(run, material, quick, seed)
    chosen = _chosen(found, arms) | _public(weights, material)
    grid = _grid(material, counts, quick)
    results = _made(run, material, chosen, frozen, grid, draws, seed, quick, minutes, console)
    results["seconds"] = round(time.monotonic() - started, 1)
    write_json(run.folder / "evaluate" / RESULTS, results)
    if console is not None:
        _show(console, results)
    return results


def _made(
    run: Run,
    material: Material,
    chosen: Mapping[str, Reading],
    frozen: Mapping[str, Frozen],
    grid: Sequence[int],
    draws: int,
    seed: int,
    quick: bool,
    minutes: float | None,
    console: Console | None,
) -> dict[str, Any]:
    """Make the rows that are missing, alone in the folder, and return what they say."""
    kept = {name: part for name, part in frozen.items() if name in chosen}
    lock = Lock(run.folder / "evaluate")
    try:
        study = Study(
            material, chosen, grid, draws, seed,
            targets.METRICS.get(material.task)
            or headline(material.y_test, len(material.classes)),
            Store(run.folder / "evaluate", _key(run, material, quick, seed)),
            minutes, _teller(console),
        )  # fmt: skip
        return _results(study, study.run(), quick, _without_labels(run, material, kept))
    finally:
        lock.release()


def _check_arms(arms: Sequence[str] | None) -> None:
    for arm in arms or ():
        if arm not in NAMES:
            raise UsageError(
                f"There is no reading '{arm}'.{nearest(arm, NAMES)} Readings: {', '.join(NAMES)}."
            )


def _chosen(found: Mapping[str, Reading], arms: Sequence[str] | None) -> dict[str, Reading]:
    chosen = {name: r for name, r in found.items() if arms is None or name in arms}
    if not chosen:
        raise UsageError(f"None of {', '.join(arms or ())} fits this kind of data.")
    return chosen


def _public(weights: Sequence[public.Public], material: Material) -> dict[str, Reading]:
    """Return one reading of each public weights: logistic regression on frozen features."""

    def plain(one: public.Public) -> baselines.Plain:
        train, test = one.features(material.train), one.features(material.test)
        return baselines.Plain(train, test, whiten=True)

    return {one.reading: Frozen(material, partial(plain, one)).probe for one in weights}


def _grid(material: Material, counts: Sequence[int] | None, quick: bool) -> list[int]:
    """Return the label counts that the smallest class allows, and note what is small or quick."""
    pool = np.bincount(material.y[material.pool], minlength=len(material.classes))
    there = np.flatnonzero(pool)
    least = int(there[pool[there].argmin()])
    grid = label_curve.grid(int(pool[least]), counts, quick)
    if grid[-1] < 5:
        material.notes.append(
            f"Class '{material.classes[least]}' has {pool[least]} labelled training samples, so "
            f"label counts end at {grid[-1]}; label more of it."
        )
    if quick:
        material.notes.append(
            "Quick: networks were trained briefly and without tuning, from scratch too; leave out "
            "--quick before you rely on the comparison."
        )
    return grid


def readings(
    run: Run, material: Material, quick: bool, seed: int
) -> tuple[dict[str, Reading], dict[str, Frozen]]:
    """Return all readings that fit the run's kind of data, and the features of those that freeze.

    The cheap ones come first.
    """
    ours = Frozen.of_encoder(material, run.encoder)
    fresh = Frozen.of_encoder(material, lambda: run.untrained(run.config.loop.seed))
    found: dict[str, Reading] = {
        "knn": ours.knn,
        "probe": ours.probe,
        "untrained": fresh.probe,
        "untrained_knn": fresh.knn,
    }
    frozen = {"probe": ours, "untrained": fresh}
    for name, make in _plain(run, material, quick, seed).items():
        frozen[name] = Frozen(material, make)
        found[name] = frozen[name].probe
    search = search_of(run, quick)
    num_classes = 1 if material.task == "regression" else len(material.classes)

    def start_trained(rows: NDArray[np.int64], draw: int) -> Classifier:
        encoder = run.encoder()
        model = Classifier(encoder, encoder.dim, num_classes)
        if material.task == "single":
            model.start_from(ours.fitted(rows, draw), ours.scaler)
        return model

    def start_fresh(rows: NDArray[np.int64], draw: int) -> Classifier:
        encoder = run.untrained(seed + draw)
        return Classifier(encoder, encoder.dim, num_classes)

    tuned = {"lowest": FIRST_LAYER, "frozen_statistics": True}
    found["finetune"] = Trained(material, start_trained, search, tuned, seed)
    found["scratch"] = Trained(material, start_fresh, search, {}, seed)
    if run.config.encoder.init is not None:
        material.notes.append(
            "This run began with given weights: 'untrained' and 'from scratch' begin with them "
            "too, so the comparison is about what this pre-training added."
        )
    return found, frozen


def _without_labels(
    run: Run, material: Material, frozen: Mapping[str, Frozen]
) -> dict[str, dict[str, Any]]:
    """Return what features look like without learning from a label."""
    view = None if kinds.strings(run.config.data.kind) else own_view(run)
    makers: dict[str, Callable[[], Encoder]] = {
        "probe": run.encoder,
        "untrained": lambda: run.untrained(run.config.loop.seed),
    }
    found: dict[str, dict[str, Any]] = {"quality": {}, "clusters": {}}
    for name, part in frozen.items():
        x = part.features.test
        if name in makers:
            found["quality"][name] = quality.of_encoder(makers[name](), x, material.test, view)
        if isinstance(x, np.ndarray) and material.task == "single":
            scaled = part.scaled[1]
            found["clusters"][name] = clusters.read(scaled, material.y_test, name in makers)
    return found


def _plain(
    run: Run, material: Material, quick: bool, seed: int
) -> dict[str, Callable[[], baselines.Plain]]:
    kind = run.config.data.kind
    pool: Any
    if kinds.strings(kind):
        pool = splits.pool_texts(run, MOST_TEXTS_QUICK if quick else MOST_TEXTS, seed)
    else:
        pool = splits.pool_sample(run, MOST_POOL_QUICK if quick else MOST_POOL, seed)
    found: dict[str, Callable[[], baselines.Plain]] = kinds.part(kind, "baselines")(
        material.train, material.test, pool
    )
    return found


def search_of(run: Run, quick: bool) -> Search:
    """Return what is tried in training: the method's own view first, then a light one."""
    views: tuple[View, ...] = (PLAIN,)
    if not kinds.strings(run.config.data.kind):
        views = (own_view(run), LIGHT)
    if quick:
        return Search(views[:1], rates=(1e-3,), lengths=(1.0,), epochs=10, fewest=60, most=200)
    return Search(views)


def own_view(run: Run) -> View:
    """Return the strongest view that the pre-training method shows, one cut of it."""
    from unlabeled.runs import build_method

    views = build_method(run.config, run.modality()).views()
    first = views.get("global") or next(iter(views.values()))
    return replace(first, count=1, size=1.0)


def _key(run: Run, material: Material, quick: bool, seed: int) -> str:
    """Return a hash of everything that rows depend on."""
    digest = hashlib.sha256()
    for path in sorted((run.folder / "encoder").glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    for part in (material.train.indices, material.y, material.pool, material.test.indices):
        digest.update(np.ascontiguousarray(part).tobytes())
    digest.update(material.y_test.tobytes())
    digest.update(repr((ROWS, material.classes, quick, seed)).encode())
    if material.targets is not None:
        digest.update(material.targets.tobytes() + material.truth.tobytes())
    return digest.hexdigest()


def _results(
    study: Study, left_out: list[str], quick: bool, unlabelled: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of results.json."""
    wanted = {
        key: row
        for key, row in study.store.rows.items()
        if key[0] in study.readings and key[1] in study.counts and key[2] < study.draws
    }
    material = study.material
    evidence = verdict.collect(
        wanted,
        study.store.guesses,
        material.truth,
        study.metric,
        study.seed,
        material.group,
        material.class_sizes,
    )
    judged = verdict.judge(evidence)
    results = {
        "format": schema.FORMAT,
        "metric": study.metric,
        "task": material.task,
        "classes": material.classes,
        "counts": list(study.counts),
        "draws": study.draws,
        "seed": study.seed,
        "quick": quick,
        "rows": [asdict(row) for row in wanted.values()],
        **judged,
        "split": material.record,
        "confusion": _confusion(study, judged["ours"]),
        "notes": [*material.notes, *left_out],
        "seconds": 0.0,
        "complete": not left_out,
        **unlabelled,
    }
    schema.check(results)
    return results


def _confusion(study: Study, reading: str | None) -> dict[str, Any] | None:
    keys = [key for key in study.store.rows if key[0] == reading and key[1] in study.counts]
    if not keys or study.material.task != "single":
        return None
    key = max(keys, key=lambda k: (k[1], -k[2]))
    num_classes, truth = len(study.material.classes), study.material.y_test
    counts = np.bincount(truth * num_classes + study.store.guesses[key], minlength=num_classes**2)
    return {
        "reading": key[0],
        "labels_per_class": key[1],
        "classes": study.material.classes,
        "matrix": counts.reshape(num_classes, num_classes).tolist(),
    }


def _teller(console: Console | None) -> Callable[[label_curve.Row], None]:
    if console is None:
        return lambda row: None

    def tell(row: label_curve.Row) -> None:
        if row.seconds > 2:
            console.print(
                f"{name_of(row.reading)}, {row.labels_per_class} labels a class, draw "
                f"{row.draw + 1}: {row.score:.3f} ({row.seconds:.0f} s)",
                highlight=False,
            )

    return tell


def _show(console: Console, results: Mapping[str, Any]) -> None:
    split = results["split"]
    console.print(
        f"{split['train']:,} labelled samples, {len(results['classes'])} classes; "
        f"validation {split['validation']:,}; test {split['test']:,} ({split['how']})",
        highlight=False,
    )
    console.print(table.table(results))
    for line in table.lines(results):
        console.print(line, highlight=False)
    for note in results["notes"]:
        console.print(f"Note: {note}", highlight=False)
