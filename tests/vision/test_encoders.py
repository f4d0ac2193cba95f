"""Image encoders: the seams are timm's forward, and what is saved opens elsewhere unchanged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoModel

from unlabeled.config import EncoderConfig, ImageConfig
from unlabeled.encoders import build, load, stem
from unlabeled.encoders.vision import ImageEncoder
from unlabeled.errors import ConfigError, DataError, UsageError

NETWORKS: list[tuple[str, dict[str, Any], int, int]] = [
    ("resnet18", {"small_stem": True}, 32, 3),
    ("resnet10t", {}, 32, 1),
    ("resnet50", {"small_stem": True}, 16, 4),
    ("convnext_atto", {"patch": 2}, 32, 3),
    ("mobilenetv3_small_050", {}, 64, 3),
    ("swin_tiny_patch4_window7_224", {}, 64, 3),
    ("xcit_nano_12_p8_224", {}, 32, 3),
    ("vit_tiny_patch16_224", {"patch": 4}, 32, 3),
    ("vit_tiny_patch16_224", {"patch": 8, "pool": "avg"}, 32, 1),
    ("deit_tiny_patch16_224", {"patch": 8}, 32, 3),
    ("deit_tiny_distilled_patch16_224", {"patch": 8}, 32, 3),
    ("vit_small_patch14_reg4_dinov2", {"patch": 8}, 32, 3),
    ("vit_small_patch16_dinov3", {"patch": 8, "options": {"depth": 2}}, 32, 3),
    ("eva02_tiny_patch14_224", {"patch": 8, "pool": "avg", "options": {"depth": 2}}, 32, 1),
]


def _make(name: str, options: dict[str, Any], size: int, channels: int) -> ImageEncoder:
    """Build an encoder whose norms do something, as after training."""
    image = ImageConfig(size=size, channels=channels, mean=(0.4,), std=(0.3,))
    encoder = build(EncoderConfig(name=f"timm:{name}", **options), image)
    assert isinstance(encoder, ImageEncoder)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.normal_(1, 0.2)
            module.bias.data.normal_(0, 0.2)
    return encoder.eval()


@pytest.mark.parametrize(("name", "options", "size", "channels"), NETWORKS)
@torch.no_grad()
def test_seams_and_saved_folder(
    name: str, options: dict[str, Any], size: int, channels: int, tmp_path: Path
) -> None:
    encoder = _make(name, options, size, channels)
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, channels), dtype=np.uint8)
    x = ((torch.from_numpy(pixels).permute(2, 0, 1) / 255 - 0.4) / 0.3)[None]
    tokens = encoder.blocks(encoder.embed(x))
    feature = encoder.pool(tokens)
    model = encoder.model
    library = model.forward_head(model.forward_features(x), pre_logits=True)
    assert torch.equal(feature, library)
    assert tokens.ndim == 3
    assert feature.shape == (1, encoder.dim)
    assert encoder.hides_tokens == any(word in name for word in ("vit", "deit", "eva"))

    encoder.save(tmp_path)
    again = load(tmp_path).eval()
    assert torch.equal(again(x), feature)
    assert again.blueprint == encoder.blueprint

    large = x.repeat_interleave(4, 2).repeat_interleave(4, 3) if encoder.blueprint.small_stem else x
    opened = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=0).eval()
    close = {"rtol": 1e-5, "atol": 1e-5 * feature.abs().max().item()}
    torch.testing.assert_close(opened(large), feature, **close)
    foreign = AutoModel.from_pretrained(tmp_path).eval()
    output = foreign(large).pooler_output
    torch.testing.assert_close(output.flatten(1), feature, **close)
    if channels == 3:
        read = AutoImageProcessor.from_pretrained(tmp_path)(pixels).pixel_values
        torch.testing.assert_close(read, large, rtol=0, atol=1e-6)


def test_small_stem_folds_back_exactly() -> None:
    encoder = _make("resnet18", {"small_stem": True}, 32, 3)
    state = encoder.model.state_dict()
    again = stem.fold(stem.unfold(state))
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], x) for name, x in state.items())
    trained = stem.unfold(state)
    trained["maxpool.0.weight"] = trained["maxpool.0.weight"] + 0.1
    with pytest.raises(ValueError, match="not one that was written"):
        stem.fold(trained)


@torch.no_grad()
def test_small_stem_keeps_resolution_and_trains_on_elsewhere(tmp_path: Path) -> None:
    encoder = _make("resnet18", {"small_stem": True}, 32, 3)
    x = torch.randn(4, 3, 32, 32)
    assert encoder.embed(x).shape == (4, 16, 512)  # 4 x 4 places, not 1 x 1
    # After the usual BatchNorm statistics, training mode elsewhere starts near the same stem.
    model = encoder.model.train()
    want = model.act1(model.bn1(model.conv1(x)))
    encoder.save(tmp_path)
    opened = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=0).train()
    large = x.repeat_interleave(4, 2).repeat_interleave(4, 3)
    got = opened.maxpool(opened.act1(opened.bn1(opened.conv1(large))))
    assert torch.corrcoef(torch.stack([got.flatten(), want.flatten()]))[0, 1] > 0.9


@torch.no_grad()
def test_smaller_crops_get_interpolated_positions() -> None:
    encoder = _make("vit_tiny_patch16_224", {"patch": 4}, 32, 3)
    assert encoder.embed(torch.randn(2, 3, 16, 16)).shape == (2, 17, 192)


@torch.no_grad()
def test_a_subset_of_tokens_is_what_the_blocks_see() -> None:
    encoder = _make("vit_tiny_patch16_224", {"patch": 8}, 32, 3)
    tokens = encoder.embed(torch.randn(2, 3, 32, 32))
    assert encoder.blocks(tokens[:, [0, 3, 5]]).shape == (2, 3, 192)
    order = torch.randperm(17)
    torch.testing.assert_close(
        encoder.blocks(tokens[:, order]), encoder.blocks(tokens)[:, order], rtol=1e-4, atol=1e-5
    )


def test_starting_from_a_folder_fits_size_patches_and_channels(tmp_path: Path) -> None:
    first = _make("vit_tiny_patch16_224", {"patch": 8}, 32, 3)
    first.save(tmp_path)
    config = EncoderConfig(name="timm:vit_tiny_patch16_224", patch=8, init=str(tmp_path))
    same = build(config, ImageConfig(size=32))
    assert torch.equal(same.model.pos_embed, first.model.pos_embed)
    assert same.pretrained
    larger = build(config, ImageConfig(size=64, channels=1))
    assert larger.model.pos_embed.shape == (1, 65, 192)
    weight = larger.model.patch_embed.proj.weight
    torch.testing.assert_close(weight, first.model.patch_embed.proj.weight.sum(1, keepdim=True))
    other = build(config.model_copy(update={"patch": 4}), ImageConfig(size=32))
    assert other.model.patch_embed.proj.weight.shape[-2:] == (4, 4)


def test_starting_from_a_classifier_or_small_stem(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = timm.create_model("resnet18", num_classes=7)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    config = EncoderConfig(name="timm:resnet18", init=str(tmp_path / "model.safetensors"))
    wide = build(config, ImageConfig(size=32, channels=6))
    torch.testing.assert_close(wide.model.conv1.weight[:, 3:], model.conv1.weight / 2)
    with pytest.raises(ConfigError, match="7x7 stem"):
        build(config.model_copy(update={"small_stem": True}), ImageConfig(size=32))
    _make("resnet18", {"small_stem": True}, 32, 3).save(tmp_path / "small")
    small = config.model_copy(update={"small_stem": True, "init": str(tmp_path / "small")})
    assert build(small, ImageConfig(size=32)).model.conv1.weight.shape[-1] == 3


def test_weights_of_another_network_and_pickles_are_refused(tmp_path: Path) -> None:
    _make("resnet10t", {}, 32, 3).save(tmp_path)
    config = EncoderConfig(name="timm:resnet18", init=str(tmp_path))
    with pytest.raises(ConfigError, match="not of 'timm:resnet18'"):
        build(config, ImageConfig())
    pickle = tmp_path / "pytorch_model.bin"
    pickle.write_bytes(b"\x80\x02.")
    with pytest.raises(UsageError, match="never opened"):
        build(config.model_copy(update={"init": str(pickle)}), ImageConfig())
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match="not a usable safetensors file"):
        load(tmp_path)


def test_folders_that_hold_no_encoder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no config\.json"):
        load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
    with pytest.raises(UsageError, match="does not describe"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("options", "size", "sentence"),
    [
        ({"name": "timm:resnet18x"}, 32, "There is no image encoder 'timm:resnet18x'. Did you"),
        ({"name": "hf:vit"}, 32, "There is no image encoder 'hf:vit'"),
        ({"name": "timm:vit_tiny_patch16_224", "patch": 5}, 32, "do not tile images of 32"),
        ({"name": "timm:resnet18", "patch": 4}, 32, "encoder.patch=4 does not apply"),
        ({"name": "timm:resnet18", "pool": "token"}, 32, "cannot build|does not apply"),
        ({"name": "timm:mobilenetv3_small_050", "small_stem": True}, 32, "7x7 stem of a ResNet"),
    ],
)
def test_what_cannot_be_built_is_said(options: dict[str, Any], size: int, sentence: str) -> None:
    with pytest.raises((ConfigError, UsageError), match=sentence):
        build(EncoderConfig(**options), ImageConfig(size=size))


def test_mean_needs_one_value_or_one_a_channel() -> None:
    with pytest.raises(ConfigError, match="one a channel"):
        build(EncoderConfig(name="timm:resnet10t"), ImageConfig(mean=(0.1, 0.2)))


def test_building_is_a_function_of_the_seed_alone() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(_make("vit_tiny_patch16_224", {"patch": 8}, 32, 3).state_dict())
    assert all(torch.equal(x, states[1][name]) for name, x in states[0].items())


def test_the_card_and_weights_name_what_is_there(tmp_path: Path) -> None:
    encoder = _make("resnet18", {"small_stem": True}, 32, 3)
    encoder.save(tmp_path)
    assert "box interpolation" in (tmp_path / "README.md").read_text()
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["pretrained_cfg"]["input_size"] == [3, 128, 128]
    assert "url" not in config["pretrained_cfg"]
    assert "conv1.weight" in load_file(tmp_path / "model.safetensors")


def test_open_branches_let_an_untrained_network_see_all_of_an_image() -> None:
    options = {"channels": [8, 16, 16, 16], "layers": [1, 1, 1, 1]}
    made = build(EncoderConfig(name="timm:resnet18", options=options), ImageConfig(size=28)).eval()
    spot = torch.zeros(2, 3, 28, 28)
    spot[1, :, 16:20, 16:20] = 1

    def moved() -> float:
        with torch.no_grad():
            one, other = made(spot)
        return float((one - other).norm() / one.norm().clamp_min(1e-6))

    shut = moved()
    made.open_branches()
    assert shut < 0.01  # its shortcuts look at one corner
    assert moved() > 0.1
