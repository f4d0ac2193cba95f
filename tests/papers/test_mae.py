"""MAE against transformers' port of the authors' code, and its parts against lightly's."""

from __future__ import annotations

import pytest
import torch
from lightly.models import utils as lightly
from transformers import ViTMAEConfig, ViTMAEForPreTraining
from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

from unlabeled.config import EncoderConfig, ImageConfig
from unlabeled.encoders import build
from unlabeled.methods.mae import MAE
from unlabeled.modalities.image import Image
from unlabeled.nn.masks import random_masks, shuffle_mask, take
from unlabeled.nn.patches import patchify, standardise, unpatchify
from unlabeled.nn.positions import sincos_2d
from unlabeled.rng import sample_key
from unlabeled.types import Batch


def _oracle(norm_pix: bool) -> ViTMAEForPreTraining:
    config = ViTMAEConfig(
        hidden_size=64,
        num_hidden_layers=6,
        num_attention_heads=2,
        intermediate_size=192,
        image_size=16,
        patch_size=4,
        decoder_hidden_size=32,
        decoder_num_attention_heads=1,
        decoder_num_hidden_layers=2,
        decoder_intermediate_size=128,
        layer_norm_eps=1e-6,
        norm_pix_loss=norm_pix,
        hidden_act="gelu",
    )
    model = ViTMAEForPreTraining(config).eval()
    # transformers 5.23 leaves both position tables at zero in a model made from a configuration
    # (each parameter counts as initialised before the tables are filled); fill them with its own
    # function, in the layout that its comment calls that of the pretrained weights.
    for table in (model.vit.embeddings.position_embeddings, model.decoder.decoder_pos_embed):
        rows, columns = build_2d_sinusoidal_position_embedding(
            4, 4, table.shape[-1], cls_token=True
        ).chunk(2, dim=1)
        table.data.copy_(torch.cat([columns, rows], 1)[None])
    torch.nn.init.normal_(model.decoder.mask_token, std=0.02)
    for p in model.parameters():  # biases and norms that do something
        if p.ndim == 1:
            p.data.add_(torch.randn_like(p), alpha=0.05)
    return model


def _copy_block(block: torch.nn.Module, state: dict[str, torch.Tensor], prefix: str) -> None:
    """Load one transformer block of ours from the names that transformers gives its parts."""
    own = {}
    for kind in ("weight", "bias"):
        parts = [state[f"{prefix}attention.{part}_proj.{kind}"] for part in "qkv"]
        own[f"attn.qkv.{kind}"] = torch.cat(parts)
        for ours, theirs in {
            "attn.proj": "attention.o_proj",
            "norm1": "layernorm_before",
            "norm2": "layernorm_after",
            "mlp.fc1": "mlp.fc1",
            "mlp.fc2": "mlp.fc2",
        }.items():
            own[f"{ours}.{kind}"] = state[f"{prefix}{theirs}.{kind}"]
    block.load_state_dict(own)


def _pair(norm_pix: bool) -> tuple[MAE, ViTMAEForPreTraining]:
    """Return our MAE and transformers', with the same weights."""
    theirs = _oracle(norm_pix)
    state = dict(theirs.state_dict())
    image = ImageConfig(size=16)
    encoder = build(EncoderConfig(name="timm:test_vit", patch=4), image)
    model = encoder.model
    ours = MAE(
        MAE.Config(decoder_heads=1, decoder_depth=2, norm_pix=norm_pix), encoder, Image(image)
    )
    model.cls_token.data.copy_(state["vit.embeddings.cls_token"])
    for kind in ("weight", "bias"):
        name = f"vit.embeddings.patch_embeddings.projection.{kind}"
        getattr(model.patch_embed.proj, kind).data.copy_(state[name])
        getattr(model.norm, kind).data.copy_(state[f"vit.layernorm.{kind}"])
        getattr(ours.narrow, kind).data.copy_(state[f"decoder.decoder_embed.{kind}"])
        getattr(ours.norm, kind).data.copy_(state[f"decoder.decoder_norm.{kind}"])
        getattr(ours.predict, kind).data.copy_(state[f"decoder.decoder_pred.{kind}"])
    ours.mask_token.data.copy_(state["decoder.mask_token"].flatten())
    for number, block in enumerate(model.blocks):
        _copy_block(block, state, f"vit.layers.{number}.")
    for number, block in enumerate(ours.decoder):
        _copy_block(block, state, f"decoder.decoder_layers.{number}.")
    return ours.eval(), theirs


