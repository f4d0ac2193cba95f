"""Did pre-training help, and how many labels did it save."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from unlabeled import kinds
from unlabeled.data.sketchbook import LOOKS, Sketchbook
from unlabeled.journal import write_json
from unlabeled.runs import Lock
from unlabeled.transfer import (
    borrow,
    clusters,
    code_quality,
    label_curve,
    outcome,
    over_time,
    public,
    quality,
    roster,
    seeds,
    splits,
    table,
    tag_form,
    tag_roster,
    tagging,
    targets,
)  # fmt: skip
from unlabeled.transfer.arms import OURS, QUICK, check
from unlabeled.transfer.material import Material
from unlabeled.transfer.metrics import headline
from unlabeled.transfer.pace import Teller
from unlabeled.transfer.readings import Frozen, Reading, Search
from unlabeled.transfer.study import Store, Study
from unlabeled.transfer.units import A_CLASS, unit_of

if TYPE_CHECKING:
    from unlabeled.encoders.base import Encoder
    from unlabeled.runs import Run

RESULTS = "results.json"
ROWS = 3
"""Form of kept rows; those of another form are made again."""
MOST_TEST, MOST_TEST_QUICK = 10_000, 2_000
QUICK_MINUTES, QUICK_DRAWS = 2.0, 3
QUICK_NOTE = (
    "Quick: networks were trained briefly and without tuning, from scratch too, and readings that "
    "take minutes were not made (joined, codes, convolutions); leave out --quick before you rely "
    "on the comparison."
)


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
    reuse: Run | None = None,
    transductive: bool = False,
    beside: Sequence[Run] = (),
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
        counts: labels per class, or sentences, recordings or episodes in all where words, frames or
            steps are tagged; None is 1 to 500, 3,000 sentences or 100 recordings or episodes.
        draws: draws of each count.
        seed: of split and draws.
        arms: readings to make (`arms.ARMS`); None makes those that are made by default.
        against: public weights as further readings: folders, packages, or names in the hub's
            local cache (see `public.resolve`).
        minutes: after which no further network is trained; None is no limit.
        task: ``single`` (``classification``), ``multi`` (``multi-label``), ``ordinal``,
            ``regression`` or ``tagging``; None finds it from the labels.
        reuse: an evaluated run on the same data; its rows that hold here too are taken over.
        transductive: whether samples that were pre-trained on may stay in the test part.
        beside: runs with other seeds, judged together with this one.
        console: where the table is printed; None prints nothing.

    Raises:
        UsageError: with the sentence to print.
    """
    started = time.monotonic()
    check(arms or ())
    seeds.check(run, beside)
    if quick:
        draws, minutes = min(draws, QUICK_DRAWS), QUICK_MINUTES if minutes is None else minutes
        arms = QUICK if arms is None else arms
    given, book = (labels, test, label_column), Sketchbook(run.folder / LOOKS)
    asked = _Asked(given, counts, draws, quick, seed, task, transductive, book, (run, *beside))
    laid = asked.lay(run, arms, [public.resolve(one) for one in against])
    others = [_other(one, laid, asked, minutes, console) for one in beside]
    results = _made(run, laid, asked, minutes, console, reuse, others)
    return _finished(run, results, time.monotonic() - started, console)


def _other(
    run: Run, first: Laid, asked: _Asked, minutes: float | None, console: Console | None
) -> tuple[str, Store]:
    """Make the rows of another seed's run in its own folder, where they serve it as well."""
    ours = [name for name in first[1] if name in OURS]
    material, chosen, _, grid = asked.lay(run, ours)
    seeds.same_samples(first[0], material, run.folder)
    lock = Lock(run.studies)
    try:
        store = Store(run.studies, _key(run, material, asked.quick, asked.seed))
        told = Teller(console, material.task)
        how = asked.draws, asked.seed, _metric(material), store, minutes, told
        first[0].notes.extend(
            f"{run.folder.name}: {n}" for n in Study(material, chosen, grid, *how).run()
        )
        return run.folder.name, store
    finally:
        lock.release()


