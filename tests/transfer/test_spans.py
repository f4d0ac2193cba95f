"""Labels of stretches of time: forms, what is left between them, and sentences about mistakes."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pandas
import pytest

from unlabeled.data import spans
from unlabeled.data.find import find
from unlabeled.data.marks import NONE
from unlabeled.data.spans import from_column, read
from unlabeled.errors import UsageError


def write(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).normal(0, 3000, round(seconds * 8000)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(values.tobytes())


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talks")
    for name, seconds in (("one/a.wav", 2.0), ("b.wav", 1.0), ("c.wav", 3.0)):
        write(folder / name, seconds)
    return folder


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two logs of one episode, and one of two."""
    folder = tmp_path_factory.mktemp("logs")
    for name in ("a", "b", "c"):
        frame = pandas.DataFrame({"time": np.arange(20) * 0.5, "x": np.arange(20) % 7})
        frame["activity"] = ["walk"] * 8 + [""] * 2 + ["run"] * 10
        if name == "c":
            frame["episode"] = np.repeat([3, 4], 10)
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


def table(folder: Path, *rows: str, head: str = "path,start,end,label") -> Path:
    path = folder / "spans.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def given(found) -> list[list[tuple[float, float, str]]]:
    parts = zip(found.begin, found.end, (found.classes[tag] for tag in found.tags), strict=True)
    flat = [(float(a), float(b), name) for a, b, name in parts]
    return [flat[a:b] for a, b in zip(found.starts, found.starts[1:], strict=False)]


def test_what_no_span_covers_is_a_class(sounds: Path, tmp_path: Path) -> None:
    path = table(tmp_path, "b.wav,0.25,0.5,hi", "a.wav,1.5,,ho", "b.wav,0.5,0.75,ho")
    found = read(path, find(str(sounds)), sounds)
    assert [whole.name for whole in found.wholes] == ["b.wav", "one/a.wav"]
    assert given(found) == [
        [(0, 0.25, "other"), (0.25, 0.5, "hi"), (0.5, 0.75, "ho"), (0.75, 1, "other")],
        [(0, 1.5, "other"), (1.5, 2, "ho")],
    ]
    # three seconds of two recordings, of which one second has a label
    assert found.said == (
        "Labels cover 33.3% of 3 s of 2 recordings; 66.7% have no label and are the class 'other'.",
    )
    moments = np.array([[0.0, 0.25], [0.4999, 0.5], [0.75, 2.0]])
    names = [*found.classes, None]  # NONE is -1
    assert [[names[i] for i in row] for row in found.at(0, moments)] == [
        ["other", "hi"], ["hi", "ho"], ["other", None],
    ]  # fmt: skip


def test_what_is_not_known_and_roundings_are_left_out(sounds: Path, tmp_path: Path) -> None:
    path = table(tmp_path, "b.wav,0,0.3,hi", "b.wav,0.301,0.5,?", "b.wav,0.5,0.9999,ho")
    found = read(path, find(str(sounds)), sounds)
    assert given(found) == [[(0, 0.3, "hi"), (0.5, 0.9999, "ho")]]
    assert found.classes == ["hi", "ho"]
    assert found.at(0, np.array([0.3005, 0.4, 0.6])).tolist() == [NONE, NONE, 1]
    assert "nothing is known of 19.9%" in found.said[0]


def test_label_tracks_lie_beside_their_recordings(sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.txt").write_text("0.5\t1.0\thi\n\\\t100.0\t200.0\n1.0\t1.0\tpoint\n")
    (tmp_path / "c.txt").write_text("0\t3\tho\n")
    assert spans.form_of(tmp_path) == "tracks"
    found = read(tmp_path, find(str(sounds)), sounds)
    assert given(found) == [[(0, 3, "ho")], [(0, 0.5, "other"), (0.5, 1, "hi"), (1, 2, "other")]]
    assert found.skipped == ("1 spans of no length",)


def test_steps_are_told_by_number_by_time_or_by_a_column(logs: Path, tmp_path: Path) -> None:
    source = find(str(logs))
    steps = read(table(tmp_path, "a.csv,0,8,walk", "a.csv,10,20,run"), source, logs)
    clock = table(tmp_path, "a.csv,0,4,walk", "a.csv,5,10,run", head="path,start_time,end_time,tag")
    expected = [[(0, 8, "walk"), (8, 10, "other"), (10, 20, "run")]]
    assert given(steps) == given(read(clock, source, logs)) == expected
    column = from_column(source, "activity")
    assert [whole.name for whole in column.wholes] == ["a.csv", "b.csv", "c.csv#3", "c.csv#4"]
    assert given(column)[:3] == [[(0, 8, "walk"), (10, 20, "run")]] * 2 + [[(0, 8, "walk")]]
    one = table(
        tmp_path, "c.csv,4,0,9,walk", "c.csv,4,9,10,run", head="path,episode,start,end,label"
    )
    assert [whole.name for whole in read(one, source, logs).wholes] == ["c.csv#4"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (("b.wav,0.5,0.2,x",), "row 1: it ends at 0.2, before it begins at 0.5"),
        (("b.wav,0,0.5,x", "b.wav,0.4,0.8,y"), "row 2: 'y' begins at 0.4, before 'x' .*row 1"),
        (("b.wav,0,0.5,x", "b.wav,0.5,1.4,y"), "row 2: it reaches 1.4 s, but b.wav has 1 s"),
        (("b.wav,-1,0.5,x",), "begins at -1 s, before 0"),
        (("d.wav,0,0.5,x",), "row 1: 'd.wav' is none of the 3 recordings"),
        (("b.wav,zero,0.5,x",), "its start is 'zero', which is no number"),
        (("b.wav,0,1,x",), r"one label only \('x'\)"),
        (("b.wav,0,0.5,x,train", "b.wav,0.5,1,y,test"), "rows of the splits 'test' and 'train'"),
    ],
)
def test_spans_that_cannot_be_are_told(
    sounds: Path, tmp_path: Path, rows: tuple[str, ...], said: str
) -> None:
    head = "path,start,end,label" + (",split" if rows[0].count(",") > 3 else "")
    with pytest.raises(UsageError, match=said):
        read(table(tmp_path, *rows, head=head), find(str(sounds)), sounds)


def test_an_episode_must_be_named_where_there_are_several(logs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has 2 episodes: say which, such as c\.csv#3"):
        read(table(tmp_path, "c.csv,0,8,walk"), find(str(logs)), logs)
