"""Transformers with rotary positions and registers behind the three seams, against timm itself."""

from __future__ import annotations

import pytest
import torch

from unlabeled.config import EncoderConfig, ImageConfig
from unlabeled.encoders.vision import build
from unlabeled.methods import load
from unlabeled.modalities.image import Image
from unlabeled.types import Batch

NETWORKS = [
    "vit_small_patch16_dinov3",  # rotary, class token, four registers
    "eva02_tiny_patch14_224",  # rotary and learned positions
    "vit_small_patch16_rope_mixed_224",  # angles learned by block and head
    "vit_medium_patch16_rope_reg1_gap_256",  # rotary, a register, no class token
    "vit_small_patch14_reg4_dinov2",  # learned positions, four registers
]
SETTINGS = ImageConfig(size=32)


def small(name: str, **more):
    torch.manual_seed(0)
    options = {"depth": 2, "embed_dim": 48, "num_heads": 3}
    return build(
        EncoderConfig(name=f"timm:{name}", patch=4, pool="avg", options=options, **more), SETTINGS
    ).eval()


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_tokens_are_timms_and_know_their_places(name):
    encoder, x = small(name), torch.randn(2, 3, 32, 32)
    for key, weight in encoder.model.blocks.named_parameters():  # so that places matter
        if weight.ndim > 1:
            weight.normal_(0, 0.3)
        elif "gamma" in key:
            weight.fill_(1.0)
    torch.testing.assert_close(encoder.tokens(x), encoder.model.forward_features(x))
    torch.testing.assert_close(encoder(x), encoder.model(x))
    first, tokens = encoder.num_prefix, encoder.embed(x)
    order = torch.stack([torch.randperm(64), torch.randperm(64)])

    def pick(t):
        return t[:, first:].gather(1, order[..., None].expand(-1, -1, t.shape[-1]))

    mixed = torch.cat([tokens[:, :first], pick(tokens)], 1)
    expected = pick(encoder.tokens(x))
    out = encoder.blocks(mixed, places=order)[:, first:]
    torch.testing.assert_close(out, expected, rtol=1e-3, atol=1e-4)
    astray = encoder.blocks(mixed)[:, first:]  # told nothing of the order
    rotary = getattr(encoder.model, "rope", None) is not None
    assert ((astray - expected).abs().max() > 1e-3) == rotary


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("mae", {"decoder_depth": 1}),
        ("ijepa", {"predictor_heads": 1, "predictor_depth": 1}),
        ("dinov2", {"out_dim": 16, "num_local": 2, "hidden_dim": 16}),
        ("ibot", {"out_dim": 16, "num_local": 2, "hidden_dim": 16}),
        ("data2vec", {"top_blocks": 2}),
        ("simmim", {}),
    ],
)
@pytest.mark.parametrize("name", [NETWORKS[0], NETWORKS[2]])
def test_token_methods_train_them(name, method, options):
    encoder, images = small(name).train(), Image(SETTINGS, 4)
    kind = load(method)
    made = kind(kind.Config(**options), encoder, images)
    keys = torch.arange(4) * 7919
    views = {
        key: torch.randn(view.count, 4, 3, images.edge(view), images.edge(view))
        for key, view in made.views().items()
    }
    loss = made.loss(Batch(views, keys), 0.5).total
    loss.backward()
    assert loss.isfinite()
    moved = [
        p.grad is not None and bool(p.grad.abs().sum() > 0)
        for p in encoder.model.blocks.parameters()
    ]
    assert sum(moved) > 0.9 * len(moved)
