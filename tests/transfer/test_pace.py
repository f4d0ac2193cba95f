"""What a study costs is said from what was timed, and rows of another study are put aside."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tests.transfer.planted import PlantedRun
from unlabeled.transfer import pace, roster, tag_roster, tagging
from unlabeled.transfer.evaluate import evaluate
from unlabeled.transfer.label_curve import Row
from unlabeled.transfer.readings import Search, Trained
from unlabeled.types import PLAIN, View

COUNTS = (1, 10, 100)


@pytest.fixture(autouse=True)
def _plain_views(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "own_view", lambda run: View())


def study(rows: dict[tuple[str, int, int], float], readings: dict[str, Any], **more: Any) -> Any:
    made = {key: Row(*key, 0.5, 0.5, 0.5, 0.5, seconds=s) for key, s in rows.items()}
    places = [(count, draw) for draw in range(4) for count in COUNTS]
    return SimpleNamespace(
        readings=readings,
        store=SimpleNamespace(rows=made),
        missing=lambda name: [p for p in places if (name, *p) not in made],
        num_labels=lambda count, draw: 4 * count,
        **{"pace": {}, "total": 12 * len(readings), "draws": 4, "counts": COUNTS, **more},
    )


def test_quick_rows_cost_what_the_cheapest_of_their_count_did() -> None:
    rows = {("knn", c, 0): s for c, s in zip(COUNTS, (30.0, 2.0, 5.0), strict=True)}
    # The first row computed the features and says nothing of others with as many labels.
    assert pace.left(study(rows, {"knn": None})) == 3 * 2.0 + 3 * 2.0 + 3 * 5.0
    rows["knn", 1, 1] = 1.0
    assert pace.left(study(rows, {"knn": None})) == 2 * 1.0 + 3 * 2.0 + 3 * 5.0
    # Another arm of which nothing is known costs as much.
    assert pace.left(study(rows, {"knn": None, "probe": None})) == 2 * 23.0
    for few in ({}, {("knn", 1, 0): 30.0}):
        assert pace.left(study(few, {"knn": None})) is None


def test_trainings_cost_their_steps_and_one_search_a_count() -> None:
    search = Search((PLAIN,), rates=(1e-3, 2e-3, 3e-3), lengths=(0.25, 1.0), fewest=100, most=200)
    arm = Trained(None, None, search, {}, 0)  # type: ignore[arg-type]
    arm.recall(1, 4, {"view": 0, "rate": 1e-3, "steps": 50})
    rows = {("scratch", 1, 0): 9.0}
    found = pace.left(study(rows, {"scratch": arm}, pace={"scratch": 0.1}))
    searched = [search.cost * search.longest(4 * c).steps for c in (10, 100)]
    once = [search.longest(4 * c).steps for c in (10, 100)]
    assert found == pytest.approx(0.1 * (3 * 50 + sum(searched) + 3 * sum(once)))
    # Nothing is claimed while no training was timed, however much else was.
    rows = {("knn", c, 0): 1.0 for c in COUNTS}
    assert pace.left(study(rows, {"knn": None, "scratch": arm})) is None


def test_a_study_says_what_it_makes_and_what_is_there(tmp_path: Any) -> None:
    asked: dict[str, Any] = {"counts": [1, 5], "arms": ["knn", "probe", "scratch"], "quick": True}

    def told(**options: Any) -> str:
        console = Console(record=True, width=400)
        evaluate(PlantedRun(tmp_path), None, console=console, **{**asked, **options})
        return console.export_text()

    first = told(draws=2, arms=["knn", "scratch"])
    assert (
        "Study: 2 readings at 2 numbers of labels, 2 draws: 4 rows without training and 4 "
        "trainings (4 from scratch). Ctrl-C keeps every finished row" in first
    )
    more = told(draws=2)
    assert "3 readings at 2 numbers of labels, 2 draws: 4 rows without training; 8 rows are" in more
    assert "Study:" not in told(draws=2)


def test_rows_of_another_study_are_put_aside_and_taken_up_again(tmp_path: Any) -> None:
    asked: dict[str, Any] = {"counts": [1, 5], "draws": 2, "arms": ["knn"]}
    first = evaluate(PlantedRun(tmp_path), None, **asked)
    other = evaluate(PlantedRun(tmp_path), None, seed=1, **asked)
    assert first["rows"] != other["rows"]
    console = Console(record=True, width=200)
    again = evaluate(PlantedRun(tmp_path), None, console=console, **asked)
    assert "Study:" not in console.export_text()  # nothing was made
    assert again["rows"] == first["rows"]
    assert len(list((tmp_path / "evaluate" / "earlier").iterdir())) == 1


def test_the_search_of_taggers_is_part_of_what_their_rows_depend_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from unlabeled.transfer import evaluate as module

    material: Any = SimpleNamespace(task=tagging.TASK)
    assert module._search(None, material, True) == tag_roster.search_of(True)  # type: ignore[arg-type]
    assert module._search(None, material, False) != module._search(None, material, True)  # type: ignore[arg-type]


def test_guesses_of_time_are_rounded() -> None:
    assert [pace.about(s) for s in (0.4, 89, 91, 3600 * 3.2)] == ["0 s", "89 s", "2 min", "3 h"]
    assert np.isfinite(float(pace.about(12).split()[0]))