Given = tuple[str | Path | None, str | Path | None, str | None]
"""Labels, labels of the test part, and the column of labels."""
Laid = tuple[Material, dict[str, Reading], dict[str, Frozen], list[int]]
"""Samples, readings, features of those that freeze, and label counts."""


@dataclass(frozen=True)
class _Asked:
    """What a study is about, whichever run it judges; as for `evaluate`."""

    given: Given
    counts: Sequence[int] | None
    draws: int
    quick: bool
    seed: int
    task: str | None
    transductive: bool
    book: Sketchbook
    runs: tuple[Run, ...]

    def lay(
        self, run: Run, arms: Sequence[str] | None, weights: Sequence[public.Public] = ()
    ) -> Laid:
        """Lay out the study of a run."""
        data = run.config.data
        labels, _, column = self.given
        if tag_form.asked(labels, data.path, data.kind, self.task, column):
            tag_roster.refuse_public([str(one.folder) for one in weights])
            return self._of_items(run, arms)
        return self._of_samples(run, arms, weights)

    def _of_samples(
        self, run: Run, arms: Sequence[str] | None, weights: Sequence[public.Public]
    ) -> Laid:
        quick, seed = self.quick, self.seed
        most = max(self.counts or (label_curve.QUICK_GRID if quick else label_curve.GRID))
        material = splits.prepare(
            run, *self.given, most=most, draws=self.draws,
            most_test=MOST_TEST_QUICK if quick else MOST_TEST, seed=seed, task=self.task,
            transductive=self.transductive, book=self.book, runs=self.runs,
        )  # fmt: skip
        found, frozen = roster.readings(run, material, quick, seed)
        chosen = roster.chosen(found, arms) | roster.of_public(weights, material)
        return material, chosen, frozen, _grid(material, self.counts, quick)

    def _of_items(self, run: Run, arms: Sequence[str] | None) -> Laid:
        quick, form = self.quick, tag_form.form_of(run, self.runs)
        most = max(self.counts or (form.quick_grid if quick else form.grid))
        material = tagging.prepare(
            form, *self.given, most=most, draws=self.draws, seed=self.seed,
            most_test=form.most_test_quick if quick else form.most_test,
        )  # fmt: skip
        if quick:
            material.notes.append(QUICK_NOTE)
        found = tag_roster.readings(run, material, quick, self.seed)
        grid = tagging.grid(material, form, self.counts, quick)
        return material, roster.chosen(found, arms), {}, grid


def _finished(
    run: Run, results: dict[str, Any], seconds: float, console: Console | None
) -> dict[str, Any]:
    """Write and show what a study says."""
    results["seconds"] = round(seconds, 1)
    write_json(run.studies / RESULTS, results)
    if console is not None:
        _show(console, results)
    return results


def _made(
    run: Run,
    laid: Laid,
    asked: _Asked,
    minutes: float | None,
    console: Console | None,
    reuse: Run | None,
    others: Sequence[tuple[str, Store]],
) -> dict[str, Any]:
    """Make the rows that are missing, alone in the folder, and return what they say."""
    material, chosen, frozen, grid = laid
    kept = {name: part for name, part in frozen.items() if name in chosen}
    lock = Lock(run.studies)
    try:
        study = Study(
            material, chosen, grid, asked.draws, asked.seed, _metric(material),
            _store(run, material, asked.quick, asked.seed, reuse), minutes,
            Teller(console, material.task),
        )  # fmt: skip
        left_out, unlabelled = study.run(), _without_labels(run, material, kept, grid, asked.seed)
        stores = [(run.folder.name, study.store), *others]
        return outcome.of_study(study, left_out, asked.quick, unlabelled, stores)
    finally:
        lock.release()


