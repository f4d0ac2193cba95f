"""Continuing from weights: what ruins them is said in words, and what is chosen spares them.

The failure is that of dinov2's issue 204: continued with a rate for training from zero and heads
that begin at random, features lose within minutes what the weights knew.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.loop.running import small_config
from unlabeled import loop
from unlabeled.choices import Request
from unlabeled.config import EncoderConfig, ImageConfig
from unlabeled.encoders.vision import build
from unlabeled.health import WORDS, kept
from unlabeled.journal import read_lines
from unlabeled.plan import plan

ENCODER = {"patch": 4, "options": {"depth": 2, "embed_dim": 48, "num_heads": 3}}


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Return weights whose features tell images apart: a network as it is drawn does."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    config = EncoderConfig(name="timm:vit_tiny_patch16_224", **ENCODER)
    build(config, ImageConfig(size=16, mean=(0.3,), std=(0.2,))).save(folder)
    return folder


def continued(data: Path, weights: Path, out: Path, momentum: float = 0.9, **optim) -> list[dict]:
    """Run DINOv2 for 60 steps and return the lines of health."""
    config = small_config("dinov2", data, steps=60, batch=16, health_steps=10, save_steps=10**6)
    encoder = {"name": "timm:vit_tiny_patch16_224", "init": str(weights), **ENCODER}
    update = {"warmup": 0.05, "clip": None, **optim}
    config = config.model_copy(
        update={
            "encoder": EncoderConfig(**encoder),
            "method": {**config.method, "gram": 0.0, "momentum": momentum},
            "optim": config.optim.model_copy(update=update),
            "loop": config.loop.model_copy(update={"stop_on_collapse": False}),
        }
    )
    loop.pretrain(config, out, quiet=True)
    return read_lines(out / "health.jsonl")


def test_weights_that_are_being_ruined_are_told_of(image_folder, weights, tmp_path):
    lines = continued(image_folder, weights, tmp_path / "run", 0.5, lr=0.1)
    assert lines[-1]["kept"] < 0.25
    assert WORDS["drift"] in lines[-1]["alarms"]
    assert "drifted" in (tmp_path / "run" / "run.json").read_text()


def test_what_is_chosen_for_weights_spares_them(image_folder, weights, tmp_path):
    words = {"loop": {"batch": 16}, "method": {"out_dim": 64}}
    request = Request(
        data=str(image_folder), method="dinov2", steps=60, init=str(weights), overrides=words
    )
    planned = plan(request)
    chosen = {c.name: (c.value, c.reason) for c in planned.choices}
    assert chosen["encoder.name"] == ("timm:vit_tiny_patch16_224", "the weights' own")
    assert (chosen["encoder.patch"][0], chosen["modality.size"][0]) == (4, 16)
    assert chosen["modality.mean"] == ([0.3] * 3, "as the weights were trained")
    assert "a tenth of it so as to spare the weights" in chosen["optim.lr"][1]
    assert chosen["method.momentum"][0] == 0.999
    optim = planned.config.optim
    gentle = {"lr": optim.lr, "hold": optim.hold, "layer_decay": optim.layer_decay, "clip": 3.0}
    lines = continued(image_folder, weights, tmp_path / "run", 0.999, **gentle)
    assert [line["alarms"] for line in lines] == [[]] * len(lines)
    assert lines[0]["kept"] == 1  # the encoder has waited for the heads
    assert lines[-1]["kept"] > 0.8


def test_neighbours_that_are_kept_do_not_mind_turning_and_scaling():
    x = torch.randn(100, 16)
    turned = torch.linalg.qr(torch.randn(16, 16))[0]
    assert kept(x, 7 * x @ turned) > 0.99
    assert kept(x, torch.randn(100, 16)) < 0.06
    assert kept(x, x + 0.3 * torch.randn(100, 16)) == pytest.approx(0.6, abs=0.2)


def test_a_run_from_zero_has_nothing_to_keep(image_folder, tmp_path):
    config = small_config("simsiam", image_folder, steps=6)
    loop.pretrain(config, tmp_path / "run", quiet=True)
    assert "kept" not in read_lines(tmp_path / "run" / "health.jsonl")[-1]
