"""Collapse that is forced on each method is caught, and named, before step 300."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from tests.loop.collapsing import caught, long_config
from unlabeled import loop
from unlabeled.config import RunConfig

RATES = {
    "simclr": 0.03,
    "simsiam": 0.03,
    "dino": 5e-4,
    "mae": 1e-3,
    "gpt": 3e-3,
    "bert": 3e-3,
    "videomae": 1e-3,
    "vicreg": 0.01,  # at 0.03 its projections do lie on one line, for a hundred steps
}
ADAM = ("dino", "mae", "gpt", "bert", "videomae")
JOINT = ("mocov3", "byol", "barlow", "vicreg", "nnclr")  # moco and swav start slower than this
HEALTHY: dict[str, dict[str, Any]] = {  # what the tiny settings of other tests leave out
    "nnclr": {"queue": 256},
    "barlow": {"redundancy": 0.1},  # a projection of 32 dimensions has few pairs to weigh
}


def _config(method: str, data: Path, *, rate: float | None = None, **options: Any) -> RunConfig:
    name = "adamw" if method in ADAM else "sgd"
    return long_config(method, data, rate or RATES.get(method, 0.03), name, **options)


def _only_alike(one: torch.Tensor, two: torch.Tensor, _: float) -> tuple[torch.Tensor, Any]:
    """SimCLR's loss without its negatives: nothing holds samples apart."""
    return 1 - F.cosine_similarity(one.float(), two.float()).mean(), torch.tensor(0.0)


@pytest.mark.slow
def test_simclr_without_negatives(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlabeled.methods.simclr.nt_xent", _only_alike)
    assert "collapsing" in caught(_config("simclr", images), tmp_path / "run")


@pytest.mark.slow
def test_simsiam_without_predictor_and_stopped_gradient(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alike(_: Any, here: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        return F.cosine_similarity(here.float(), there.float(), dim=-1).mean()

    monkeypatch.setattr("unlabeled.methods.simsiam.SimSiam._agree", alike)
    assert "collapsing" in caught(_config("simsiam", images), tmp_path / "run")


def _alike(one: torch.Tensor, two: torch.Tensor, *_: Any) -> tuple[torch.Tensor, Any]:
    """A contrastive loss without its negatives, with gradient to both sides."""
    return _only_alike(one, two, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["moco", "mocov3", "nnclr"])
def test_contrast_without_negatives(
    method: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher, or the neighbour, is the student itself, so that nothing else holds either."""
    loss = "queue_nce" if method == "moco" else "batch_nce"
    monkeypatch.setattr(f"unlabeled.methods.{method}.{loss}", _alike)
    monkeypatch.setattr("unlabeled.nn.queue.Queue.nearest", lambda _, x: x)
    if method == "mocov3":
        monkeypatch.setattr(
            "unlabeled.methods.mocov3.SymmetricMoCo._find", lambda _, q, k: _alike(q, k)
        )
    options = {} if method == "nnclr" else {"momentum": 0.0}
    rate = 0.1 if method == "mocov3" else None  # two heads in a row hold out longest
    assert "collapsing" in caught(_config(method, images, rate=rate, **options), tmp_path / "run")


@pytest.mark.slow
def test_byol_without_predictor_and_slowness(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unlabeled.methods.byol import BYOL

    begin = BYOL.__init__

    def bare(self: Any, *given: Any) -> None:
        begin(self, *given)
        self.predictor = torch.nn.Identity()

    monkeypatch.setattr(BYOL, "__init__", bare)
    config = _config("byol", images, rate=0.1, momentum=0.0)
    assert "collapsing" in caught(config, tmp_path / "run")


@pytest.mark.slow
def test_swav_without_sharing_out(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Assignments are what the scores say: one prototype may take all samples."""

    def greedy(scores: torch.Tensor, temperature: float, _: int) -> torch.Tensor:
        return (scores / 0.01).softmax(-1)

    monkeypatch.setattr("unlabeled.methods.swav.sinkhorn", greedy)
    said = caught(_config("swav", images, rate=0.1, queue=0), tmp_path / "run")
    assert "share one prototype" in said or "collapsing" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options"), [("barlow", {"redundancy": 0.0}), ("vicreg", {"variance": 0.0})]
)
def test_terms_that_hold_samples_apart_are_left_out(
    method: str, options: dict[str, float], images: Path, tmp_path: Path
) -> None:
    config = _config(method, images, **options)
    assert "collapsing" in caught(config, tmp_path / "run")


@pytest.mark.slow
def test_dino_without_centre(images: Path, tmp_path: Path) -> None:
    config = _config(
        "dino", images, centre_momentum=1.0, teacher_temperature=0.02, first_temperature=0.02
    )
    assert "share one prototype" in caught(config, tmp_path / "run")


def test_dino_with_a_teacher_that_says_nothing(images: Path, tmp_path: Path) -> None:
    config = _config("dino", images, teacher_temperature=1.0, first_temperature=1.0)
    assert "targets are uniform" in caught(config, tmp_path / "run")


@pytest.mark.parametrize("method", ["mae", "gpt", "bert", "videomae"])
def test_a_rate_that_ruins_the_features(
    method: str, images: Path, text_folder: Path, clip_folder: Path, tmp_path: Path
) -> None:
    """Methods whose targets are data cannot collapse by agreeing; a wild rate still ruins them."""
    data = {"gpt": text_folder, "bert": text_folder, "videomae": clip_folder}.get(method, images)
    said = caught(_config(method, data, rate=3.0), tmp_path / "run")
    assert "optim.lr" in said


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "method",
    [
        "simclr",
        "simsiam",
        "mae",
        "gpt",
        "bert",
        *JOINT,
    ],
)
def test_healthy_runs_raise_no_alarm(
    method: str, seed: int, images: Path, text_folder: Path, tmp_path: Path
) -> None:
    """Healthy runs of 300 steps; DINO's is in test_dino_learns.py, on real images."""
    data = text_folder if method in ("gpt", "bert") else images
    config = _config(method, data, **HEALTHY.get(method, {}))
    config = config.model_copy(update={"loop": config.loop.model_copy(update={"seed": seed})})
    run: Callable[[], Any] = lambda: loop.pretrain(config, tmp_path / "run", quiet=True)  # noqa: E731
    run()
    from unlabeled.journal import read_lines

    assert [line["alarms"] for line in read_lines(tmp_path / "run" / "health.jsonl")] == [[]] * 15
