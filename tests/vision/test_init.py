"""Starting from weights: other channels, sizes and patches; LoRA; slow lower layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed, resample_patch_embed

from tests.loop.running import small_config
from unlabeled import loop
from unlabeled.config import EncoderConfig, ImageConfig, OptimConfig
from unlabeled.encoders.vision import build, load
from unlabeled.nn.groups import encoder_groups
from unlabeled.nn.low_rank import attach, merged
from unlabeled.optim import Optim
from unlabeled.runs import Run, build_method, build_modality

VIT = {"patch": 4, "options": {"depth": 2, "embed_dim": 48, "num_heads": 3}}


@pytest.fixture
def weights(tmp_path):
    """Return folders with weights of a plain, a rotary and a convolutional network."""
    found = {}
    for name, options in [
        ("vit_tiny_patch16_224", VIT),
        ("vit_small_patch16_dinov3", VIT),
        ("resnet10t", {"patch": None}),
    ]:
        torch.manual_seed(0)
        encoder = build(EncoderConfig(name=f"timm:{name}", **options), ImageConfig(size=32))
        encoder.save(tmp_path / name)
        found[name] = (
            encoder,
            EncoderConfig(name=f"timm:{name}", init=str(tmp_path / name), **options),
        )
    return found


@pytest.mark.parametrize("channels", [1, 4, 13])
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch16_dinov3", "resnet10t"])
def test_any_number_of_channels(weights, name, channels):
    first, config = weights[name]
    other = build(config, ImageConfig(size=32, channels=channels))
    key = {"resnet10t": "conv1.0.weight"}.get(name, "patch_embed.proj.weight")
    old, new = first.model.state_dict()[key], other.model.state_dict()[key]
    if channels == 1:
        expected = old.sum(1, keepdim=True)
    else:
        expected = old[:, [c % 3 for c in range(channels)]] * (3 / channels)
    torch.testing.assert_close(new, expected)
    grey = torch.rand(2, 1, 32, 32)
    if channels in (1, 3):  # an image without colour gives the same features
        torch.testing.assert_close(other.eval()(grey), first.eval()(grey.expand(-1, 3, -1, -1)))


def test_other_patches_and_sizes_are_timms_resampling(weights):
    first, config = weights["vit_tiny_patch16_224"]
    other = build(config.model_copy(update={"patch": 8}), ImageConfig(size=64, channels=3))
    kernel = resample_patch_embed(first.model.patch_embed.proj.weight.detach(), [8, 8])
    torch.testing.assert_close(other.model.patch_embed.proj.weight.detach(), kernel)
    larger = build(config, ImageConfig(size=48))
    table = resample_abs_pos_embed(first.model.pos_embed.detach(), [12, 12], num_prefix_tokens=1)
    torch.testing.assert_close(larger.model.pos_embed.detach(), table)
    _, config = weights["vit_small_patch16_dinov3"]
    assert build(config, ImageConfig(size=64)).eval()(torch.randn(1, 3, 64, 64)).shape == (1, 48)


def test_low_rank_begins_as_the_weights_and_is_multiplied_out(weights, tmp_path):
    for name, (first, config) in weights.items():
        encoder = build(config.model_copy(update={"lora": 2}), ImageConfig(size=32)).eval()
        x = torch.randn(2, 3, 32, 32)
        torch.testing.assert_close(encoder(x), first.eval()(x))
        trained = [p for p in encoder.parameters() if p.requires_grad]
        assert (
            0 < sum(p.numel() for p in trained) < 0.35 * sum(p.numel() for p in first.parameters())
        )
        with torch.no_grad():
            for p in trained:
                p.add_(torch.randn_like(p) * 0.05)
        expected = encoder(x)
        assert (expected - first(x)).abs().max() > 1e-3
        encoder.save(tmp_path / "out" / name)
        again = load(tmp_path / "out" / name).eval()
        assert not any("parametrizations" in key for key in again.state_dict())
        torch.testing.assert_close(again(x), expected, rtol=1e-4, atol=1e-5)
        old, new = first.state_dict(), again.state_dict()
        for key in (k for k in old if old[k].ndim == 2):
            assert torch.linalg.matrix_rank(new[key] - old[key], atol=1e-5) <= 2


def test_a_network_goes_on_after_a_copy_was_multiplied_out():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4, 2))
    attach(model, 0)
    x = torch.randn(5, 3, 3, 3)
    torch.nn.init.normal_(model[2].parametrizations.weight[0].b)
    before = model(x)
    for _ in range(2):  # at every stop of a training
        whole = merged(model)
        assert type(whole[0]) is torch.nn.Conv2d
        torch.testing.assert_close(whole(x), before)
        torch.testing.assert_close(model(x), before)


def test_a_network_without_additions_is_itself():
    plain = torch.nn.Linear(3, 3)
    assert merged(plain) is plain
    attach(plain, 0, 1)
    assert merged(plain) is not plain


def test_continued_pretraining_with_low_rank_resumes_and_exports(weights, image_folder, tmp_path):
    _, given = weights["vit_tiny_patch16_224"]
    config = small_config("dino", image_folder, steps=4)
    config = config.model_copy(
        update={"encoder": given.model_copy(update={"lora": 2}), "optim": OptimConfig(lr=0.01)}
    )
    config = config.model_copy(update={"modality": ImageConfig(size=32)})
    out = loop.pretrain(config, tmp_path / "run", quiet=True)
    method = Run.open(out).method()
    frozen = dict(method.encoder.named_parameters())
    assert all("parametrizations" in n or not p.requires_grad for n, p in frozen.items())
    kept = Run.open(out).encoder()
    model = timm.create_model(f"local-dir:{out}/encoder", pretrained=True, num_classes=0).eval()
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(x), kept.eval()(x))
    torch.testing.assert_close(method.teacher.eval()(x), kept(x), rtol=1e-4, atol=1e-5)
    assert (kept(x) - build(given, ImageConfig(size=32)).eval()(x)).abs().max() > 1e-5


def test_lower_layers_learn_slowly_and_not_before_they_may(image_folder):
    config = small_config("mae", image_folder)
    method = build_method(config, build_modality(config, Path()))
    optim = Optim(method, OptimConfig(lr=1.0, layer_decay=0.5, hold=0.25, warmup=0.0))
    rates = {
        optim.names[p]: group.get("lr_scale", 1.0)
        for group in optim._groups() for p in group["params"]
    }  # fmt: skip
    assert rates["encoder.model.norm.weight"] == 1
    assert rates["encoder.model.blocks.1.mlp.fc1.weight"] == 0.5
    assert rates["encoder.model.blocks.0.mlp.fc1.bias"] == 0.25
    assert rates["encoder.model.patch_embed.proj.weight"] == 0.125
    assert {v for n, v in rates.items() if not n.startswith("encoder.")} == {1.0}
    assert set(rates) == {n for n, p in method.named_parameters() if p.requires_grad}
    for p in method.parameters():
        p.grad = torch.ones_like(p)
    optim.drop_frozen(0.2)
    still = {n for n, p in method.named_parameters() if p.requires_grad and p.grad is None}
    assert still == {n for n in rates if n.startswith("encoder.")}
    same = method.param_groups()
    assert [g["params"] for g in encoder_groups(same, optim.names, 1.0)] == [
        g["params"] for g in same
    ]
