"""A world model and planning with it: cuts, closed forms of both, and a machine that obeys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.loop.running import small_config
from unlabeled import Planner, loop
from unlabeled.config import SeriesConfig
from unlabeled.errors import UsageError
from unlabeled.modalities.series import Series
from unlabeled.runs import Run, build_method
from unlabeled.transfer.planning import Search, search
from unlabeled.types import Batch

BOTH = [Search("cem"), Search("mppi", rounds=8)]


@pytest.fixture(scope="module")
def run(log_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = small_config("leworldmodel", log_folder, steps=3)
    folder = tmp_path_factory.mktemp("world") / "run"
    return Run.open(loop.pretrain(config, folder, quiet=True))


def method(run: Run, **options: Any) -> Any:
    tree = dict(run.config.method) | options
    return build_method(run.config.model_copy(update={"method": tree}), run.modality())


def counted(steps: int, count: int = 3) -> torch.Tensor:
    """Return logs whose values say their step: 100 place + step, and actions 0.5 + step."""
    x = torch.zeros(count, 48, 6)
    time = torch.arange(steps, dtype=torch.float32)
    x[:, :steps, 0], x[:, :steps, 1], x[:, :steps, 2] = time, 100 + time, 0.5 + time
    x[:, :steps, 3:] = 1.0
    return x


def test_frames_and_the_actions_between_them(run: Run) -> None:
    it = method(run, frame=2, skip=3, frames=4)
    keys = torch.arange(1, 4) * 999
    frames, actions = it.sequences(counted(30), keys)
    assert frames.shape == (3, 4, 2, 6)
    assert actions.shape == (3, 3, 3)
    first = frames[:, :1, :1, :1]
    steps = torch.arange(4)[:, None] * 3 + torch.arange(2)
    torch.testing.assert_close(frames[..., 0], first[..., 0] + steps)
    # From the last step of a frame up to the one before the last step of the next.
    begins = frames[:, :-1, -1, 0]
    torch.testing.assert_close(actions, begins[..., None] + torch.arange(3) + 0.5)
    assert (frames[:, -1, -1, 0] <= 29).all()
    ends = torch.cat([it.sequences(counted(30, 64), torch.arange(64) * 77)[0][:, -1, -1, 0]])
    assert {11, 29} <= set(ends.int().tolist())  # from the first step to the last


def test_embeddings_do_not_see_what_was_done(run: Run) -> None:
    it = method(run).eval()
    x = torch.randn(5, 1, 6)
    other = x.clone()
    other[..., 2], other[..., 5] = 9.0, 0.0
    torch.testing.assert_close(it.embed(x), it.embed(other))


def test_a_predictor_that_says_no_change_has_the_error_of_persistence(run: Run) -> None:
    it = method(run)
    for layer in (it.change[-1].weight, it.change[-1].bias):
        torch.nn.init.zeros_(layer)
    x = torch.randn(1, 4, 48, 6)
    x[..., 3:] = 1.0
    parts = it.loss(Batch({"plain": x}, torch.arange(4)), 0.5).parts
    torch.testing.assert_close(parts["prediction"], parts["persistence"])
    assert parts["gain"] == 0
    z = torch.arange(5.0).view(1, 5, 1).expand(2, 5, 8)
    far = method(run, ahead=3)
    for layer in (far.change[-1].weight, far.change[-1].bias):
        torch.nn.init.zeros_(layer)
    # 4 errors of 1, 3 of 4 and 2 of 9, with the same embeddings in all places.
    expected = (4 * 1 + 3 * 4 + 2 * 9) / 9
    assert far.missed(z, torch.zeros(2, 4, 4)).item() == pytest.approx(expected)


@pytest.mark.parametrize("how", BOTH, ids=["cem", "mppi"])
def test_searches_find_the_minimum_inside_the_bounds(how: Search) -> None:
    best = torch.tensor([[[0.3, -0.6], [2.0, 0.1]], [[-0.2, 0.4], [0.0, -3.0]]])
    start = torch.zeros(2, 2, 2)
    one = torch.ones(2)
    found = search(lambda a: (a - best[:, None]).square().sum((2, 3)), start, -one, one, how, 0)
    torch.testing.assert_close(found, best.clamp(-1, 1), atol=0.12, rtol=0)
    again = search(lambda a: (a - best[:, None]).square().sum((2, 3)), start, -one, one, how, 0)
    assert torch.equal(found, again)


class Obedient(torch.nn.Module):
    """A known world: the embedding is the state, and actions move it."""

    class config:  # noqa: N801
        skip, frame = 2, 1

    def embed(self, frames: torch.Tensor) -> torch.Tensor:
        return frames[:, -1, :2]

    def predict(self, z: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        return z + 0.5 * actions.reshape(*actions.shape[:-1], 2, 2).sum(-2)


@pytest.mark.parametrize("how", BOTH, ids=["cem", "mppi"])
def test_a_machine_that_obeys_reaches_its_goal(how: Search) -> None:
    """Units are those of the logs: states are halved and actions doubled inside."""
    config = SeriesConfig(
        observations=("x", "y"), actions=("a", "b"), mean=(1, 1, 0, 0), std=(2, 2, 0.5, 0.5),
        change=(1, 1, 1, 1), length=16,
    )  # fmt: skip
    planner = Planner(Obedient(), Series(config), [-1, -1], [1, 1], how)
    state = np.array([[3.0, -4.0], [0.0, 9.0]], np.float32)
    goal = np.array([[-2.0, 1.0], [1.0, 2.0]], np.float32)
    before = None
    for _ in range(6):
        before = planner.plan(state[:, None], goal[:, None], before)
        assert (np.abs(before) <= 1 + 1e-6).all()
        state = state + 4 * before[:, 0]  # 0.5 x two steps x 2 (actions) x 2 (states)
    np.testing.assert_allclose(state, goal, atol=0.5)


def test_a_planner_is_opened_from_a_run(run: Run, log_folder: Path, tmp_path: Path) -> None:
    planner = Planner.from_run(run.folder, [-1.0], [1.0], Search(horizon=2, samples=16, rounds=1))
    seen, goal = np.zeros((2, 3, 2)), np.full((2, 1, 2), np.nan)
    goal[:, :, 0] = 1.0  # a goal that says nothing of speed
    found = planner.plan(seen, goal)
    assert found.shape == (2, 2, 1)
    assert np.isfinite(found).all()
    with pytest.raises(UsageError, match=r"Bounds are 1 numbers each, low < high, of action\.push"):
        Planner.from_run(run.folder, [1.0], [-1.0])
    other = loop.pretrain(small_config("mtm", log_folder, steps=1), tmp_path / "mtm", quiet=True)
    with pytest.raises(UsageError, match=r"has no model to plan with.*--method leworldmodel"):
        Planner.from_run(other, [-1.0], [1.0])
