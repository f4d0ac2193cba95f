"""Kills, resumes and changed workers end bit-equal to the uninterrupted run."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest

from tests.loop.running import SMALL, Child, losses, small_config, state_hash, train
from unlabeled.methods import catalogue


class Finished(dict[str, Path]):
    """Uninterrupted runs by method, made when first asked for."""

    def __init__(self, base: Path, folders: dict[str, Path]) -> None:
        super().__init__()
        self.base, self.folders = base, folders

    def __missing__(self, method: str) -> Path:
        data = _data(method, self.folders)
        self[method] = train(self.base / method, small_config(method, data))
        return self[method]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]) -> dict[str, Path]:
    """Return an uninterrupted run of each method."""
    return Finished(tmp_path_factory.mktemp("finished"), folders)


def _data(method: str, folders: dict[str, Path]) -> Path:
    return folders[catalogue.describe(method).modalities[0]]


SPINE = ["simclr", "mae", "dino", "gpt", "bert"]
"""Between them they have all that the loop must carry: the others only bring other state."""

SORTS = [
    "moco", "swav", "dinov2", "combine", "electra", "inherit", "hubert", "wav2vec2", "videomae",
    "leworldmodel", "ts2vec",
]  # fmt: skip
"""One of each sort of state that others bring: queues, teachers, several tasks, a second network,
codes made from the data, a temperature that falls, and the networks of the other kinds of data."""


@pytest.mark.parametrize("method", [*SPINE, *SORTS])
def test_kills_end_bit_equal(
    method: str, finished: dict[str, Path], tmp_path: Path, folders: dict[str, Path]
) -> None:
    """R1, R2, R3: SIGKILL at random steps, another number of workers after each.

    All methods are killed three times by the slow test below.
    """
    workers = (2, 0, 1) if method in SPINE else (2,)
    _kill(method, method, workers, finished, tmp_path, folders)


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name in SMALL if name not in SPINE])
def test_three_kills_end_bit_equal(
    method: str, finished: dict[str, Path], tmp_path: Path, folders: dict[str, Path]
) -> None:
    """The same for all the others."""
    _kill(method, method, (2, 0, 1), finished, tmp_path, folders)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("method", SPINE)
def test_twenty_times_three_kills_end_bit_equal(
    method: str, seed: int, finished: dict[str, Path], tmp_path: Path, folders: dict[str, Path]
) -> None:
    """R1, R2, R3 at other moments."""
    _kill(method, f"{method}-{seed}", (2, 0, 1), finished, tmp_path, folders)


def _kill(
    method: str,
    seed: str,
    after: tuple[int, ...],
    finished: dict[str, Path],
    tmp_path: Path,
    folders: dict[str, Path],
) -> None:
    """Kill once for each number of workers that the run goes on with."""
    out = tmp_path / "run"
    draw = random.Random(seed)
    child = Child(out, small_config(method, _data(method, folders)))
    for workers in after:
        child.wait_for_step(draw.randint(1, 22))
        child.kill(signal.SIGKILL)
        child = Child(out, None, workers)
    assert child.wait() == 0, child.log()
    assert state_hash(out) == state_hash(finished[method])
    assert losses(out) == losses(finished[method])


@pytest.mark.parametrize("workers", [0, 2])
def test_sigterm_saves_the_finished_step_and_exits_143(
    workers: int, finished: dict[str, Path], tmp_path: Path, image_folder: Path
) -> None:
    """R5: the signal costs no finished step; resuming ends bit-equal."""
    out = tmp_path / "run"
    child = Child(out, small_config("simclr", image_folder, workers=workers, save_steps=1000))
    child.wait_for_step(7)
    assert child.kill(signal.SIGTERM) == 143, child.log()
    step = losses(out)[-1][0]
    assert (out / "checkpoints" / f"step-{step:08d}").is_dir()
    assert Child(out, None, 0).wait() == 0
    assert state_hash(out) == state_hash(finished["simclr"])


def test_sigusr1_asks_to_be_requeued(tmp_path: Path, text_folder: Path) -> None:
    """R6: exit code 75 tells a scheduler to start the run again."""
    child = Child(tmp_path / "run", small_config("gpt", text_folder, steps=2000))
    child.wait_for_step(3)
    assert child.kill(signal.SIGUSR1) == 75, child.log()


def test_same_seed_twice_is_bit_equal(
    finished: dict[str, Path], tmp_path: Path, image_folder: Path
) -> None:
    """H4."""
    again = train(tmp_path / "run", small_config("dino", image_folder))
    assert state_hash(again) == state_hash(finished["dino"])


def test_another_seed_differs(finished: dict[str, Path], tmp_path: Path, text_folder: Path) -> None:
    """The hash would not show anything if it could not differ."""
    other = train(tmp_path / "run", small_config("gpt", text_folder, seed=4))
    assert state_hash(other) != state_hash(finished["gpt"])
