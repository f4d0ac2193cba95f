"""iBOT's patch loss against lightly's port of the authors' code, and how its parts meet."""

from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import IBOTPatchLoss

from tests.vision.small import batch, method
from unlabeled.nn.centre import Centre
from unlabeled.nn.distill import distill, distill_patches, sharpen


def test_patch_loss_gradient_and_centre_equal_lightlys() -> None:
    torch.manual_seed(0)
    oracle, centre = IBOTPatchLoss(16, teacher_temp=0.05, student_temp=0.1), Centre(16, 0.9)
    for _ in range(3):
        mask = torch.rand(5, 4, 4) < torch.tensor([0.0, 0.2, 0.5, 0.9, 0.5])[:, None, None]
        crops = mask.flatten(1).nonzero()[:, 0]
        heard = torch.randn(len(crops), 16)
        scores = torch.randn(len(crops), 16, requires_grad=True)
        theirs = oracle(heard, scores, mask)
        ours = distill_patches(sharpen(heard, centre.value, 0.05), scores, crops, 5, 0.1).loss
        centre.hear(heard)
        centre.move()
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
        (one,), (two,) = (torch.autograd.grad(value, scores) for value in (ours, theirs))
        torch.testing.assert_close(one, two)
        torch.testing.assert_close(centre.value, oracle.center.value.flatten())


def test_uniform_patches_cost_ln_k_a_crop_that_has_any() -> None:
    crops, flat = torch.tensor([0, 0, 2]), torch.zeros(3, 8)
    found = distill_patches(flat.softmax(-1), flat, crops, 4, 0.1)
    assert found.loss.item() == pytest.approx(math.log(8) / 2)
    assert found.target_entropy.item() == pytest.approx(math.log(8))


def test_no_hidden_patch_is_no_loss_and_no_nan() -> None:
    scores = torch.zeros(0, 8, requires_grad=True)
    found = distill_patches(torch.zeros(0, 8), scores, torch.zeros(0, dtype=torch.long), 4, 0.1)
    assert [float(x.detach()) for x in found] == [0, 0, 0, 0]
    found.loss.backward()


def test_the_student_sees_the_mask_token_where_patches_are_hidden() -> None:
    ibot = method("ibot").eval()
    image, (x, *_) = ibot.encoder, batch(ibot)["global"]
    hidden = torch.zeros(8, 16, dtype=torch.bool)
    hidden[:, 3] = True
    plain = image.embed(x)
    token = torch.randn_like(ibot.mask_token)
    seen = image.embed(x, hidden, token)
    first = image.num_prefix
    same = torch.ones(first + 16, dtype=torch.bool)
    same[first + 3] = False
    assert torch.equal(seen[:, same], plain[:, same])
    positions = plain - image.embed(torch.zeros_like(x)) * 0
    assert not torch.equal(seen[:, ~same], positions[:, ~same])
    everywhere = image.embed(x, torch.ones_like(hidden), token)
    torch.testing.assert_close(everywhere[0], everywhere[1])  # nothing of the image is left
    assert not torch.allclose(everywhere[0, first], everywhere[0, first + 1])  # positions are


@pytest.mark.parametrize("shared", [True, False])
def test_loss_is_the_sum_of_its_parts(shared: bool) -> None:
    ibot = method("ibot", shared_head=shared, mask_share=1.0).train()
    seen = batch(ibot)
    found = ibot.loss(seen, 0.4)
    assert len(ibot.heads) == (1 if shared else 2)
    whole = found.total - found.parts["patch_loss"]
    with torch.no_grad():
        large = seen["global"].flatten(0, 1)
        said = ibot.teacher_heads[0](ibot.teacher(large)).view(2, 8, -1)
        hidden = ibot.hide(seen.keys)
        feature, _ = ibot.encoder.feature_and_patches(large, hidden, ibot.mask_token)
        local = ibot.encoder(seen["local"].flatten(0, 1))
        scores = ibot.heads[0](torch.cat([feature, local])).view(-1, 8, 32)
        again = distill(sharpen(said, torch.zeros(32), 0.03), scores, 0.1).loss
    assert whole.item() == pytest.approx(again.item(), rel=1e-5)


def test_centres_are_two_and_move_between_steps() -> None:
    ibot = method("ibot", mask_share=1.0).train()
    ibot.loss(batch(ibot), 0.0)
    assert not ibot.centre.value.any()
    ibot.after_step(0.5)
    assert ibot.centre.value.any()
    assert ibot.patch_centre.value.any()
    assert not torch.equal(ibot.centre.value, ibot.patch_centre.value)


def test_prototypes_are_held_at_first() -> None:
    ibot = method("ibot", shared_head=False)
    last = [g for g in ibot.param_groups() if "frozen_until" in g]
    assert [p.shape for g in last for p in g["params"]] == [(32, 16), (32, 16)]
    every = [id(p) for g in ibot.param_groups() for p in g["params"]]
    assert len(every) == len(set(every)) == sum(p.requires_grad for p in ibot.parameters())
