"""Collapse forced on the token methods and on LeJEPA is caught, and named, before step 300."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.loop.collapsing import caught, long_config
from unlabeled import loop
from unlabeled.journal import read_lines
from unlabeled.methods import catalogue, tcn, vip


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
    "where",
    [
        "unlabeled.methods.data2vec:Data2Vec",
        "unlabeled.methods.ijepa:IJEPA",
        "unlabeled.methods.vjepa:VJEPA",
    ],
)
def test_targets_that_meet_the_guess(
    where: str, images: Path, clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, name = where.partition(":")
    monkeypatch.setattr(f"{module}.{name}.targets", _with_gradient)
    method, data = _data(module.rpartition(".")[2], images, clip_folder)
    faster = method == "vjepa"  # its slow teacher, which is watched, would collapse too late
    config = long_config(method, data, 3e-3 if faster else 1e-3)
    if faster:
        config = config.model_copy(update={"method": {**config.method, "momentum": 0.9}})
    assert "collapsing" in caught(config, tmp_path / "run")


def _data(method: str, images: Path, clips: Path) -> tuple[str, Path]:
    return method, clips if catalogue.describe(method).modalities[0] == "video" else images


@pytest.mark.slow
def test_time_contrast_without_negatives(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def near_alone(_: Any, anchor: Tensor, near: Tensor, far: Tensor) -> Tensor:
        near_by = -tcn.apart(anchor, near)
        return torch.stack([near_by, torch.zeros_like(near_by)], 1)

    monkeypatch.setattr(tcn.TCN, "logits", near_alone)
    assert "collapsing" in caught(long_config("tcn", clip_folder, 1e-2), tmp_path / "run")


@pytest.mark.slow
def test_values_that_need_not_grow(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vip.VIP, "objective", lambda _, value: -value[:, 0].mean())
    assert "collapsing" in caught(long_config("vip", clip_folder, 1e-2), tmp_path / "run")


@pytest.mark.slow
def test_lejepa_without_its_gaussian(images: Path, tmp_path: Path) -> None:
    assert "collapsing" in caught(long_config("lejepa", images, 1e-2, gauss=0.0), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["simmim", "ijepa", "data2vec", "vjepa"])
def test_a_rate_that_ruins_the_features(
    method: str, images: Path, clip_folder: Path, tmp_path: Path
) -> None:
    config = long_config(*_data(method, images, clip_folder), 3.0)
    assert "optim.lr" in caught(config, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "rate"),
    [
        ("lejepa", 1e-3), ("ibot", 5e-4), ("dinov2", 1e-3), ("simmim", 2e-4),
        ("ijepa", 2e-4), ("data2vec", 2e-4), ("vjepa", 2e-4), ("tcn", 1e-3), ("vip", 1e-3),
    ],
)  # fmt: skip
def test_healthy_runs_raise_no_alarm(
    method: str, rate: float, images: Path, clip_folder: Path, tmp_path: Path
) -> None:
    config = long_config(*_data(method, images, clip_folder), rate)
    loop.pretrain(config, tmp_path / "run", quiet=True)
    assert [line["alarms"] for line in read_lines(tmp_path / "run" / "health.jsonl")] == [[]] * 15
