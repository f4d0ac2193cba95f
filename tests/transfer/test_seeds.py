"""Several seeds are judged as one: means over runs, and intervals that hold for the next run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from tests.transfer.planted import PlantedRun, Projection, basis, random_weight
from unlabeled.errors import UsageError
from unlabeled.transfer import readings, roster, splits, stats
from unlabeled.transfer.evaluate import evaluate
from unlabeled.types import View

ASKED: dict[str, Any] = {"counts": [1, 5, 20], "draws": 3, "arms": ("probe", "knn", "untrained")}


class Luck(PlantedRun):
    """A pre-training that finds the code but for noise, which its seed decides."""

    def __init__(self, folder: Path, seed: int, **world: int) -> None:
        super().__init__(folder, **world)
        loop = self.config.loop.model_copy(update={"seed": seed})
        self.config = self.config.model_copy(update={"loop": loop})
        self.seed = seed
        (folder / "encoder" / "w.safetensors").write_bytes(bytes([seed]))

    def encoder(self) -> Projection:
        found = torch.tensor(basis(), dtype=torch.float32)
        return Projection(found + 3 * self.seed * random_weight(100 + self.seed))


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    search = readings.Search((View(),), rates=(1e-3,), lengths=(1.0,), epochs=1, fewest=6, most=6)
    monkeypatch.setattr(roster, "own_view", lambda run: View())
    monkeypatch.setattr(roster, "search_of", lambda run, quick, ways=False: search)


@pytest.fixture
def runs(tmp_path: Path) -> list[Luck]:
    return [Luck(tmp_path / f"s{seed}", seed) for seed in range(3)]


def _cells(results: dict[str, Any], reading: str) -> dict[int, dict[str, Any]]:
    return {p["labels_per_class"]: p for p in results["summary"] if p["reading"] == reading}


def test_a_reading_is_the_mean_over_runs(runs: list[Luck]) -> None:
    alone = [evaluate(run, None, **ASKED) for run in runs]
    together = evaluate(runs[0], None, beside=runs[1:], **ASKED)
    assert together["runs"] == ["s0", "s1", "s2"]
    for count in ASKED["counts"]:
        each = [_cells(one, "probe")[count]["mean"] for one in alone]
        found = _cells(together, "probe")[count]
        assert found["mean"] == pytest.approx(np.mean(each))
        assert found["high"] - found["low"] > 2 * 1.96 * np.std(each, ddof=1) / 3**0.5 - 1e-9
        assert _cells(together, "untrained")[count] == _cells(alone[0], "untrained")[count]
    by_run = {row["run"] for row in together["rows"] if row["reading"] == "probe"}
    assert by_run == {"", "s1", "s2"}
    assert {row["run"] for row in together["rows"] if row["reading"] == "untrained"} == {""}
    assert any(
        note.startswith("3 pre-training seeds are judged as one") for note in together["notes"]
    )


def test_runs_that_are_no_repetitions_are_refused(runs: list[Luck], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there twice"):
        evaluate(runs[0], None, beside=[runs[1], runs[1]], **ASKED)
    other = Luck(tmp_path / "other", 5)
    method = {"name": "simclr", "temperature": 0.5}
    other.config = other.config.model_copy(update={"method": method})
    with pytest.raises(UsageError, match=r"method\.temperature differs"):
        evaluate(runs[0], None, beside=[other], **ASKED)


def test_runs_that_held_out_other_samples_are_refused(tmp_path: Path) -> None:
    world = {"count": 900, "held_out": 300}
    first, second = Luck(tmp_path / "a", 0, **world), Luck(tmp_path / "b", 1, **world)
    second.held_out_indices = lambda: np.arange(600, 900)  # type: ignore[method-assign]
    second.pool_indices = lambda: np.arange(600)  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="Only 0 labelled samples were held out by all 2 runs"):
        evaluate(first, None, beside=[second], **ASKED)


def test_what_any_run_saw_is_left_out_of_the_test_part(tmp_path: Path) -> None:
    world = {"count": 1200, "held_out": 500}
    runs = [Luck(tmp_path / "a", 0, **world), Luck(tmp_path / "b", 1, **world)]
    asked: dict[str, Any] = {"most": 5, "draws": 1, "most_test": 500, "seed": 0, "runs": runs}
    runs[1].held_out_indices = lambda: np.arange(200, 700)  # type: ignore[method-assign]
    runs[1].pool_indices = lambda: np.r_[:200, 700:1200]  # type: ignore[method-assign]
    for run in runs:  # the same part for both
        found = splits.prepare(run, None, None, None, **asked)
        assert set(found.test.indices) == set(range(200, 500))
        assert found.record["how"] == "samples held out of pre-training by all 2 runs"
    file = tmp_path / "test.csv"
    names = [runs[0].source().name(i) for i in range(150, 400)]
    file.write_text("\n".join(["path,label", *(f"{name},{name[0]}" for name in names)]))
    found = splits.prepare(runs[0], None, file, None, **asked)
    assert set(found.test.indices) == set(range(200, 400))
    assert found.record["dropped_from_test"] == 50
    said = "of at least one of the 2 runs (50 of them not of the first)"
    assert any(said in note for note in found.notes)


def test_the_interval_of_runs_alone_is_that_of_student() -> None:
    each = np.array([0.5, 0.6, 0.7, 0.55])
    scores = np.full((3, 1), each.mean())  # draws agree, so that only runs are in doubt
    found = stats.interval(scores, None, each - each.mean())
    low, high = scipy_stats.t.interval(0.95, 3, each.mean(), each.std(ddof=1) / 2)
    assert (found.low, found.high) == pytest.approx((low, high))


def _world(random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scores of 5 draws, (5, 1), and deviations of 4 runs; the truth is 0.5."""
    luck = 0.03 * random.normal(size=4)
    scores = 0.5 + luck + 0.02 * random.normal(size=(5, 1)) + 0.01 * random.normal(size=(5, 4))
    by_run = scores.mean(axis=0)
    return scores.mean(axis=1, keepdims=True), by_run - by_run.mean()


def test_the_interval_holds_the_mean_of_all_runs_that_could_be_made() -> None:
    random = np.random.default_rng(0)
    inside = {True: 0, False: 0}
    for _ in range(600):
        scores, seeds = _world(random)
        for told in inside:
            found = stats.interval(scores, None, seeds if told else None)
            assert found.low is not None
            assert found.high is not None
            inside[told] += found.low <= 0.5 <= found.high
    assert 0.93 <= inside[True] / 600 <= 0.99
    assert inside[False] / 600 < 0.85  # draws alone say too much


def test_labels_saved_are_less_certain_where_runs_differ() -> None:
    counts, curve = [1, 10, 100], (0.3, 0.5, 0.7)
    random = np.random.default_rng(1)
    theirs = [m + 0.005 * random.normal(size=(4, 200)) for m in curve]
    ours = 0.6 + 0.005 * random.normal(size=(4, 200))
    one = stats.labels_saved(counts, ours, theirs, 10, 0)
    many = stats.labels_saved(counts, ours, theirs, 10, 0, seeds=np.array([0.04, -0.03, -0.01]))
    assert one.low is not None
    assert many.low is not None
    assert (many.ratio, many.low < one.low) == (one.ratio, True)
