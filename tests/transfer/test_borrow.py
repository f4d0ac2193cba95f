"""Rows that no pre-training changes are taken over from a study of the same kind, and only then."""

from pathlib import Path
from typing import Any

import pytest

from tests.transfer.planted import PlantedRun
from unlabeled.errors import UsageError
from unlabeled.transfer import readings, roster
from unlabeled.transfer.evaluate import evaluate
from unlabeled.types import View

ARMS = ("probe", "untrained", "pca", "scratch")
ASKED: dict[str, Any] = {"counts": [1, 5], "draws": 2, "arms": ARMS}


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    search = readings.Search((View(),), rates=(1e-3,), lengths=(1.0,), epochs=1, fewest=6, most=6)
    monkeypatch.setattr(roster, "own_view", lambda run: View())
    monkeypatch.setattr(roster, "search_of", lambda run, quick, ways=False: search)


@pytest.fixture
def first(tmp_path: Path) -> tuple[PlantedRun, dict[str, Any]]:
    run = PlantedRun(tmp_path / "first")
    return run, evaluate(run, None, **ASKED)


def _rows(results: dict[str, Any], arm: str) -> list[dict[str, Any]]:
    return [row for row in results["rows"] if row["reading"] == arm]


def test_arms_without_pre_training_are_taken_over_and_told(
    first: tuple[PlantedRun, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, theirs = first
    other = PlantedRun(tmp_path / "second", found=False)
    plain = evaluate(PlantedRun(tmp_path / "third", found=False), None, **ASKED)
    monkeypatch.setattr(readings.Trained, "__call__", lambda *_: pytest.fail("trained again"))
    ours = evaluate(other, None, reuse=run, **ASKED)
    for arm in ("untrained", "pca", "scratch"):
        assert _rows(ours, arm) == _rows(theirs, arm)
        told = [{**row, "seconds": 0} for row in _rows(plain, arm)]
        assert [{**row, "seconds": 0} for row in _rows(ours, arm)] == told  # what was taken is true
    assert _rows(ours, "probe") != _rows(theirs, "probe")
    assert ours["differences"] == plain["differences"]  # paired by test sample as well
    said = [note for note in ours["notes"] if "taken over from first" in note]
    assert [note.split(":")[0] for note in said] == ["from scratch", "untrained + LR", "PCA + LR"]
    again = evaluate(other, None, **ASKED)
    assert [note for note in again["notes"] if "taken over" in note] == said


def test_what_differs_is_named_and_not_taken(
    first: tuple[PlantedRun, dict[str, Any]], tmp_path: Path
) -> None:
    run, _ = first
    with pytest.raises(UsageError, match="holds here too: labels and their split"):
        evaluate(PlantedRun(tmp_path / "more", count=300), None, reuse=run, **ASKED)
    with pytest.raises(UsageError, match="the versions or the seed of the study differ"):
        evaluate(PlantedRun(tmp_path / "seed"), None, reuse=run, seed=1, **ASKED)
    with pytest.raises(UsageError, match="has no study to take rows from"):
        evaluate(run, None, reuse=PlantedRun(tmp_path / "none"), **ASKED)


def test_other_augmentations_leave_scratch_to_be_trained(
    first: tuple[PlantedRun, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, theirs = first
    search = readings.Search((View(),), rates=(1e-2,), lengths=(1.0,), epochs=1, fewest=6, most=6)
    monkeypatch.setattr(roster, "search_of", lambda run, quick, ways=False: search)
    ours = evaluate(PlantedRun(tmp_path / "second"), None, reuse=run, **ASKED)
    assert _rows(ours, "pca") == _rows(theirs, "pca")
    assert [row["choices"]["rate"] for row in _rows(ours, "scratch")] == [1e-2] * 4
    assert not any("scratch: rows" in note for note in ours["notes"])
