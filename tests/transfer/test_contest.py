import json

import pytest
from PIL import Image

from unlabeled.errors import UsageError
from unlabeled.transfer import contest
from unlabeled.transfer.contest import Contest, hold, rounds, table

GOOD = {"a": 0.9, "b": 0.5, "c": 0.7, "d": 0.6}


@pytest.fixture
def made(monkeypatch):
    """Replace training and judging; return what was trained, in order."""
    trained = []

    def train(asked, method, seconds, place):
        trained.append((method, round(seconds, 3)))

    def judge(asked, place, arms):
        method = place.name.split("-")[0]
        return {"folder": place.name, "reading": "probe", "validation": GOOD[method], "steps": 10,
                "seconds": 1.0, "labels_per_class": 10, "score": 1 - GOOD[method], "low": 0.1,
                "high": 0.2, "quality": {}}  # fmt: skip

    monkeypatch.setattr(contest, "_train", train)
    monkeypatch.setattr(contest, "_judge", judge)
    return trained


def test_every_round_gets_the_same_share_of_the_time():
    for count in range(2, 9):
        parts = [size * seconds for size, seconds in rounds(count, 600.0)]
        assert sum(parts) == pytest.approx(600)
        assert parts == pytest.approx([parts[0]] * len(parts))


def test_the_better_half_goes_on_by_validation_and_not_by_test(tmp_path, made):
    record = hold(Contest("x", ("b", "c", "d", "a"), 80.0), tmp_path)
    assert made == [("b", 10), ("c", 10), ("d", 10), ("a", 10), ("a", 20), ("c", 20)]
    assert record["winner"] == "a"  # whose test score is the worst
    assert record["complete"]
    header, rows = table(record)
    assert [row[0] for row in rows] == ["a", "c", "d", "b"]
    assert len(header) == len(rows[0])


def test_a_run_is_spoken_for_by_its_better_reading_of_those_it_has():
    rows = [("probe", 0.7), ("probe", 0.8), ("lookup", 0.9)]
    tagged = {"rows": [{"reading": name, "validation": score} for name, score in rows]}
    assert contest.best_of(tagged) == ("probe", pytest.approx(0.75))  # words have no k-NN
    tagged["rows"].append({"reading": "knn", "validation": 0.76})
    assert contest.best_of(tagged) == ("knn", 0.76)


def test_an_interrupted_comparison_goes_on(tmp_path, made, monkeypatch):
    real, asked = contest._judge, Contest("x", ("a", "b", "c"), 60.0)

    def cut(which, place, arms):
        if place.name == "c-1":
            raise KeyboardInterrupt
        return real(which, place, arms)

    monkeypatch.setattr(contest, "_judge", cut)
    with pytest.raises(KeyboardInterrupt):
        hold(asked, tmp_path)
    monkeypatch.setattr(contest, "_judge", real)
    record = hold(asked, tmp_path)
    assert [name for name, _ in made] == ["a", "b", "c", "c", "a", "c"]
    assert json.loads((tmp_path / "compare.json").read_text()) == record
    hold(asked, tmp_path)
    assert len(made) == 6


def test_another_comparison_in_the_same_folder_is_refused(tmp_path, made):
    hold(Contest("x", ("a", "b"), 60.0), tmp_path)
    with pytest.raises(UsageError, match=r"another comparison \(seconds differ\)"):
        hold(Contest("x", ("a", "b"), 90.0), tmp_path)


def test_missing_labels_are_told_before_anything_is_trained(tmp_path):
    for i in range(4):
        Image.new("L", (8, 8), 60 * i).save(tmp_path / f"{i}.png")
    with pytest.raises(UsageError, match="No labels were found"):
        contest.check_labels(Contest(str(tmp_path), ("simclr", "mae"), 10.0))
    (tmp_path / "labels.csv").write_text("path,label\n0.png,a\n1.png,b\n2.png,a\n3.png,b\n")
    contest.check_labels(
        Contest(str(tmp_path), ("simclr", "mae"), 10.0, labels=str(tmp_path / "labels.csv"))
    )


def test_a_folder_belongs_to_what_was_asked_first(tmp_path, made, monkeypatch):
    def cut_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(contest, "_train", cut_off)
    with pytest.raises(KeyboardInterrupt):
        hold(Contest("x", ("a", "b"), 80.0), tmp_path)
    with pytest.raises(UsageError, match="another comparison"):
        hold(Contest("x", ("a", "b"), 160.0), tmp_path)
