"""I-JEPA's masks against lightly's collator, its predictor against lightly's, and its loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from lightly.data import IJEPAMaskCollator
from lightly.models.modules import IJEPAPredictorTIMM

from tests.vision.small import batch, method
from unlabeled.nn.jepa_masks import Blocks, block_size, draw_blocks, gather_context
from unlabeled.nn.masks import take
from unlabeled.rng import moment, sample_key


def _keys(count: int) -> torch.Tensor:
    return torch.tensor([sample_key(0, 0, index) for index in range(count)])


@pytest.mark.parametrize("side", [6, 8, 14])
def test_sizes_of_blocks_are_lightlys(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    collator = IJEPAMaskCollator(input_size=16 * side, patch_size=16)
    for step in range(40):
        draw = step / 40
        monkeypatch.setattr(torch, "rand", lambda *_, draw=draw, **__: torch.tensor([draw]))
        for scale, aspect in (((0.15, 0.2), (0.75, 1.5)), ((0.85, 1.0), (1.0, 1.0))):
            theirs = collator._sample_block_size(torch.Generator(), scale, aspect)
            assert block_size(draw, side, scale, aspect) == theirs


def test_contexts_keep_as_much_as_lightlys() -> None:
    """At 14 x 14 (ViT/16): mean share of the context, blocks of the same size."""
    torch.manual_seed(0)
    collator = IJEPAMaskCollator(
        input_size=224, patch_size=16, enc_mask_scale=(0.85, 1.0), pred_mask_scale=(0.15, 0.2),
        aspect_ratio=(0.75, 1.5), nenc=1, npred=4, min_keep=10,
    )  # fmt: skip
    theirs, sizes = [], []
    for _ in range(60):
        _, context, targets = collator([torch.zeros(1)])
        theirs.append(context[0].shape[1])
        sizes.append(targets[0].shape[1])
    ours = [draw_blocks(_keys(50), step, 14) for step in range(60)]
    mean = torch.cat([b.context.sum(1).float() for b in ours]).mean().item()
    assert mean == pytest.approx(sum(theirs) / 60, rel=0.06)
    width = sum(b.targets.shape[2] for b in ours) / 60
    assert width == pytest.approx(sum(sizes) / 60, rel=0.06)


def test_contexts_hold_no_target_and_are_each_samples_own() -> None:
    keys = _keys(200)
    for step in range(5):
        blocks = draw_blocks(keys, step, 8)
        hit = torch.zeros(200, 64, dtype=torch.bool).scatter_(1, blocks.targets.flatten(1), True)
        assert not (hit & blocks.context).any()
        assert blocks.context.sum(1).min() > 64 // 20
        assert blocks.targets.shape[:2] == (200, 4)
        rows, columns = blocks.targets // 8, blocks.targets % 8
        area = (rows.amax(2) - rows.amin(2) + 1) * (columns.amax(2) - columns.amin(2) + 1)
        assert (area == blocks.targets.shape[2]).all()  # rectangles without holes
        alone = draw_blocks(keys[7:8], step, 8)
        assert torch.equal(alone.targets[0], blocks.targets[7])
        assert torch.equal(alone.context[0], blocks.context[7])
    sizes = {draw_blocks(keys[:1], moment(p / 50), 8).targets.shape[2] for p in range(50)}
    assert len(sizes) > 1


def test_targets_lie_everywhere() -> None:
    targets = torch.cat([draw_blocks(_keys(300), s, 8).targets.flatten() for s in range(5)])
    share = torch.bincount(targets, minlength=64).view(8, 8) / len(targets)
    assert share.min() > 0.002
    torch.testing.assert_close(share, share.flip(0), atol=0.004, rtol=0)
    torch.testing.assert_close(share, share.T, atol=0.008, rtol=0)


def test_predictor_equals_lightlys_with_the_same_weights() -> None:
    ijepa = method("ijepa").eval()
    dim, side = ijepa.encoder.dim, ijepa.side
    theirs = IJEPAPredictorTIMM(side**2, 1, dim, 32, 1).eval()
    theirs.predictor_embed.load_state_dict(ijepa.predictor.narrow.state_dict())
    theirs.predictor_proj.load_state_dict(ijepa.predictor.widen.state_dict())
    theirs.decoder.blocks.load_state_dict(ijepa.predictor.blocks.state_dict())
    theirs.decoder.norm.load_state_dict(ijepa.predictor.norm.state_dict())
    theirs.decoder.mask_token.data.copy_(ijepa.predictor.mask_tokens.data[None])
    theirs.decoder.pos_embed.data.copy_(ijepa.predictor.positions[None])
    images = batch(ijepa, 2)["global"][0]
    context = torch.zeros(2, 16, dtype=torch.bool)
    context[:, [0, 3, 5, 9]] = True
    targets = torch.tensor([[[1, 2], [6, 7]], [[10, 11], [14, 15]]])
    with torch.no_grad():
        ours = ijepa.guess(images, Blocks(targets, context)).view(2, 2, 2, dim)
        where, _ = gather_context(context)
        tokens = ijepa.encoder.embed(images)
        seen = torch.cat([tokens[:, :1], take(tokens[:, 1:], where)], 1)
        latent = ijepa.encoder.blocks(seen)[:, 1:]
        found = theirs(latent, [where], [targets[:, 0], targets[:, 1]]).view(2, 2, 2, dim)
    torch.testing.assert_close(ours.transpose(0, 1), found, rtol=1e-4, atol=1e-5)


def test_contexts_of_different_length_do_not_see_each_other() -> None:
    ijepa = method("ijepa").eval()
    images = batch(ijepa, 2)["global"][0]
    context = torch.zeros(2, 16, dtype=torch.bool)
    context[0, :3] = True
    context[1, 4:12] = True
    targets = torch.tensor([[[13, 14]], [[0, 1]]])
    with torch.no_grad():
        both = ijepa.guess(images, Blocks(targets, context))
        alone = ijepa.guess(images[:1], Blocks(targets[:1], context[:1]))
    torch.testing.assert_close(both[:1], alone, rtol=1e-4, atol=1e-5)


def test_loss_is_smooth_l1_to_normalised_patches_of_the_teacher() -> None:
    ijepa = method("ijepa").eval()
    seen = batch(ijepa, 3)
    blocks = draw_blocks(seen.keys, moment(0.3), ijepa.side)
    with torch.no_grad():
        found = ijepa.loss(seen, 0.3)
        patches = ijepa.teacher.tokens(seen["global"][0])[:, 1:]
        patches = (patches - patches.mean(-1, keepdim=True)) / (
            patches.var(-1, correction=0, keepdim=True) + 1e-5
        ).sqrt()
        guesses = ijepa.guess(seen["global"][0], blocks).view(3, 4, -1, ijepa.encoder.dim)
        total = sum(
            F.smooth_l1_loss(guesses[b, t], patches[b, blocks.targets[b, t]])
            for b in range(3)
            for t in range(4)
        )
    assert found.total.item() == pytest.approx(total.item() / 12, rel=1e-5)


def test_teacher_moves_along_a_line_to_a_standstill() -> None:
    ijepa = method("ijepa", momentum=0.9)
    for progress, left in ((0.0, 0.1), (0.5, 0.05), (1.0, 0.0)):
        before = ijepa.teacher.model.norm.weight.clone()
        ijepa.encoder.model.norm.weight.data = before + 1
        ijepa.after_step(progress)
        moved = ijepa.teacher.model.norm.weight - before
        assert moved.mean().item() == pytest.approx(left, abs=1e-6)
