"""A run on two ranks: the numbers of one, checkpoints for one, and no waiting for the dead."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from tests.loop.running import Child, losses, small_config, state_hash, train
from unlabeled import checkpoint
from unlabeled.config import RunConfig
from unlabeled.methods import catalogue


def _ranks(out: Path, config: RunConfig | None) -> list[Child]:
    """Start two ranks of a run on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = []
    for rank in ("0", "1"):
        os.environ.update({**shared, "RANK": rank, "LOCAL_RANK": rank})
        children.append(Child(out, config))
    for name in (*shared, "RANK", "LOCAL_RANK"):
        os.environ.pop(name, None)
    return children


@pytest.mark.parametrize("method", ["mae", "bert", "simclr", "videomae"])
def test_two_ranks_give_the_losses_of_one(
    method: str, tmp_path: Path, folders: dict[str, Path]
) -> None:
    """R4: the same global batch, the same losses within 1e-5 (relative) for 12 steps."""
    data = folders[catalogue.describe(method).modalities[0]]
    config = small_config(method, data, steps=12)
    ranks = _ranks(tmp_path / "two", config)
    assert [child.wait() for child in ranks] == [0, 0], ranks[0].log()
    one = train(tmp_path / "one", config)
    two = np.array(losses(tmp_path / "two"))
    np.testing.assert_allclose(two, np.array(losses(one)), rtol=1e-5)


def test_checkpoint_of_two_ranks_goes_on_with_one(tmp_path: Path, image_folder: Path) -> None:
    config = small_config("mae", image_folder, steps=14)
    out = tmp_path / "run"
    ranks = _ranks(out, config)
    ranks[0].wait_for_step(6)
    assert {child.kill(signal.SIGTERM) for child in ranks} <= {143, -15}
    saved, _ = checkpoint.newest(out / "checkpoints")
    assert saved is not None
    assert saved.record["world"] == 2
    assert Child(out, None).wait() == 0
    whole = train(tmp_path / "one", config)
    np.testing.assert_allclose(np.array(losses(out)), np.array(losses(whole)), rtol=1e-5)
    assert state_hash(out) != ""


def test_a_dead_rank_ends_the_other(tmp_path: Path, image_folder: Path) -> None:
    """R17: rank 1 killed; rank 0 ends with an error within seconds, not after 30 minutes."""
    ranks = _ranks(tmp_path / "run", small_config("mae", image_folder, steps=2000))
    ranks[0].wait_for_step(3)
    ranks[1].kill(signal.SIGKILL)
    begun = time.monotonic()
    assert ranks[0].wait(90) != 0
    assert time.monotonic() - begun < 60
