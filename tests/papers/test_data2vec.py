"""data2vec's targets from timm's own outputs, its loss by hand, its teacher's schedule."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.vision.small import batch, method


def test_targets_are_normalised_means_of_timms_blocks() -> None:
    data2vec = method("data2vec", top_blocks=2).eval()
    images = batch(data2vec)["global"][0]
    model = data2vec.teacher.model
    with torch.no_grad():
        outputs = model.forward_intermediates(
            images, indices=2, norm=False, output_fmt="NLC", intermediates_only=True
        )
        naive = torch.stack([F.layer_norm(x, x.shape[-1:]) for x in outputs]).mean(0)
        naive = (naive - naive.mean(-1, keepdim=True)) / naive.std(-1, correction=0, keepdim=True)
    torch.testing.assert_close(data2vec.targets(images), naive, rtol=1e-3, atol=1e-4)


def test_loss_is_a_square_up_to_beta_and_a_line_beyond() -> None:
    for beta in (2.0, 0.1):
        data2vec = method("data2vec", beta=beta).eval()
        seen = batch(data2vec)
        found = data2vec.loss(seen, 0.5)
        images, hidden = seen["global"][0], data2vec.hide(seen.keys)
        with torch.no_grad():
            _, patches = data2vec.encoder.feature_and_patches(images, hidden, data2vec.mask_token)
            error = (data2vec.predict(patches) - data2vec.targets(images)).abs()[hidden]
        by_hand = torch.where(error < beta, error.square() / (2 * beta), error - beta / 2).mean()
        assert found.total.item() == pytest.approx(by_hand.item(), rel=1e-5)
        assert found.parts["targets"] == hidden.sum()


def test_targets_see_the_whole_image_and_the_student_does_not() -> None:
    data2vec = method("data2vec").eval()
    seen = batch(data2vec)
    images, hidden = seen["global"][0], data2vec.hide(seen.keys)
    cover = hidden.view(8, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    other = torch.where(cover, 5.0, images)
    views = [
        data2vec.encoder.feature_and_patches(x, hidden, data2vec.mask_token)[1]
        for x in (images, other)
    ]
    torch.testing.assert_close(*views)
    assert (data2vec.targets(images) - data2vec.targets(other)).abs().max() > 0.1


def test_the_share_of_hidden_patches_is_near_the_ratio() -> None:
    data2vec = method("data2vec")
    hidden = data2vec.hide(batch(data2vec, 256).keys)
    counts = hidden.sum(1)
    assert counts.max() <= int(0.6 * 16)
    assert counts.min() >= 1
    assert counts.float().mean().item() > 0.75 * 0.6 * 16


def test_the_teacher_slows_down_over_the_first_share_of_a_run() -> None:
    data2vec = method("data2vec", first_momentum=0.9, momentum=0.99, momentum_warmup=0.5)
    for progress, left in ((0.0, 0.1), (0.25, 0.055), (0.5, 0.01), (1.0, 0.01)):
        before = data2vec.teacher.model.norm.weight.clone()
        data2vec.encoder.model.norm.weight.data = before + 1
        data2vec.after_step(progress)
        moved = data2vec.teacher.model.norm.weight - before
        assert moved.mean().item() == pytest.approx(left, abs=1e-6)
