"""DINO's loss, centre and schedule against lightly's implementation of the authors' code."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import DINOLoss
from lightly.models.modules.heads import DINOProjectionHead

from tests.vision.small import batch, method
from unlabeled.nn.distill import distill, sharpen
from unlabeled.nn.ema import ema_update, frozen_copy
from unlabeled.nn.heads import PrototypeHead, Prototypes
from unlabeled.schedule import linear


def test_five_epochs_equal_lightlys_with_warm_up_and_centre() -> None:
    torch.manual_seed(1)
    oracle = DINOLoss(32, 0.04, 0.07, warmup_teacher_temp_epochs=4, student_temp=0.1)
    centre = torch.zeros(32)
    for epoch in range(5):
        heard, scores = torch.randn(2, 6, 32), torch.randn(5, 6, 32)
        theirs = oracle(list(heard), list(scores), epoch=epoch)
        temperature = linear(0.04, 0.07, epoch / 3)
        ours = distill(sharpen(heard, centre, temperature), scores, 0.1)
        centre = centre.lerp(heard.mean((0, 1)), 1 - 0.9)
        assert ours.loss.item() == pytest.approx(theirs.item(), rel=2e-6)
        torch.testing.assert_close(centre, oracle.center.flatten())


def test_the_method_moves_the_centre_as_lightlys_does() -> None:
    dino = method("dino").train()
    seen = batch(dino)
    oracle = DINOLoss(32, 0.04, 0.04, student_temp=0.1)
    for _ in range(2):
        with torch.no_grad():
            heard = dino.teacher_head(dino.teacher(seen["global"].flatten(0, 1))).unflatten(
                0, (2, -1)
            )
            parts = [dino.head(dino.encoder(seen[kind].flatten(0, 1))) for kind in dino.views()]
        scores = torch.cat(parts).unflatten(0, (-1, 8))
        theirs = oracle(list(heard), list(scores))
        loss = dino.loss(seen, 0.0)
        dino.after_step(0.5)
        assert loss.total.item() == pytest.approx(theirs.item(), rel=1e-5)
        torch.testing.assert_close(dino.balance.centre.value, oracle.center.flatten())


@pytest.mark.parametrize("norm", [False, True])
def test_head_equals_lightlys_with_the_same_weights(norm: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs uses a deprecated weight_norm
        theirs = DINOProjectionHead(12, 16, 8, 20, norm, freeze_last_layer=0, norm_last_layer=True)
    ours = PrototypeHead(12, 16, 8, 20, norm=norm)
    # Of the modules with weights: lightly leaves out biases that BatchNorm follows, as we do.
    weighted = [[m for m in net.modules() if isinstance(m, torch.nn.Linear | torch.nn.BatchNorm1d)]
                for net in (ours.mlp, theirs.layers)]  # fmt: skip
    for mine, other in zip(*weighted, strict=True):
        mine.load_state_dict(other.state_dict())
    ours.prototypes.weight.data = theirs.last_layer.weight_v.data.clone()
    x = torch.randn(5, 12)
    torch.testing.assert_close(ours(x), theirs(x))


def test_scores_are_cosines() -> None:
    x = F.normalize(torch.randn(4, 8), dim=-1)
    scores = Prototypes(8, 6)(x)
    assert scores.abs().max() <= 1
    learned = Prototypes(8, 6, learn_norms=True)
    learned.norms.data.fill_(3.0)
    assert learned(x).abs().max() > 1


def test_uniform_collapse_is_ln_k_and_single_collapse_has_no_entropy() -> None:
    flat = torch.zeros(2, 4, 16)
    found = distill(sharpen(flat, torch.zeros(16), 0.04), flat, 0.1)
    for value in (found.loss, found.entropy, found.target_entropy):
        assert value.item() == pytest.approx(math.log(16), rel=1e-5)
    peaked = flat.clone()
    peaked[..., 3] = 1.0
    found = distill(sharpen(peaked, torch.zeros(16), 0.01), peaked, 0.1)
    assert found.entropy.item() == pytest.approx(0.0, abs=1e-5)
    assert found.agreement.item() == 1.0


def test_one_view_cannot_teach_itself() -> None:
    with pytest.raises(ValueError, match="two views"):
        distill(torch.ones(1, 2, 4) / 4, torch.zeros(1, 2, 4), 0.1)


def test_teacher_is_the_closed_form_of_its_average() -> None:
    student = torch.nn.Linear(3, 2)
    teacher = frozen_copy(student)
    start = teacher.weight.clone()
    student.weight.data.fill_(1.0)
    for _ in range(10):
        ema_update(teacher, student, 0.9)
    torch.testing.assert_close(teacher.weight, 1 + 0.9**10 * (start - 1))
    assert not teacher.weight.requires_grad


def test_teacher_drops_no_paths_and_momentum_reaches_one() -> None:
    dino = method("dino")
    before = {k: x.clone() for k, x in dino.teacher.state_dict().items()}
    for p in dino.encoder.parameters():
        p.data.add_(1.0)
    dino.after_step(1.0)
    assert all(torch.equal(x, before[k]) for k, x in dino.teacher.state_dict().items())
    dino.after_step(0.0)
    moved = dino.teacher.model.norm.weight - before["model.norm.weight"]
    torch.testing.assert_close(moved, torch.full_like(moved, 1 - 0.996), rtol=1e-3, atol=0)


def test_prototypes_are_held_at_first() -> None:
    dino = method("dino")
    last = [g for g in dino.param_groups() if "frozen_until" in g]
    assert [p.shape for g in last for p in g["params"]] == [(32, 16)]
    every = [id(p) for g in dino.param_groups() for p in g["params"]]
    assert len(every) == len(set(every)) == sum(p.requires_grad for p in dino.parameters())
