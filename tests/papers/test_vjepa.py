"""V-JEPA: its predictor against transformers, its masks and its loss against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import VJEPA2Config
from transformers.models.vjepa2.modeling_vjepa2 import VJEPA2Predictor, VJEPA2RopeAttention

from unlabeled.config import EncoderConfig, VideoConfig
from unlabeled.encoders import build
from unlabeled.methods.vjepa import VJEPA
from unlabeled.modalities.video import Video
from unlabeled.nn.jepa_masks import block_size, draw_tubes
from unlabeled.nn.masks import take
from unlabeled.nn.positions import sincos_3d
from unlabeled.rng import moment, sample_key, uniform
from unlabeled.types import Batch

SLOTS, SIDE = 2, 4


def _method(**options: float) -> VJEPA:
    torch.manual_seed(0)
    video = VideoConfig(size=16, frames=4)
    encoder = build(EncoderConfig(name="hf:videomae-2x48h2", patch=4), video)
    config = VJEPA.Config(predictor_heads=2, predictor_depth=2, **options)
    ours = VJEPA(config, encoder, Video(video)).eval()
    for p in ours.parameters():  # mask tokens, biases and norms that do something
        p.data.add_(torch.randn_like(p), alpha=0.05)
    return ours


def _keys(count: int) -> torch.Tensor:
    return torch.tensor([sample_key(0, 0, index) for index in range(count)])


def _theirs(ours: VJEPA) -> VJEPA2Predictor:
    """Return transformers' predictor with our weights."""
    config = VJEPA2Config(
        crop_size=16, patch_size=4, frames_per_clip=4, tubelet_size=2, hidden_size=48,
        num_attention_heads=2, pred_hidden_size=64, pred_num_attention_heads=2,
        pred_num_hidden_layers=2, pred_num_mask_tokens=2, drop_path_rate=0.0,
    )  # fmt: skip
    theirs = VJEPA2Predictor(config).eval()
    theirs.embeddings.predictor_embeddings.load_state_dict(ours.predictor.narrow.state_dict())
    theirs.layernorm.load_state_dict(ours.predictor.norm.state_dict())
    theirs.proj.load_state_dict(ours.predictor.widen.state_dict())
    for layer, block in zip(theirs.layer, ours.predictor.blocks, strict=True):
        state = block.state_dict()
        for kind in ("weight", "bias"):
            parts = state.pop(f"attn.qkv.{kind}").chunk(3)
            state |= {f"attention.{n}.{kind}": x for n, x in zip(("query", "key", "value"), parts,
                                                                 strict=True)}  # fmt: skip
        layer.load_state_dict({k.replace("attn.proj", "attention.proj"): v
                               for k, v in state.items()})  # fmt: skip
    return theirs


