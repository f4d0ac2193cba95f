"""Damaged checkpoints, full disks, dead workers, two runs on a folder: rows R8 to R22."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import draw_image
from tests.loop.running import Child, losses, small_config, state_hash, train
from unlabeled import checkpoint, loop
from unlabeled.errors import (
    BusyError,
    ConfigError,
    DataError,
    TrainingError,
    UsageError,
    WriteError,
)
from unlabeled.runs import Lock, Run


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, text_folder: Path) -> Path:
    """Return a finished run of gpt."""
    return train(tmp_path_factory.mktemp("done") / "run", small_config("gpt", text_folder))


def _interrupted(out: Path, data: Path) -> Path:
    """Return a run that was killed after a few checkpoints."""
    child = Child(out, small_config("gpt", data))
    child.wait_for_step(18)
    child.kill(signal.SIGKILL)
    assert len(checkpoint.steps(out / "checkpoints")) >= 2
    return out


def _flip(path: Path) -> None:
    data = bytearray((path / checkpoint.STATE).read_bytes())
    data[len(data) // 2] ^= 4
    (path / checkpoint.STATE).write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "bit flip": _flip,
    "empty": lambda path: (path / checkpoint.STATE).write_bytes(b""),
    "half": lambda path: os.truncate(path / checkpoint.STATE, 1000),
    "missing": lambda path: (path / checkpoint.STATE).unlink(),
    "bad manifest": lambda path: (path / checkpoint.MANIFEST).write_text("{not json"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_newest_checkpoint_is_set_aside(
    damage: str, done: Path, tmp_path: Path, text_folder: Path
) -> None:
    """R10: the next older one is used, the end is bit-equal, and the log names the damage."""
    out = _interrupted(tmp_path / "run", text_folder)
    newest = checkpoint.steps(out / "checkpoints")[-1]
    DAMAGES[damage](newest)
    assert Child(out, None).wait() == 0
    assert (out / "checkpoints" / f"damaged-{newest.name}").exists()
    assert "damaged" in (out / "log.txt").read_text()
    assert state_hash(out) == state_hash(done)
    assert losses(out) == losses(done)


def test_all_damaged_stops_instead_of_starting_over(tmp_path: Path, text_folder: Path) -> None:
    """R11."""
    out = _interrupted(tmp_path / "run", text_folder)
    for path in checkpoint.steps(out / "checkpoints"):
        _flip(path)
    child = Child(out, None)
    assert child.wait() == DataError.exit_code
    assert "All checkpoints" in child.log()


def test_killed_before_the_first_checkpoint_starts_from_the_beginning(
    done: Path, tmp_path: Path, text_folder: Path
) -> None:
    out = tmp_path / "run"
    child = Child(out, small_config("gpt", text_folder, save_steps=1000))
    child.wait_for_step(4)
    child.kill(signal.SIGKILL)
    assert Child(out, None).wait() == 0
    assert state_hash(out) == state_hash(done)


def test_full_disk_is_survived(
    done: Path, tmp_path: Path, text_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R8: failed saves leave the older checkpoint whole and no draft; the run goes on."""
    real, calls = checkpoint._write, []

    def full(path: Path, data: bytes) -> None:
        calls.append(path)
        if 3 <= len(calls) <= 5:
            path.write_bytes(data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(checkpoint, "_write", full)
    out = loop.pretrain(small_config("gpt", text_folder), tmp_path / "run", quiet=True)
    assert "No space left" in (out / "log.txt").read_text()
    assert not list((out / "checkpoints").glob(".tmp-*"))
    assert state_hash(out) == state_hash(done)


def test_last_save_on_a_full_disk_is_an_error(
    tmp_path: Path, text_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write", full)
    with pytest.raises(WriteError, match="No space left"):
        loop.pretrain(small_config("gpt", text_folder), tmp_path / "run", quiet=True)


def test_worker_killed_is_replaced(done: Path, tmp_path: Path, text_folder: Path) -> None:
    """R14: one warning, and the end is bit-equal."""
    out = tmp_path / "run"
    child = Child(out, small_config("gpt", text_folder, workers=2))
    child.wait_for_step(3)
    found = subprocess.run(
        ["pgrep", "-P", str(child.process.pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    assert found, "no workers to kill"
    os.kill(int(found[0]), signal.SIGKILL)
    assert child.wait() == 0, child.log()
    assert child.log().count("it is replaced") == 1
    assert state_hash(out) == state_hash(done)


def test_second_run_on_a_folder_is_told_so_at_once(tmp_path: Path, text_folder: Path) -> None:
    """R16: the first goes on; after its SIGKILL with workers alive a restart succeeds."""
    out = tmp_path / "run"
    child = Child(out, small_config("gpt", text_folder, workers=2, steps=3000, save_steps=50))
    child.wait_for_step(3)
    second = Child(out, None)
    assert second.wait() == BusyError.exit_code
    child.kill(signal.SIGKILL)
    last = losses(out)[-1][0]
    third = Child(out, None)
    third.wait_for_step(last + 20)
    assert third.kill(signal.SIGTERM) == 143, third.log()


def test_lock_is_not_inherited(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    pid = os.fork()
    if pid == 0:
        try:
            Lock(tmp_path)
        except BusyError:
            os._exit(3)
        os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    lock.release()
    Lock(tmp_path).release()


def test_folder_with_a_run_is_not_overwritten(done: Path, text_folder: Path) -> None:
    with pytest.raises(UsageError, match="already holds a run"):
        loop.pretrain(small_config("gpt", text_folder), done, quiet=True)


def test_output_that_is_a_file(tmp_path: Path, text_folder: Path) -> None:
    """R20."""
    (tmp_path / "run").write_text("x")
    with pytest.raises(WriteError, match="cannot be written"):
        loop.pretrain(small_config("gpt", text_folder), tmp_path / "run", quiet=True)


def test_changed_data_is_refused(tmp_path: Path) -> None:
    """R21: the sentence names both counts."""
    from PIL import Image

    data = tmp_path / "data"
    data.mkdir()
    for number in range(32):
        Image.fromarray(draw_image(number)).save(data / f"{number}.png")
    child = Child(tmp_path / "run", small_config("simclr", data))
    child.wait_for_step(6)
    child.kill(signal.SIGKILL)
    Image.fromarray(draw_image(99)).save(data / "99.png")
    with pytest.raises(DataError, match="had 32 samples, now 33"):
        loop.resume(tmp_path / "run", quiet=True)


def test_nan_stops_before_the_update(
    tmp_path: Path, text_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H1: nothing moves, the batch is named, the last checkpoint is whole."""
    from unlabeled.methods.gpt import GPT

    real = GPT.loss

    def poisoned(self: GPT, batch, progress):  # type: ignore[no-untyped-def]
        loss = real(self, batch, progress)
        return loss._replace(total=loss.total * float("nan")) if progress > 0.5 else loss

    monkeypatch.setattr(GPT, "loss", poisoned)
    with pytest.raises(TrainingError, match="nothing was updated"):
        loop.pretrain(small_config("gpt", text_folder), tmp_path / "run", quiet=True)
    replay = json.loads((tmp_path / "run" / "replay.json").read_text())
    assert replay["step"] == 13
    assert len(replay["samples"]) == 8
    saved, _ = checkpoint.newest(tmp_path / "run" / "checkpoints")
    assert saved is not None
    assert saved.step == 10
    assert all(torch.isfinite(t.float()).all() for t in saved.tensors.values())
    assert Run.open(tmp_path / "run").info["status"] == "failed"


def test_coupled_samples_refuse_accumulation(tmp_path: Path, image_folder: Path) -> None:
    with pytest.raises(ConfigError, match="would change simclr"):
        loop.pretrain(
            small_config("simclr", image_folder, accumulate=2), tmp_path / "run", quiet=True
        )


def test_accumulation_equals_the_large_batch(tmp_path: Path, text_folder: Path) -> None:
    """Micro-batches with unequal numbers of targets give the gradient of the whole batch."""
    whole = train(tmp_path / "one", small_config("bert", text_folder, steps=6))
    parts = train(tmp_path / "four", small_config("bert", text_folder, steps=6, accumulate=4))
    a, b = np.array(losses(whole))[:, 1], np.array(losses(parts))[:, 1]
    np.testing.assert_allclose(a, b, rtol=2e-5)
