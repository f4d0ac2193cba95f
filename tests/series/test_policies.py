"""Behaviour cloning: policies from demonstrations, on a machine whose right action is known."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas
import PIL.Image
import pytest
import torch

from tests.conftest import draw_log
from tests.loop.running import small_config
from unlabeled import Policy, loop
from unlabeled.cli import write
from unlabeled.data.find import find
from unlabeled.errors import UsageError
from unlabeled.runs import Run
from unlabeled.transfer import cloning
from unlabeled.transfer.policy import prepared


def demonstrate(folder: Path, count: int) -> None:
    """Write logs of a rule: push = 0.5 - 0.7 place - 0.4 speed."""
    folder.mkdir()
    for number in range(count):
        columns = draw_log(100 + number)
        columns["action.push"] = 0.5 - 0.7 * columns["place"] - 0.4 * columns["speed"]
        pandas.DataFrame(columns).to_csv(folder / f"{number}.csv", index=False)


@pytest.fixture(scope="module")
def run(log_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("acting") / "run"
    config = small_config("mtm", log_folder, steps=3)
    return Run.open(loop.pretrain(config, folder, quiet=True))


@pytest.fixture(scope="module")
def cloned(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[cloning.Cloned, Path]:
    demos = tmp_path_factory.mktemp("demos") / "demos"
    demonstrate(demos, 10)
    (demos / "broken.csv").write_text("place,speed,action.push\n" + "far,1,2\n" * 9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cloning, "QUICK_STOPS", (80,))
        patch.setattr(cloning, "QUICK_RATES", (3e-3,))
        return cloning.finetune(run, demos, quick=True), demos


def test_a_linear_rule_is_learned_by_all_ways(cloned: tuple[cloning.Cloned, Path]) -> None:
    found = cloned[0]
    assert set(found.scores) == set(cloning.ARMS)
    assert all(score > 0.9 for score in found.scores.values())
    assert found.arm == max(cloning.ARMS[:2], key=found.scores.__getitem__)
    assert (found.learned, found.checked) == (8, 2)
    assert [name for name, _ in found.left_out] == ["broken.csv"]


def test_what_is_saved_acts_alike_and_knows_its_rule(
    run: Run, cloned: tuple[cloning.Cloned, Path]
) -> None:
    policy = Policy.from_run(run.folder)
    seen = np.array([[0.2, 0.1]] * policy.history)
    assert policy.act(seen) == pytest.approx(0.5 - 0.14 - 0.04, abs=0.15)
    both = policy.act(np.stack([seen, seen - 0.5]))
    assert both.shape == (2, 1)
    assert both[0] == pytest.approx(policy.act(seen), abs=1e-5)
    assert both[1] > both[0]  # further left: push right
    extremes = policy.act(np.array([[-50.0, 0.0]]))
    assert extremes <= policy.net.head.high.item() + 1e-6  # never beyond what was shown
    with pytest.raises(UsageError, match=r"given \(steps, 2\).*Columns: place, speed"):
        policy.act(np.zeros((4, 3)))


def test_acting_step_by_step_is_what_is_said_along_a_log(
    run: Run, cloned: tuple[cloning.Cloned, Path]
) -> None:
    """A policy sees no later step, no action, and no more than its history."""
    policy = Policy.from_run(run.folder)
    log = np.stack(list(draw_log(7).values()), 1)[:, 1:4].astype(np.float32)
    log[9, 0] = np.nan
    along = policy.along(log)
    for step in (0, 1, 9, 30):
        np.testing.assert_allclose(policy.act(log[: step + 1, :2]), along[step], atol=2e-3)
    other = log.copy()
    other[:, 2] = 9.0
    np.testing.assert_allclose(policy.along(other), along, atol=1e-6)
    early = log.copy()
    early[: 30 - policy.history + 1] = 5.0
    np.testing.assert_allclose(policy.along(early)[30], along[30], atol=1e-6)


def test_windows_are_the_steps_before_and_their_actions(run: Run) -> None:
    modality = run.modality()
    log = np.arange(30, dtype=np.float32).reshape(10, 3)
    log[4, 2] = np.nan  # nothing to learn from here
    windows = cloning.Windows(modality, [log, log], 4)
    assert len(windows) == 18
    np.testing.assert_allclose(windows.y[5], (log[6, 2] - modality.mean[2]) / modality.std[2])
    x = windows.view(np.array([5]), None, None)[0]  # type: ignore[arg-type]
    torch.testing.assert_close(x, prepared(modality, log, 1)[3:7])
    first = windows.view(np.array([9]), None, None)[0]  # type: ignore[arg-type]
    assert not first[:3].any()  # the second log begins: nothing of the first is seen
    assert not x[:, 2].any()


def test_actions_are_written_a_row_a_step(
    cloned: tuple[cloning.Cloned, Path], run: Run, tmp_path: Path
) -> None:
    count = write.actions(run.folder, find(str(cloned[1]), "series", None), tmp_path / "a.csv")
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert count.good == 10
    assert len(rows) == 480
    assert list(rows[0]) == ["path", "step", "action.push"]
    truth = pandas.read_csv(cloned[1] / "0.csv")["action.push"].to_numpy()
    said = np.array([float(r["action.push"]) for r in rows if r["path"] == "0.csv"])
    assert np.corrcoef(truth, said)[0, 1] > 0.9
    write.actions(run.folder, find(str(cloned[1]), "series", None, 20), tmp_path / "parts.csv")
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
    bare = tmp_path / "bare"  # a robot that waits for a policy has done nothing yet
    bare.mkdir()
    pandas.read_csv(cloned[1] / "0.csv").drop(columns="action.push").to_csv(bare / "0.csv")
    write.actions(run.folder, find(str(bare), "series", None), tmp_path / "b.csv")
    with (tmp_path / "b.csv").open() as file:
        alone = np.array([float(r["action.push"]) for r in csv.DictReader(file)])
    np.testing.assert_allclose(alone, said, atol=1e-4)


def test_what_cannot_be_learned_from_is_answered(run: Run, tmp_path: Path) -> None:
    demonstrate(tmp_path / "one", 1)
    with pytest.raises(UsageError, match="holds one demonstration; at least 2"):
        cloning.finetune(run, tmp_path / "one", quick=True)
    bad = tmp_path / "bad"
    bad.mkdir()
    pandas.DataFrame({"place": np.zeros(48), "heat": np.ones(48)}).to_csv(bad / "0.csv")
    with pytest.raises(UsageError, match=r"no demonstration can be read .*no column 'speed'"):
        cloning.finetune(run, bad, quick=True)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bench of policies from pictures, which needs no simulator for what is tested here."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "bench"))
    return importlib.import_module("reacher_pixels")


def test_floor_and_ceiling_stand_below_the_curve(bench: Any) -> None:
    rows = [(None, "random actions", 0.0), (None, "expert", 1.0), (5, "frozen", 0.254),
            (20, "frozen", 0.5), (20, "from scratch", 0.1)]  # fmt: skip
    names = ("demonstrations", "arm", "success")
    table = bench.reacher.table([dict(zip(names, row, strict=True)) for row in rows])
    assert [line.split() for line in table.splitlines()] == [
        ["success", "with", "5", "20"], ["frozen", ".25", ".50"], ["from", "scratch", "-", ".10"],
        ["random", "actions", ".00", ".00"], ["expert", "1.00", "1.00"],
    ]  # fmt: skip


def test_actions_are_learned_from_recorded_frames_and_a_table(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done follows the brightness of this frame and of the one before."""
    rng, rows = np.random.default_rng(0), []
    for episode in range(3):
        light = rng.integers(0, 255, 30)
        before = light[np.maximum(np.arange(30) - 1, 0)]
        for step, (now, then) in enumerate(zip(light, before, strict=True)):
            path = f"{episode}/{step}.png"
            (tmp_path / str(episode)).mkdir(exist_ok=True)
            PIL.Image.new("RGB", (9, 9), (int(now),) * 3).save(tmp_path / path)
            rows.append({"path": path, "episode": episode, "action.push": (2 * now - then) / 255})
    pandas.DataFrame(rows).to_csv(tmp_path / "actions.csv", index=False)
    monkeypatch.setattr(cloning, "QUICK_STOPS", (150,))
    monkeypatch.setattr(cloning, "QUICK_RATES", (1e-2,))
    parts = []
    for frames, states, actions in bench.episodes(tmp_path):
        assert len(frames) == 30
        assert states.shape == (30, 0)
        told = np.stack([frame.mean((0, 1))[:1] for frame in frames]).astype(np.float32)
        parts.append(
            bench.Steps(torch.from_numpy(bench.both(told)), actions, SimpleNamespace(name="image"))
        )
    _, missed = bench.learn(parts[0], parts[1], quick=True, seed=0)
    assert missed < 0.1 * parts[1].y.var()
    (tmp_path / "actions.csv").write_text("path,episode\na.png,0\n")
    with pytest.raises(SystemExit, match="columns action"):
        list(bench.episodes(tmp_path))
