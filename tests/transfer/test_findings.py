"""What an encoder shows of data: planted wrong labels, copies and strangers are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from sklearn.datasets import load_digits
from torch import nn

from unlabeled.config import ImageConfig
from unlabeled.data.find import find
from unlabeled.data.labels import Labels
from unlabeled.errors import UsageError
from unlabeled.modalities.image import Image
from unlabeled.transfer import wrong_labels
from unlabeled.transfer.findings import examine

COUNT = 500


@dataclass
class Pixels:
    """An encoder that hands on pixels."""

    modality: Any
    network: Any
    length: int = 0


@pytest.fixture(scope="module")
def reader():
    config = ImageConfig(size=8, channels=1, mean=(0.5,), std=(0.5,))
    return Pixels(Image(config), nn.Flatten())


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Digits of scikit-learn as files, with a copy, a copy that is turned down, and a stranger."""
    folder, data = tmp_path_factory.mktemp("digits"), load_digits()
    drawn = (data.images[:COUNT] * 15).astype(np.uint8)
    for number, image in enumerate(drawn):
        Pillow.fromarray(image).save(folder / f"{number:04d}.png")
    (folder / "1000.png").write_bytes((folder / "0007.png").read_bytes())
    Pillow.fromarray(drawn[9] // 2 + 40).save(folder / "1001.png")
    noise = np.random.default_rng(0).integers(0, 2, (8, 8)) * 255
    Pillow.fromarray(noise.astype(np.uint8)).save(folder / "1002.png")
    return find(str(folder)), data.target[:COUNT].astype(np.int64)


def of(y):
    return Labels(np.arange(len(y)), y, [str(i) for i in range(10)])


def test_planted_wrong_labels_are_found_and_few_right_ones(digits, reader):
    source, y = digits
    spoilt, wrong = wrong_labels.plant(y, 10, 0.05, 3)
    assert (spoilt != y).sum() == wrong.sum() == 25
    found = examine(reader, source, of(spoilt))
    named = np.array([one.row for one in found.of("wrong_label")])
    hits = int(wrong[named].sum())
    assert hits / wrong.sum() > 0.75
    assert hits / len(named) > 0.6  # by chance 0.05
    right = [one for one in found.of("wrong_label") if wrong[one.row]]
    assert np.mean([int(one.likely) == y[one.row] for one in right]) > 0.8
    # What it says of itself holds: the share of planted ones that are found, and that of chance.
    assert found.wrong.recall > 0.75
    assert found.wrong.flagged < 0.15
    assert found.labels[0] == str(spoilt[0])


def test_copies_and_strangers_are_found_without_labels(digits, reader):
    source, _y = digits
    found = examine(reader, source)
    assert found.wrong is None
    assert [(found.name(c.row), found.name(c.like)) for c in found.of("copy")] == [
        ("1000.png", "0007.png")
    ]
    assert ("1001.png", "0009.png") in [
        (found.name(c.row), found.name(c.like)) for c in found.of("near_copy")
    ]
    assert found.name(found.of("outlier")[0].row) == "1002.png"
    assert len(found.of("outlier")) < 0.05 * COUNT


def test_a_copy_under_another_label_is_a_conflict(digits, reader):
    source, y = digits
    given = Labels(
        np.append(np.arange(COUNT), COUNT), np.append(y, (y[7] + 1) % 10), [*"0123456789"]
    )
    (conflict,) = examine(reader, source, given).of("conflict")
    assert (conflict.row, conflict.like) == (COUNT, 7)
    assert conflict.likely == str(y[7])


def test_copies_never_answer_for_each_other():
    random = np.random.default_rng(0)
    y, groups = np.repeat(np.arange(3), 40), np.arange(120) // 2
    for out in wrong_labels.folds(y, groups, 0):
        assert not np.isin(groups[out], groups[~out]).any()
    # Twins share a wrong label: only a probe that saw neither can doubt it.
    x = np.repeat(random.normal(size=(60, 64)) * 0.1, 2, axis=0) + 3 * np.eye(3, 64)[y]
    y = y.copy()
    y[10:12] = 2
    found = wrong_labels.find(x.astype(np.float32), y, 3, groups)
    assert set(found.rows.tolist()) == {10, 11}
    with pytest.raises(UsageError, match="copies of one another"):
        wrong_labels.folds(y, np.zeros(len(y)), 0)


def test_thresholds_are_those_of_cleanlab(digits, reader):
    from unlabeled.transfer.findings import CLOSE, FAR

    outlier = pytest.importorskip("cleanlab.datalab.internal.issue_manager.outlier")
    duplicate = pytest.importorskip("cleanlab.datalab.internal.issue_manager.duplicate")
    import inspect

    share = outlier.OutlierIssueManager.DEFAULT_THRESHOLDS["features"]
    assert pytest.approx(1 / share - 1, rel=0.01) == FAR
    near = duplicate.NearDuplicateIssueManager.__init__
    assert inspect.signature(near).parameters["threshold"].default == CLOSE


def test_labels_that_cannot_be_judged_are_told(digits, reader):
    source, _y = digits
    few = examine(reader, source, Labels(np.arange(6), np.array([0, 1, 0, 1, 0, 1]), ["a", "b"]))
    assert few.wrong is None
    assert any("two classes of 5 labels" in note for note in few.notes)
    for words, said in (
        (["a", "a|b", "b"], "several a sample"),
        ([f"{n / 7:.3f}" for n in range(60)], "numbers"),
    ):
        y = np.arange(60) % len(words)
        found = examine(reader, source, Labels(np.arange(60), y, words))
        assert found.wrong is None
        assert not found.of("conflict")
        assert any(f"read as {said}" in note for note in found.notes)


def test_a_probe_that_knows_nothing_names_no_label(digits, reader):
    source, _ = digits
    chance = np.random.default_rng(0).integers(0, 3, 200)
    given = Labels(np.arange(200), chance, ["a", "b", "c"])
    found = examine(reader, source, given, most=200)
    assert found.wrong is not None
    assert not found.wrong.trusted
    assert not found.of("wrong_label")