@pytest.mark.parametrize("norm_pix", [True, False])
def test_loss_and_predictions_equal_transformers(
    norm_pix: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = _pair(norm_pix)
    pixels, noise = torch.randn(3, 3, 16, 16), torch.rand(3, 16)
    with torch.no_grad():
        want = theirs(pixels, noise=noise)
        visible, hidden = shuffle_mask(noise, 4)
        guessed = ours.guess(pixels, visible, hidden)
        monkeypatch.setattr("unlabeled.methods.mae.random_masks", lambda *_: (visible, hidden))
        loss = ours.loss(Batch({"global": pixels[None]}, torch.arange(3)), 0.0).total
    torch.testing.assert_close(guessed, take(want.logits, hidden), rtol=1e-5, atol=1e-5)
    assert loss.item() == pytest.approx(want.loss.item(), rel=1e-6)


def test_positions_equal_transformers() -> None:
    theirs = _oracle(True)
    table = theirs.vit.embeddings.position_embeddings[0]
    torch.testing.assert_close(sincos_2d(4, 64, num_prefix=1), table, rtol=0, atol=1e-6)
    ours, _ = _pair(True)
    torch.testing.assert_close(ours.encoder.model.pos_embed[0], table, rtol=0, atol=1e-6)
    assert not ours.encoder.model.pos_embed.requires_grad
    other = torch.as_tensor(lightly.get_2d_sincos_pos_embed(24, 5, cls_token=False)).float()
    torch.testing.assert_close(sincos_2d(5, 24), other, rtol=0, atol=1e-6)


def test_patches_equal_lightlys_and_come_back() -> None:
    images = torch.randn(2, 3, 12, 12)
    patches = patchify(images, 4)
    assert torch.equal(patches, lightly.patchify(images, 4))
    assert torch.equal(unpatchify(patches, 4, 3), images)
    normal, mean, deviation = standardise(patches)
    torch.testing.assert_close(normal, lightly.normalize_mean_var(patches))
    torch.testing.assert_close(normal * deviation + mean, patches)


def test_masks_hide_exactly_their_share_uniformly() -> None:
    keys = torch.tensor([sample_key(0, 0, index) for index in range(4000)])
    visible, hidden = random_masks(keys, 16, 0.75)
    assert visible.shape == (4000, 4)
    assert torch.equal(torch.cat([visible, hidden], 1).sort(1).values[7], torch.arange(16))
    share = torch.bincount(hidden.flatten(), minlength=16) / 4000
    assert (share - 0.75).abs().max() < 0.03  # 4 standard deviations of a binomial
    together = ((visible == 0).any(1) & (visible == 1).any(1)).float().mean().item()
    assert together == pytest.approx(4 * 3 / (16 * 15), abs=0.02)


def test_a_mask_depends_on_the_samples_key_alone() -> None:
    keys = torch.tensor([sample_key(0, 0, index) for index in range(6)])
    alone, _ = random_masks(keys[4:5], 16, 0.75)
    assert torch.equal(random_masks(keys, 16, 0.75)[0][4:5], alone)


@pytest.mark.parametrize(("ratio", "visible"), [(0.999, 1), (0.001, 15), (0.5, 8)])
def test_at_least_one_patch_is_visible_and_one_hidden(ratio: float, visible: int) -> None:
    assert random_masks(torch.arange(2), 16, ratio)[0].shape == (2, visible)


def test_reconstruction_shows_what_is_hidden() -> None:
    ours, _ = _pair(True)
    images = torch.randn(1, 2, 3, 16, 16)
    shown = ours.reconstruct(Batch({"global": images}, torch.arange(2)))
    hidden = (patchify(shown.masked, 4) == 0).all(-1)
    assert hidden.sum(1).tolist() == [12, 12]
    kept = ~hidden
    assert torch.equal(patchify(shown.reconstruction, 4)[kept], patchify(images[0], 4)[kept])
    assert torch.equal(shown.original, images[0])