def _metric(material: Material) -> str:
    """Return the headline metric; tagged words and frames say theirs themselves."""
    if isinstance(material, tagging.TagMaterial):
        return material.metric
    found = targets.METRICS.get(material.task)
    return found or headline(material.y_test, len(material.classes))


def _store(run: Run, material: Material, quick: bool, seed: int, reuse: Run | None) -> Store:
    """Open the rows that are kept, with those that another study has for us."""
    store = Store(run.studies, _key(run, material, quick, seed))
    mine = _facts(run, material, quick, seed)
    if reuse is not None:
        borrow.take(store, mine, reuse.folder)
    material.notes.extend(borrow.said(store, mine))
    return store


def _search(run: Run, material: Material, quick: bool, ways: bool = False) -> Search:
    """Return what is tried where networks are trained."""
    if material.task in tag_form.TASKS:
        return tag_roster.search_of(quick)
    return roster.search_of(run, quick, ways)


def _facts(run: Run, material: Material, quick: bool, seed: int) -> dict[str, str]:
    """Return hashes of what rows without pre-training depend on."""
    form = ROWS + (material.targets is not None)  # these begin at their linear reading since
    return borrow.facts(run, material, _search(run, material, quick), (form, quick, seed))


def _grid(material: Material, counts: Sequence[int] | None, quick: bool) -> list[int]:
    """Return the label counts that the smallest class allows, and note what is small or quick."""
    assert material.whole is not None
    pool = np.bincount(material.whole.y, minlength=len(material.classes))
    there = np.flatnonzero(pool)
    least = int(there[pool[there].argmin()])
    grid = label_curve.grid(int(pool[least]), counts, quick)
    if grid[-1] < 5:
        material.notes.append(
            f"Class '{material.classes[least]}' has {pool[least]} labelled training samples, so "
            f"label counts end at {grid[-1]}; label more of it."
        )
    if quick:
        material.notes.append(QUICK_NOTE)
    return grid


def _without_labels(
    run: Run, material: Material, frozen: Mapping[str, Frozen], grid: Sequence[int], seed: int
) -> dict[str, Any]:
    """Return what features look like without learning from a label, at the end and over time."""
    view = None if kinds.strings(run.config.data.kind) else roster.own_view(run)
    makers: dict[str, Callable[[], Encoder]] = {
        "probe": run.encoder,
        "untrained": lambda: run.untrained(run.config.loop.seed),
    }
    found: dict[str, Any] = {"quality": {}, "clusters": {}, "codes": {}}
    if material.task not in tag_form.TASKS:
        found["moments"] = over_time.measure(run, material, grid, seed)
        if run.config.data.kind == "audio":
            found["codes"] = code_quality.of_run(run, material)
    for name, part in frozen.items():
        x = part.features.test
        if name in makers:
            found["quality"][name] = quality.of_encoder(makers[name](), x, material.test, view)
        if isinstance(x, np.ndarray) and material.task == "single":
            scaled = part.scaled[1]
            found["clusters"][name] = clusters.read(scaled, material.y_test, name in makers)
    return found


def _key(run: Run, material: Material, quick: bool, seed: int) -> str:
    """Return a hash of everything that rows depend on: the facts, and the encoder's weights."""
    digest = hashlib.sha256()
    for path in sorted((run.folder / "encoder").glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    facts = _facts(run, material, quick, seed)
    digest.update(repr((sorted(facts.items()), _search(run, material, quick, True))).encode())
    return digest.hexdigest()


def _show(console: Console, results: Mapping[str, Any]) -> None:
    split, what = results["split"], unit_of(results["task"])
    labelled = "labelled samples" if what is A_CLASS else what.labels
    console.print(
        f"{split['train']:,} {labelled}, {len(results['classes'])} classes; "
        f"validation {split['validation']:,}; test {split['test']:,} ({split['how']})",
        highlight=False,
    )
    console.print(table.table(results, console.width))
    for line in table.lines(results):
        console.print(line, highlight=False)
    for note in results["notes"]:
        console.print(f"Note: {note}", highlight=False)
