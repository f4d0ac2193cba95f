"""VideoMAE against transformers' port of the authors' code, and its parts against closed forms."""

from __future__ import annotations

import pytest
import torch
from transformers import VideoMAEConfig, VideoMAEForPreTraining
from transformers.models.videomae.modeling_videomae import get_sinusoid_encoding_table

from unlabeled.config import EncoderConfig, VideoConfig
from unlabeled.encoders import build
from unlabeled.methods.videomae import VideoMAE
from unlabeled.modalities.video import Video
from unlabeled.nn.masks import take
from unlabeled.nn.positions import sinusoid
from unlabeled.nn.tubes import standardise_tubes, tube_masks, tubes, untubes
from unlabeled.rng import sample_key
from unlabeled.types import Batch

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # transformers undoes these, always
SLOTS, SIDE = 2, 4


def _oracle(norm_pix: bool) -> VideoMAEForPreTraining:
    config = VideoMAEConfig(
        image_size=16, patch_size=4, num_frames=4, tubelet_size=2, hidden_size=48,
        num_hidden_layers=2, num_attention_heads=2, intermediate_size=192,
        decoder_hidden_size=32, decoder_num_attention_heads=1, decoder_num_hidden_layers=2,
        decoder_intermediate_size=128, layer_norm_eps=1e-6, use_mean_pooling=False,
        norm_pix_loss=norm_pix,
    )  # fmt: skip
    model = VideoMAEForPreTraining(config).eval()
    model.decoder.norm.eps = 1e-6  # the authors'; the port leaves it at torch's default
    torch.nn.init.normal_(model.mask_token, std=0.02)
    for p in model.parameters():  # biases and norms that do something
        p.data.add_(torch.randn_like(p), alpha=0.05)
    return model


def _pair(norm_pix: bool) -> tuple[VideoMAE, VideoMAEForPreTraining]:
    """Return our VideoMAE and transformers', with the same weights."""
    theirs = _oracle(norm_pix)
    video = VideoConfig(size=16, frames=4, mean=MEAN, std=STD)
    encoder = build(EncoderConfig(name="hf:videomae-2x48h2", patch=4), video)
    config = VideoMAE.Config(decoder_heads=1, decoder_depth=2, norm_pix=norm_pix, mask_ratio=0.75)
    ours = VideoMAE(config, encoder, Video(video))
    encoder.model.load_state_dict(theirs.videomae.state_dict())
    ours.narrow.load_state_dict(theirs.encoder_to_decoder.state_dict())
    ours.mask_token.data.copy_(theirs.mask_token.flatten())
    ours.norm.load_state_dict(theirs.decoder.norm.state_dict())
    ours.predict.load_state_dict(theirs.decoder.head.state_dict())
    for block, layer in zip(ours.decoder, theirs.decoder.decoder_layers, strict=True):
        _copy_block(block, layer)
    return ours.eval(), theirs


def _copy_block(block: torch.nn.Module, layer: torch.nn.Module) -> None:
    """Load one block of timm from a layer of transformers, whose keys have no bias."""
    state, attention = layer.state_dict(), "attention.attention."
    own = {"attn.qkv.weight": torch.cat([state[f"{attention}{p}.weight"] for p in
                                         ("query", "key", "value")])}  # fmt: skip
    query, value = (state[f"{attention}{p}.bias"] for p in ("query", "value"))
    own["attn.qkv.bias"] = torch.cat([query, torch.zeros_like(query), value])
    for ours, theirs in {
        "attn.proj": "attention.output.dense", "norm1": "layernorm_before",
        "norm2": "layernorm_after", "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense",
    }.items():  # fmt: skip
        for kind in ("weight", "bias"):
            own[f"{ours}.{kind}"] = state[f"{theirs}.{kind}"]
    block.load_state_dict(own)


