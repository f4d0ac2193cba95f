"""Leaks that are planted, and caught."""

import dataclasses

import numpy as np
import pytest

from tests.transfer.planted import CLASSES, PlantedRun, PlantedSource
from unlabeled.data.labels import read_labelled
from unlabeled.errors import UsageError
from unlabeled.transfer import leaks, splits
from unlabeled.transfer.material import Material
from unlabeled.transfer.part import Part
from unlabeled.transfer.readings import Frozen


class Copied(PlantedSource):
    """Classes mean nothing; the second half are copies of the first, a little brighter."""

    def __init__(self, count: int) -> None:
        super().__init__(count // 2, noise=60.0)
        self.pictures = np.clip(self.pictures, 10, 240)
        self.pictures = np.concatenate([self.pictures, self.pictures + 6])
        chance = np.random.default_rng(1).integers(CLASSES, size=count // 2)
        self.y = np.concatenate([chance, chance])
        self.fingerprint = f"copied {count}"


def copied_run(folder, count: int = 360):
    run = PlantedRun(folder, count=count)
    run._source = Copied(count)
    rows = [f"{run.source().name(i)},{'abc'[run.source().y[i]]}" for i in range(count)]
    return run, rows


def table(path, rows, extra=""):
    path.write_text("\n".join([f"path,label{extra}", *rows]))
    return path


def score(run, labels, test=None) -> tuple[float, Material]:
    """Return the accuracy of 1-nearest-neighbour with all labels, on pixels."""
    material = splits.prepare(
        run, labels, test, None, most=100, draws=5, most_test=500, seed=0, transductive=True
    )
    found = Frozen.of_encoder(material, run.encoder)
    rows = material.pool
    near = found.knn(rows, 1, 0) if len(rows) else None
    return float((near.test == material.y_test).mean()), material


def test_labels_that_copies_give_away_are_caught(tmp_path, monkeypatch):
    """A test set whose copies are among the labels: k-NN on classes that mean nothing."""
    run, rows = copied_run(tmp_path / "r")
    train, test = table(tmp_path / "a.csv", rows[:180]), table(tmp_path / "b.csv", rows[180:260])
    clean, material = score(run, train, test)
    assert material.record["near_test"] == 80
    assert any("80 labelled samples look like a test sample" in note for note in material.notes)
    assert clean < 0.55
    monkeypatch.setattr(leaks, "look", lambda part, book=None: part)
    leaked, material = score(run, train, test)
    assert material.record["near_test"] == 0
    assert leaked > 0.85  # what would have been published


def test_copies_stay_on_one_side_of_a_split_that_is_made_here(tmp_path):
    run, rows = copied_run(tmp_path / "r")
    clean, material = score(run, table(tmp_path / "a.csv", rows))
    sides = [set(material.train.indices[part] % 180) for part in (material.pool,
             material.validation)] + [set(material.test.indices % 180)]  # fmt: skip
    assert not sides[0] & sides[1]
    assert not (sides[0] | sides[1]) & sides[2]
    assert material.record["near_duplicates"] > 50
    assert clean < 0.55
    assert len(set(material.group)) < len(material.group)  # drawn together in the bootstrap


def test_copies_and_given_groups_are_joined(tmp_path):
    run, rows = copied_run(tmp_path / "r", 60)
    part = Part(*read_labelled(table(tmp_path / "a.csv", rows), run.source()))
    groups = np.array(["" if i < 2 else f"g{i % 30 // 10}" for i in range(60)])
    part = dataclasses.replace(part, labels=dataclasses.replace(part.labels, group=groups))
    joined, copies = leaks.together(leaks.look(part))
    assert copies == 30
    assert len(set(joined.labels.group)) == 3  # 0 and 1 go with their copies' group
    assert joined.labels.group[0] == joined.labels.group[30]


def test_a_given_split_that_tears_a_group_is_mended(tmp_path):
    run = PlantedRun(tmp_path / "r")
    rows = [f"{run.source().name(i)},{'abc'[i % 3]},{'test' if i % 6 == 0 else 'train'},p{i // 10}"
            for i in range(300)]  # fmt: skip
    rows += [f"{run.source().name(i)},{'abc'[i % 3]},train,q{i // 10}" for i in range(300, 360)]
    labels = table(tmp_path / "a.csv", rows, ",split,patient")
    _, material = score(run, labels)
    assert len(material.pool) + len(material.validation) == 60
    assert any("of a group that has test samples" in note for note in material.notes)


def test_test_samples_like_the_pool_are_dropped_or_said(tmp_path):
    run, rows = copied_run(tmp_path / "r")
    run.pool_indices = lambda: np.arange(100)  # copies of which are 180 to 280
    labels, test = table(tmp_path / "a.csv", rows[:100]), table(tmp_path / "b.csv", rows[200:360])
    options = {"most": 100, "draws": 5, "most_test": 500, "seed": 0}
    strict = splits.prepare(run, labels, test, None, **options)
    assert strict.record["dropped_from_test"] == 80
    assert strict.record["seen_in_pretraining"] == 0
    assert set(strict.test.indices) == set(range(280, 360))
    said = splits.prepare(run, labels, test, None, **options, transductive=True)
    assert said.record["transductive"]
    assert said.record["seen_in_pretraining"] == 80
    assert len(said.test) == 160
    with pytest.raises(UsageError, match="say --transductive"):
        splits.prepare(run, labels, table(tmp_path / "c.csv", rows[180:280]), None, **options)


def test_what_any_of_several_seeds_saw_is_left_out_for_all(tmp_path):
    runs, rows = [], []
    for number, pool in enumerate((range(100), range(60, 140))):  # copies lie 180 higher
        run, rows = copied_run(tmp_path / str(number))
        run.pool_indices = lambda pool=pool: np.array(pool)
        runs.append(run)
    labels, test = table(tmp_path / "a.csv", rows[:100]), table(tmp_path / "b.csv", rows[180:])
    options = {"most": 100, "draws": 5, "most_test": 500, "seed": 0}
    for run in runs:
        found = splits.prepare(run, labels, test, None, **options, runs=tuple(runs))
        assert found.record["dropped_from_test"] == 140
        assert set(found.test.indices) == set(range(320, 360))
