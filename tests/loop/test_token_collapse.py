"""Collapse forced on the token methods and on LeJEPA is caught, and named, before step 300."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from tests.loop.collapsing import caught, long_config
from unlabeled import loop
from unlabeled.journal import read_lines


def _with_gradient(method: Any, images: Tensor) -> Tensor:
    """Targets that are the student's own, neither normalised nor held still."""
    tokens: Tensor = method.encoder.tokens(images)
    return tokens[:, method.encoder.num_prefix :]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ibot", "dinov2"])
def test_a_teacher_that_says_nothing(method: str, images: Path, tmp_path: Path) -> None:
    config = long_config(method, images, 5e-4, teacher_temperature=5.0, first_temperature=5.0)
    assert "targets are uniform" in caught(config, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    "where", ["unlabeled.methods.data2vec:Data2Vec", "unlabeled.methods.ijepa:IJEPA"]
)
def test_targets_that_meet_the_guess(
    where: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, name = where.partition(":")
    monkeypatch.setattr(f"{module}.{name}.targets", _with_gradient)
    config = long_config(module.rpartition(".")[2], images, 1e-3)
    assert "collapsing" in caught(config, tmp_path / "run")


@pytest.mark.slow
def test_lejepa_without_its_gaussian(images: Path, tmp_path: Path) -> None:
    assert "collapsing" in caught(long_config("lejepa", images, 1e-2, gauss=0.0), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["simmim", "ijepa", "data2vec"])
def test_a_rate_that_ruins_the_features(method: str, images: Path, tmp_path: Path) -> None:
    assert "optim.lr" in caught(long_config(method, images, 3.0), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "rate"),
    [
        ("lejepa", 1e-3), ("ibot", 5e-4), ("dinov2", 1e-3), ("simmim", 2e-4),
        ("ijepa", 2e-4), ("data2vec", 2e-4),
    ],
)  # fmt: skip
def test_healthy_runs_raise_no_alarm(
    method: str, rate: float, images: Path, tmp_path: Path
) -> None:
    loop.pretrain(long_config(method, images, rate), tmp_path / "run", quiet=True)
    assert [line["alarms"] for line in read_lines(tmp_path / "run" / "health.jsonl")] == [[]] * 15