@pytest.mark.parametrize("norm_pix", [True, False])
def test_loss_and_predictions_equal_transformers(norm_pix: bool) -> None:
    ours, theirs = _pair(norm_pix)
    clips, keys = torch.randn(3, 4, 3, 16, 16), torch.arange(3)
    visible, hidden = ours.masks(keys)
    visible, hidden = visible.sort(1).values, hidden.sort(1).values  # their masks are in order
    masked = torch.zeros(3, SLOTS * SIDE**2, dtype=torch.bool).scatter(1, hidden, True)
    with torch.no_grad():
        want = theirs(clips, bool_masked_pos=masked)
        guessed = ours.guess(clips, visible, hidden)
        loss = ours.loss(Batch({"global": clips[None]}, keys), 0.0).total
    torch.testing.assert_close(guessed, want.logits, rtol=1e-4, atol=1e-5)
    assert loss.item() == pytest.approx(want.loss.item(), rel=1e-5)


def test_the_encoder_equals_transformers_on_all_tokens_and_on_some() -> None:
    ours, theirs = _pair(True)
    clips = torch.randn(2, 4, 3, 16, 16)
    masked = torch.rand(2, 32).argsort(1) < 20
    places = (~masked).nonzero()[:, 1].view(2, 12)
    with torch.no_grad():
        whole = theirs.videomae(clips).last_hidden_state
        some = theirs.videomae(clips, bool_masked_pos=masked).last_hidden_state
        torch.testing.assert_close(ours.encoder.tokens(clips), whole, rtol=1e-4, atol=1e-5)
        tokens = ours.encoder.embed(clips)
        found = ours.encoder.blocks(take(tokens, places))
        torch.testing.assert_close(found, some, rtol=1e-4, atol=1e-5)
        # The same again, where those that are not real are told apart by a mask.
        marked = ours.encoder.blocks(tokens, ~masked)
        torch.testing.assert_close(take(marked, places), some, rtol=1e-4, atol=1e-5)


def test_positions_equal_transformers() -> None:
    table = get_sinusoid_encoding_table(40, 24)[0]
    torch.testing.assert_close(sinusoid(40, 24), table, rtol=0, atol=1e-6)


def test_boxes_hold_what_lies_there_and_come_back() -> None:
    clips = torch.randn(2, 4, 3, 8, 8)
    boxes = tubes(clips, 2, 4)
    assert boxes.shape == (2, 8, 32, 3)
    expected = clips[1, 2:4, :, 4:8, 0:4].permute(0, 2, 3, 1).reshape(32, 3)
    assert torch.equal(boxes[1, 4 + 2], expected)  # second time, second row, first column
    assert torch.equal(untubes(boxes, 2, 4, 2), clips)
    normal, mean, deviation = standardise_tubes(boxes)
    torch.testing.assert_close(normal * deviation + mean, boxes)
    torch.testing.assert_close(normal.std(2), torch.ones(2, 8, 3), rtol=1e-4, atol=0)


def test_tubes_hide_the_same_places_at_all_times() -> None:
    keys = torch.tensor([sample_key(0, 0, index) for index in range(2000)])
    visible, hidden = tube_masks(keys, slots=3, cells=16, ratio=0.9)
    assert visible.shape == (2000, 3)
    assert hidden.shape == (2000, 45)
    places = hidden.view(2000, 3, 15)
    assert torch.equal(places[:, 0] + 32, places[:, 2])
    everything = torch.cat([visible, hidden], 1).sort(1).values
    assert torch.equal(everything, torch.arange(48).expand(2000, -1))
    share = torch.bincount(visible[:, 0], minlength=16) / 2000
    assert (share - 1 / 16).abs().max() < 0.022  # 4 standard deviations of a binomial


def test_reconstruction_shows_what_is_hidden() -> None:
    ours, _ = _pair(True)
    clips, keys = torch.randn(1, 2, 4, 3, 16, 16), torch.arange(2)
    shown = ours.reconstruct(Batch({"global": clips}, keys))
    torch.testing.assert_close(shown.original, clips[0])
    changed = (tubes(shown.masked, 2, 4) - tubes(shown.original, 2, 4)).abs().amax((2, 3)) > 1e-3
    _, hidden = ours.masks(keys)
    expected = torch.zeros(2, 32, dtype=torch.bool).scatter(1, hidden, True)
    assert torch.equal(changed, expected)
    kept = ~expected
    back = tubes(shown.reconstruction, 2, 4)[kept]
    torch.testing.assert_close(back, tubes(clips[0], 2, 4)[kept])
