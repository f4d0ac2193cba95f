"""COLA's loss, from the paper's equation written out with loops, and at chance."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.loop.running import small_config
from unlabeled.prepare import Prepared, prepare
from unlabeled.state import batches, build


@pytest.fixture(scope="module")
def prepared(sound_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(small_config("cola", sound_folder), tmp_path_factory.mktemp("run"))


def test_loss_equals_the_equation(prepared: Prepared, sound_folder: Path) -> None:
    state = build(small_config("cola", sound_folder), Path(), prepared)
    method, batch = state.method.eval(), next(batches(state))
    with torch.no_grad():
        ours = method.loss(batch, 0.0)
        one, two = (method.projector(method.encoder(x)) for x in batch["global"])
        total = 0.0
        for i in range(len(batch)):
            scores = [one[i] @ method.bilinear @ two[j] for j in range(len(batch))]
            total -= scores[i] - torch.stack(scores).logsumexp(0)
    assert ours.total.item() == pytest.approx(total.item() / len(batch), rel=1e-5)
    assert one.abs().max() <= 1  # tanh


def test_a_form_of_zeros_knows_nothing(prepared: Prepared, sound_folder: Path) -> None:
    state = build(small_config("cola", sound_folder), Path(), prepared)
    batch = next(batches(state))
    torch.nn.init.zeros_(state.method.bilinear)
    expected = state.method.chance(len(batch))
    assert state.method.loss(batch, 0.0).total.item() == pytest.approx(expected, rel=1e-6)
    assert expected == math.log(len(batch))


def test_segments_are_half_a_recording_and_not_distorted(
    prepared: Prepared, sound_folder: Path
) -> None:
    state = build(small_config("cola", sound_folder), Path(), prepared)
    batch = next(batches(state))
    heard = batch["global"][..., -1].sum(-1)  # (2, B) frames that hold sound
    whole = small_config("cola", sound_folder).modality.seconds * 100
    assert (heard <= whole / 2 + 1).all()
    assert torch.equal(heard[0], heard[1])
    assert not torch.equal(batch["global"][0], batch["global"][1])
