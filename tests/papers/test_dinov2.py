"""DINOv2's parts against lightly's ports and closed forms, and how they add up."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import KoLeoLoss

from tests.vision.small import batch, method
from unlabeled.nn.block_masks import crop_masks
from unlabeled.nn.centre import Balance
from unlabeled.nn.distill import distill, distill_patches
from unlabeled.nn.gram import Anchor, gram_distance
from unlabeled.nn.groups import layer_scales
from unlabeled.nn.koleo import koleo
from unlabeled.nn.sinkhorn import sinkhorn


def test_koleo_and_its_gradient_equal_lightlys() -> None:
    x = torch.randn(12, 5, requires_grad=True)
    ours, theirs = koleo(x), KoLeoLoss()(x)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    (one,), (two,) = (torch.autograd.grad(value, x) for value in (ours, theirs))
    torch.testing.assert_close(one, two)


def test_koleo_has_closed_forms() -> None:
    """Corners of a cross are sqrt(2) apart; equal samples are eps apart."""
    cross = torch.cat([torch.eye(4), -torch.eye(4)])
    assert koleo(3 * cross).item() == pytest.approx(-math.log(2) / 2, rel=1e-5)
    assert koleo(torch.ones(4, 3)).item() == pytest.approx(
        -math.log(1e-8 * 3**0.5 + 1e-8), rel=1e-3
    )


def test_gram_is_the_mean_square_of_differing_cosines() -> None:
    x, y = torch.randn(3, 6, 4), torch.randn(3, 6, 7)
    naive = 0.0
    for image in range(3):
        for i in range(6):
            for j in range(6):
                one = F.cosine_similarity(x[image, i], x[image, j], dim=0)
                two = F.cosine_similarity(y[image, i], y[image, j], dim=0)
                naive += float((one - two) ** 2) / (3 * 36)
    assert gram_distance(x, y).item() == pytest.approx(naive, rel=1e-4)
    turned = x @ torch.linalg.qr(torch.randn(4, 4)).Q
    assert gram_distance(x, 2 * turned).item() == pytest.approx(0, abs=1e-10)


def test_rates_are_those_of_the_authors_rule() -> None:
    """dinov2/utils/param_groups.py: rate ** (L + 1 - id), id 0 before the blocks, i + 1 in them."""
    dinov2 = method("dinov2", layer_decay=0.5, patch_rate=0.2)
    depth = len(dinov2.encoder.model.blocks)
    scales = layer_scales([n for n, _ in dinov2.named_parameters()], depth, 0.5, 0.2)
    first = 0.5 ** (depth + 1)
    assert scales["encoder.model.patch_embed.proj.weight"] == pytest.approx(0.2 * first)
    assert scales["encoder.model.pos_embed"] == scales["mask_token"] == first
    assert scales["encoder.model.blocks.0.norm1.weight"] == 0.5**depth
    assert scales[f"encoder.model.blocks.{depth - 1}.mlp.fc1.bias"] == 0.5
    assert scales["encoder.model.norm.weight"] == scales["heads.0.mlp.0.weight"] == 1.0
    groups = dinov2.param_groups()
    every = [id(p) for g in groups for p in g["params"]]
    assert len(every) == len(set(every)) == sum(p.requires_grad for p in dinov2.parameters())
    assert all(g["decay"] == (p.ndim > 1) for g in groups for p in g["params"])
    assert [g["frozen_until"] for g in groups if "frozen_until" in g] == [0.01]


@pytest.mark.parametrize("shared", [True, False])
def test_loss_is_dino_and_ibot_and_koleo_of_each_crop(shared: bool) -> None:
    dinov2 = method("dinov2", shared_head=shared, ibot=0.7, koleo=0.3).eval()
    seen = batch(dinov2)
    total = dinov2.loss(seen, 1.0)
    with torch.no_grad():
        large = seen["global"].flatten(0, 1)
        feature, patches = dinov2.teacher.feature_and_patches(large)
        hidden = crop_masks(seen.keys, 4, 0.5, (0.1, 0.5), spread=True)
        targets = sinkhorn(dinov2.teacher_heads[0](feature), 0.07).view(2, 8, -1)
        hints = sinkhorn(dinov2.teacher_heads[-1](patches[hidden]), 0.07)
        feature, patches = dinov2.encoder.feature_and_patches(large, hidden, dinov2.mask_token)
        local = dinov2.encoder(seen["local"].flatten(0, 1))
        scores = dinov2.heads[0](torch.cat([feature, local])).view(-1, 8, 32)
        whole = distill(targets, scores, 0.1).loss
        guesses = dinov2.heads[-1](patches[hidden])
        part = distill_patches(hints, guesses, hidden.nonzero()[:, 0], 16, 0.1).loss
        near = sum(KoLeoLoss()(one) for one in feature.chunk(2))
    expected = whole + 0.7 * part + 0.3 * near
    assert total.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert len(dinov2.heads) == (1 if shared else 2)


def test_half_of_the_crops_have_hidden_patches() -> None:
    dinov2 = method("dinov2", temperature=3.0).eval()
    found = dinov2.loss(batch(dinov2), 1.0)
    assert found.parts["patch_loss"].item() == pytest.approx(math.log(32) / 2, rel=0.05)


def test_a_centre_balances_as_in_dino_and_sinkhorn_keeps_nothing() -> None:
    scores = torch.randn(6, 8)
    centre = Balance(8, "centre").train()
    torch.testing.assert_close(centre(scores, 0.5), (scores / 0.5).softmax(-1))
    centre.move()
    torch.testing.assert_close(centre.centre.value, 0.1 * scores.mean(0))
    assert not list(Balance(8, "sinkhorn").state_dict())


def test_the_anchor_is_the_teacher_of_one_moment() -> None:
    dinov2 = method("dinov2", gram=1.0, gram_from=0.5, momentum=0.0).train()
    seen = batch(dinov2)
    assert "gram" not in dinov2.loss(seen, 0.4).parts
    for p in dinov2.encoder.parameters():
        p.data.mul_(1.1)
    dinov2.after_step(0.4)
    assert not dinov2.anchor.taken
    dinov2.after_step(0.5)
    kept = {k: x.clone() for k, x in dinov2.anchor.encoder.state_dict().items()}
    assert all(torch.equal(x, dinov2.teacher.state_dict()[k]) for k, x in kept.items())
    for p in dinov2.encoder.parameters():
        p.data.mul_(1.1)
    dinov2.after_step(0.6)
    assert all(torch.equal(x, kept[k]) for k, x in dinov2.anchor.encoder.state_dict().items())
    found = dinov2.loss(seen, 0.7)
    assert found.parts["gram"] > 0
    assert isinstance(dinov2.anchor, Anchor)


def test_registers_are_no_patches() -> None:
    dinov2 = method("dinov2", encoder_options={"reg_tokens": 2})
    _, patches = dinov2.encoder.feature_and_patches(torch.randn(2, 3, 16, 16))
    assert dinov2.encoder.num_prefix == 3
    assert patches.shape[1] == 16
    dinov2.loss(batch(dinov2), 0.5).total.backward()
    assert dinov2.encoder.model.reg_token.grad is not None