def test_predictor_equals_transformers_with_the_same_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Theirs turns queries by their places (V-JEPA 2); ours adds places, as V-JEPA: told apart.

    Without places both must be equal; with them, ours is theirs on inputs that hold them.
    """
    ours = _method()
    theirs = _theirs(ours)
    monkeypatch.setattr(VJEPA2RopeAttention, "apply_rotary_embeddings", lambda _, x, __: x)
    hidden = torch.zeros(2, SLOTS * SIDE**2, dtype=torch.bool)
    hidden[:, [1, 2, 5, 17, 18, 21]] = True
    tokens = torch.randn(2, SLOTS * SIDE**2, 48)
    asked, seen = hidden[:1].nonzero()[:, 1].expand(2, -1), (~hidden).nonzero()[:, 1].view(2, -1)
    places = ours.predictor.positions.clone()
    for number in (0, 1):
        with torch.no_grad():
            ours.predictor.positions.zero_()
            found = ours.guess(tokens, hidden, number)
            latent = torch.zeros(2, len(tokens[0]), 48)
            latent[:, seen[0]] = ours.encoder.blocks(take(tokens, seen))
            theirs.embeddings.mask_tokens.data[:] = ours.predictor.mask_tokens[number]
            want = theirs(latent, [seen], [asked]).last_hidden_state
            torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-5)
            ours.predictor.positions.copy_(places)
            assert not torch.allclose(ours.guess(tokens, hidden, number), want, atol=1e-3)


def test_positions_are_those_of_time_row_and_column() -> None:
    table = sincos_3d(SLOTS, SIDE, 64)  # thirds of 22, of which the last is cut
    assert table.shape == (32, 64)
    for n, (t, row, column) in ((0, (0, 0, 0)), (6, (0, 1, 2)), (29, (1, 3, 1))):
        for third, place in enumerate((t, row, column)):
            for i in (0, 3, 9):
                angle = place / 10000 ** (i / 11)
                assert table[n, 22 * third + i].item() == pytest.approx(math.sin(angle), abs=1e-6)
                if 22 * third + 11 + i < 64:
                    cosine = table[n, 22 * third + 11 + i].item()
                    assert cosine == pytest.approx(math.cos(angle), abs=1e-6)


def test_clips_of_different_length_do_not_see_each_other() -> None:
    ours = _method()
    clips = torch.randn(2, 4, 3, 16, 16)
    hidden = torch.zeros(2, 32, dtype=torch.bool)
    hidden[0, :5], hidden[1, 4:20] = True, True
    with torch.no_grad():
        tokens = ours.encoder.embed(clips)
        both = ours.guess(tokens, hidden, 0)
        alone = ours.guess(tokens[:1], hidden[:1], 0)
    assert both.shape[1] == 16
    torch.testing.assert_close(both[:1, :5], alone, rtol=1e-4, atol=1e-5)


def test_loss_is_l1_to_normalised_boxes_of_the_teacher() -> None:
    ours = _method()
    clips, keys = torch.randn(3, 4, 3, 16, 16), _keys(3)
    with torch.no_grad():
        found = ours.loss(Batch({"global": clips[None]}, keys), 0.3).total.item()
        boxes = ours.teacher.tokens(clips)
        boxes = (boxes - boxes.mean(-1, keepdim=True)) / (
            boxes.var(-1, correction=0, keepdim=True) + 1e-5
        ).sqrt()
        expected = 0.0
        for number, hidden in enumerate(ours.masks(keys, 0.3)):
            for b in range(3):
                one = hidden[b : b + 1]
                guess = ours.guess(ours.encoder.embed(clips[b : b + 1]), one, number)[0]
                expected += (guess - boxes[b, one[0]]).abs().mean().item() / 6
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("count", "scale"), [(8, 0.15), (2, 0.7)])
def test_what_is_hidden_is_a_union_of_blocks_at_all_times(count: int, scale: float) -> None:
    ours = _method()
    hidden = ours.masks(_keys(50), 0.25)[int(count == 2)].view(50, SLOTS, -1)
    assert torch.equal(hidden[:, 0], hidden[:, 1])
    high, wide = block_size(
        float(uniform(torch.tensor([moment(0.25)]), 1, 0x4A45_5054 + count)[0, 0]),
        SIDE, (scale, scale), (0.75, 1.5),
    )  # fmt: skip
    for frame in hidden[:, 0].view(-1, SIDE, SIDE):
        assert 0 < frame.sum() < SIDE**2
        windows = frame.unfold(0, high, 1).unfold(1, wide, 1).all(-1).all(-1)
        covered = torch.zeros(SIDE, SIDE, dtype=torch.bool)
        for row, column in windows.nonzero().tolist():
            covered[row : row + high, column : column + wide] = True
        assert torch.equal(covered, frame)  # nothing but whole blocks
        assert windows.sum() >= 1


def test_shares_of_hidden_places_are_those_of_unions_of_random_blocks() -> None:
    """At 14 x 14, the paper's grid, against a draw with torch's own numbers."""
    shares = []
    for count, scale in ((8, 0.15), (2, 0.7)):
        steps = [draw_tubes(_keys(200), moment(s / 40), 14, count, scale) for s in range(40)]
        shares.append(torch.cat(steps).float().mean().item())
        generator, want = torch.Generator().manual_seed(0), []
        for _ in range(800):
            draw = torch.rand(1, generator=generator).item()
            high, wide = block_size(draw, 14, (scale, scale), (0.75, 1.5))
            frame = torch.zeros(14, 14)
            for _ in range(count):
                row = int(torch.randint(14 - high + 1, (1,), generator=generator))
                column = int(torch.randint(14 - wide + 1, (1,), generator=generator))
                frame[row : row + high, column : column + wide] = 1
            want.append(frame.mean().item())
        assert shares[-1] == pytest.approx(sum(want) / len(want), abs=0.015)
    assert 0.6 < shares[0] < shares[1] < 0.95


def test_where_blocks_would_hide_all_the_first_is_hidden_alone() -> None:
    hidden = draw_tubes(_keys(20), 5, 2, 200, 0.5)
    assert (hidden.sum(1) == 1).all()


def test_teacher_moves_along_a_line_to_a_standstill() -> None:
    ours = _method(momentum=0.9)
    for progress, left in ((0.0, 0.1), (0.5, 0.05), (1.0, 0.0)):
        before = ours.teacher.model.layernorm.weight.clone()
        ours.encoder.model.layernorm.weight.data = before + 1
        ours.after_step(progress)
        moved = (ours.teacher.model.layernorm.weight - before).mean().item()
        assert moved == pytest.approx(left, abs=1e-6)
