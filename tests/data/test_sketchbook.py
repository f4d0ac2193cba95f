"""What samples look like is looked at once, and a damaged file is made again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.text.sources import Memory, stories

from unlabeled.data import sketchbook
from unlabeled.data.find import find
from unlabeled.data.sketch import sketch
from unlabeled.data.sketchbook import Sketchbook
from unlabeled.data.split import digests


class Counted(Memory):
    """Documents that count how often they are read."""

    def __init__(self, documents: list[str], name: str = "counted") -> None:
        super().__init__(documents, name)
        self.read: list[int] = []

    def payload(self, index: int, epoch: int = 0) -> str:
        self.read.append(index)
        return str(super().payload(index))


def test_nothing_is_looked_at_twice(tmp_path: Path) -> None:
    source = Counted(stories(40))
    book = Sketchbook(tmp_path)
    book.sketches(source, np.arange(0, 40, 2))
    assert sorted(source.read) == list(range(0, 40, 2))
    found = Sketchbook(tmp_path).sketches(source, np.array([3, 8, 9, 2]))  # another run of it
    assert sorted(source.read[20:]) == [3, 9]
    truth = sketch(Memory(stories(40)), np.array([3, 8, 9, 2]))
    for part in ("keys", "looks", "known"):
        assert (getattr(found, part) == getattr(truth, part)).all()
    assert (found.form, found.alike) == (truth.form, truth.alike)
    changed = Counted(stories(40, seed=1), "changed")
    Sketchbook(tmp_path).sketches(changed, np.arange(4))
    assert changed.read == [0, 1, 2, 3]  # another fingerprint


def test_hashes_are_those_of_a_split(tmp_path: Path) -> None:
    source = Counted(stories(20))
    for _ in range(2):
        found = Sketchbook(tmp_path).hashes(source, np.array([5, 2]))
        assert (found == digests(Memory(stories(20)))[[5, 2]]).all()
    assert len(source.read) == 2


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    source = Counted(stories(20))
    first = Sketchbook(tmp_path).sketches(source, np.arange(20))
    (path,) = tmp_path.glob("looks-*.npz")
    path.write_bytes(b"PK" + path.read_bytes()[500:])
    again = Sketchbook(tmp_path).sketches(source, np.arange(20))
    assert (again.looks == first.looks).all()
    assert len(source.read) == 40


def test_little_is_kept_on_disk_of_much(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = find(str(image_folder))
    monkeypatch.setattr(sketchbook, "MOST_BYTES", 10 * 553)
    Sketchbook(tmp_path).sketches(source, np.arange(len(source)))
    (path,) = tmp_path.glob("looks-*.npz")
    with np.load(path) as file:
        assert file["indices"].tolist() == list(range(10))
    found = Sketchbook(tmp_path).sketches(source, np.arange(8, 12))
    assert (found.looks == sketch(source, np.arange(8, 12)).looks).all()
    assert len(Sketchbook().sketches(source, np.zeros(0, np.int64))) == 0


def test_shared_values_of_texts_are_their_shared_phrases() -> None:
    """MinHash against counting: 200 pairs of documents that share a known part of their phrases."""
    random = np.random.default_rng(0)
    words = [f"w{i}" for i in range(3000)]
    truth, documents = [], []
    for _ in range(200):
        sizes = int(random.integers(1, 150)), 60, 60
        same, one, two = (random.choice(words, size).tolist() for size in sizes)
        documents += [" ".join(one + same), " ".join(two + same)]
        runs = [{tuple(d[i : i + 3]) for i in range(len(d) - 2)} for d in (one + same, two + same)]
        truth.append(len(runs[0] & runs[1]) / len(runs[0] | runs[1]))
    looks = sketch(Memory(documents), np.arange(400)).looks
    said = (looks[::2] == looks[1::2]).mean(axis=1)
    error = said - np.array(truth)
    assert abs(error.mean()) < 0.015
    assert 0.03 < error.std() < 0.08  # sqrt(J (1 - J) / 64) is at most 0.063
    # The values are independent: with one set of phrases in one order they would agree together.
    assert np.abs(error).max() < 0.25


def test_one_phrase_in_common_makes_no_near_duplicates() -> None:
    random = np.random.default_rng(1)
    words = [f"w{i}" for i in range(3000)]
    common = [" ".join(random.choice(words, 3)) for _ in range(100)]
    documents = [
        " ".join(random.choice(words, 60)) + " " + common[i % 100] + " " + common[(7 * i) % 100]
        for i in range(1000)
    ]
    assert len(sketch(Memory(documents), np.arange(1000)).pairs()) == 0
