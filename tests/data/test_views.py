"""Cuts and distortions: the values of torchvision, the draws of a key."""

from __future__ import annotations

import math
import zlib

import numpy as np
import PIL.Image
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from unlabeled import rng
from unlabeled.config import ImageConfig
from unlabeled.modalities import colour
from unlabeled.modalities.image import Image, crop_box
from unlabeled.types import PLAIN, View

IMAGES = Image(ImageConfig(size=32))
GLOBAL = View(
    count=2, extent=(0.08, 1.0), flip=True, distort=0.5, grey=0.2, blur=(1.0, 0.1),
    solarize=(0.0, 0.2),
)  # fmt: skip


def noise(height: int = 32, width: int = 32, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def batch(num: int = 12, size: int = 32, channels: int = 3) -> torch.Tensor:
    return torch.rand(num, channels, size, size, generator=torch.Generator().manual_seed(1))


# ------------------------------------------------------------------------------------ cutting


def test_the_whole_of_a_square_image_of_the_right_size_is_itself():
    raw = noise()
    cut = IMAGES.cut(raw, PLAIN, rng.generator(0))
    np.testing.assert_array_equal(cut[0].permute(1, 2, 0).numpy(), raw)


def test_the_whole_of_another_image_is_its_centre_square():
    raw = noise(40, 64)
    cut = IMAGES.cut(raw, PLAIN, rng.generator(0))[0].permute(1, 2, 0).numpy()
    square = PIL.Image.fromarray(raw[:, 12:52])
    expected = square.resize((32, 32), PIL.Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(cut, np.asarray(expected))


def test_a_crop_has_the_values_of_torchvision():
    raw = noise(50, 70)
    for key in range(20):
        left, top, right, bottom = crop_box(50, 70, (0.08, 1.0), rng.generator(key))
        view = View(extent=(0.08, 1.0))
        cut = IMAGES.cut(raw, view, rng.generator(key))[0].permute(1, 2, 0).numpy()
        expected = tv.resized_crop(
            PIL.Image.fromarray(raw), top, left, bottom - top, right - left, [32, 32],
            v2.InterpolationMode.BICUBIC,
        )  # fmt: skip
        np.testing.assert_array_equal(cut, np.asarray(expected))


def test_boxes_are_distributed_as_torchvisions():
    torch.manual_seed(0)
    crop = v2.RandomResizedCrop(32, scale=(0.08, 1.0))
    image = torch.zeros(3, 60, 90)
    theirs = []
    for _ in range(4000):
        drawn = crop.make_params([image])
        theirs.append((drawn["left"], drawn["top"], drawn["width"], drawn["height"]))
    generator = rng.generator(3)
    ours = []
    for _ in range(4000):
        left, top, right, bottom = crop_box(60, 90, (0.08, 1.0), generator)
        ours.append((left, top, right - left, bottom - top))
    a, b = np.array(theirs, float), np.array(ours, float)
    spread = np.sqrt((a.var(0) + b.var(0)) / 4000)
    assert (np.abs(a.mean(0) - b.mean(0)) < 4 * spread).all()
    np.testing.assert_allclose(b.std(0), a.std(0), rtol=0.05)


@pytest.mark.parametrize("extent", [(0.2, 0.5), (0.08, 0.4), (0.5, 1.0)])
def test_extent_and_aspect_are_honoured(extent):
    generator = rng.generator(1)
    for _ in range(500):
        left, top, right, bottom = crop_box(200, 200, extent, generator)
        width, height = right - left, bottom - top
        assert 0 <= left < right <= 200
        assert 0 <= top < bottom <= 200
        assert extent[0] - 0.02 <= width * height / 40_000 <= extent[1] + 0.02
        assert 3 / 4 - 0.05 <= width / height <= 4 / 3 + 0.05


@pytest.mark.parametrize(("height", "width"), [(1, 5000), (5000, 1), (1, 1)])
def test_a_crop_of_any_shape_falls_back_to_the_centre(height, width):
    left, top, right, bottom = crop_box(height, width, (0.5, 1.0), rng.generator(0))
    assert right - left >= 1
    assert bottom - top >= 1
    assert abs((left + right) - width) <= 1
    cut = IMAGES.cut(noise(height, width), GLOBAL, rng.generator(0))
    assert cut.shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    ("size", "patch", "share", "edge"),
    [(32, 4, 96 / 224, 16), (32, 8, 96 / 224, 16), (28, 7, 96 / 224, 14), (64, 8, 0.43, 24),
     (224, 16, 96 / 224, 96), (32, 4, 0.1, 8), (45, 8, 1.0, 45)],
)  # fmt: skip
def test_small_views_are_whole_patches(size, patch, share, edge):
    images = Image(ImageConfig(size=size), patch)
    cut = images.cut(noise(), View(extent=(0.05, 0.4), size=share), rng.generator(0))
    assert cut.shape == (1, 3, edge, edge)


def test_mirroring_needs_view_and_config():
    raw = noise()
    mirrored = np.ascontiguousarray(raw[:, ::-1])
    never = Image(ImageConfig(flip=False))
    seen = set()
    for key in range(20):
        cut = IMAGES.cut(raw, View(flip=True), rng.generator(key))[0].permute(1, 2, 0).numpy()
        assert (cut == raw).all() or (cut == mirrored).all()
        seen.add(bool((cut == raw).all()))
        for images, view in [(never, View(flip=True)), (IMAGES, View())]:
            cut = images.cut(raw, view, rng.generator(key))[0].permute(1, 2, 0).numpy()
            assert (cut == raw).all()
    assert seen == {True, False}


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels_is_cut_and_distorted(channels):
    images = Image(ImageConfig(channels=channels))
    raw = noise(40, 50, channels)
    cut = images.cut(raw, GLOBAL, rng.generator(0))
    one = Image(ImageConfig(channels=1)).cut(raw[:, :, :1], GLOBAL, rng.generator(0))
    assert torch.equal(cut[:, :1], one)
    out = images.distort(cut[:, None], GLOBAL, torch.tensor([1]))
    assert out.shape == (2, 1, channels, 32, 32)
    assert out.isfinite().all()


# --------------------------------------------------------------------------------- distorting


@pytest.mark.parametrize(
    ("ours", "theirs", "factor"),
    [(colour.brightness, tv.adjust_brightness, 0.4), (colour.brightness, tv.adjust_brightness, 1.7),
     (colour.contrast, tv.adjust_contrast, 0.3), (colour.contrast, tv.adjust_contrast, 1.6),
     (colour.saturation, tv.adjust_saturation, 0.0),
     (colour.saturation, tv.adjust_saturation, 1.8),
     (colour.hue, tv.adjust_hue, 0.2), (colour.hue, tv.adjust_hue, -0.17),
     (colour.hue, tv.adjust_hue, 0.5)],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3])
def test_each_distortion_has_the_values_of_torchvision(ours, theirs, factor, channels):
    x = batch(channels=channels)
    x[0] = 0.3  # no colour at all
    x[1, :, :4] = 0
    x[2, :, 3:7] = 1
    out = ours(x.clone(), torch.full((len(x),), factor))
    torch.testing.assert_close(out, theirs(x, factor), atol=1e-2 / 255, rtol=0)


@pytest.mark.parametrize(("size", "sigma"), [(32, 0.1), (32, 2.0), (96, 1.3), (224, 0.7)])
def test_blur_has_the_values_of_torchvision(size, sigma):
    x = batch(2, size)
    width = 2 * colour.kernel_radius(size) + 1
    expected = tv.gaussian_blur(x, [width, width], [sigma, sigma])
    out = colour.gaussian(x, torch.full((2,), sigma))
    torch.testing.assert_close(out, expected, atol=1e-2 / 255, rtol=0)


def naive(x: torch.Tensor, view: View, copy: int, draws: torch.Tensor) -> torch.Tensor:
    """Distort one image (C, H, W) with torchvision, from the same 16 draws."""
    strength = view.distort
    if draws[0] < 0.8:
        factors = []
        for number, share in enumerate((0.8, 0.8, 0.8)):
            low, high = max(0.0, 1 - share * strength), 1 + share * strength
            factors.append(low + float(draws[1 + number]) * (high - low))
        factors.append(-0.2 * strength + float(draws[4]) * 0.4 * strength)
        steps = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
        for number in draws[5:9].argsort().tolist():
            x = steps[number](x, factors[number])
    if draws[9] < view.grey:
        x = tv.rgb_to_grayscale(x, num_output_channels=3)
    if draws[10] < view.blur[copy]:
        width = 2 * colour.kernel_radius(x.shape[-1]) + 1
        x = tv.gaussian_blur(x, [width, width], [0.1 + 1.9 * float(draws[11])] * 2)
    if draws[12] < view.solarize[copy]:
        x = tv.solarize(x, 0.5)
    return (x - 0.5) / 0.5


def test_a_batch_is_distorted_as_image_by_image_with_torchvision():
    cuts = torch.from_numpy(noise(2 * 70, 3 * 32, 32)).reshape(2, 70, 3, 32, 32)
    keys = torch.arange(70) * 7919
    out = IMAGES.distort(cuts, GLOBAL, keys)
    for copy in range(2):
        draws = colour.draw(keys, (zlib.crc32(repr(GLOBAL).encode()) << 8) + copy)
        for i in range(70):
            expected = naive(cuts[copy, i].float() / 255, GLOBAL, copy, draws[i])
            # Solarising is a step at 0.5, so a rounding there may fall to the other side.
            far = (out[copy, i] - expected).abs() > 1e-4
            assert far.float().mean() < 0.001


def test_probabilities_and_ranges():
    keys = torch.arange(20_000)
    draws = colour.draw(keys, 5)
    factors = colour._factors(draws[:, 1:5], 0.5)
    for column, (low, high) in enumerate([(0.6, 1.4)] * 3 + [(-0.1, 0.1)]):
        assert low <= factors[:, column].min() < low + 0.01
        assert high - 0.01 < factors[:, column].max() <= high
    order = draws[:, 5:9].argsort(dim=1)
    shares = torch.stack([(order == k).float().mean(0) for k in range(4)])
    assert (shares - 0.25).abs().max() < 0.02
    strong = colour._factors(draws[:, 1:5], 2.0)
    assert strong[:, :3].min() >= 0  # never a negative factor
    x = torch.full((20_000, 3, 1, 1), 0.25) * torch.tensor([1.0, 0.5, 2.0])[:, None, None]
    grey = colour.remove_colour(x, 0.2, draws)
    assert abs((grey[:, 0] == grey[:, 1]).float().mean() - 0.2) < 0.01
    turned = colour.solarize(torch.full((20_000, 1, 1, 1), 0.75), 0.3, draws)
    assert abs((turned == 0.25).float().mean() - 0.3) < 0.01


def test_without_distortion_only_normalisation_is_left():
    images = Image(ImageConfig(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)))
    cuts = torch.from_numpy(noise()).permute(2, 0, 1)[None, None].contiguous()
    out = images.distort(cuts, PLAIN, torch.tensor([3]))
    expected = tv.normalize(cuts[0].float() / 255, [0.1, 0.2, 0.3], [0.5, 0.6, 0.7])
    torch.testing.assert_close(out[0], expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("edge", [16, 32])
def test_the_size_of_a_batch_changes_no_bit(channels, edge):
    images = Image(ImageConfig(channels=channels))
    cuts = torch.from_numpy(noise(2 * 150 * channels, edge, edge)).reshape(
        2, 150, channels, edge, edge
    )
    keys = torch.arange(150) * 31 + 7
    whole = images.distort(cuts, GLOBAL, keys)
    for size in (1, 37, 64):
        parts = [
            images.distort(cuts[:, i : i + size], GLOBAL, keys[i : i + size])
            for i in range(0, 150, size)
        ]
        assert torch.equal(torch.cat(parts, dim=1), whole)


def test_kinds_and_copies_draw_apart():
    cuts = torch.from_numpy(noise()).permute(2, 0, 1)[None, None].expand(2, 1, 3, 32, 32)
    key = torch.tensor([11])
    strong = View(count=2, distort=1.0)
    a, b = IMAGES.distort(cuts, strong, key), IMAGES.distort(cuts, View(2, distort=1.01), key)
    assert not torch.equal(a[0], a[1])
    assert (a[0] - b[0]).abs().mean() > 0.02  # not the same draws at another strength


def views_of_epochs(num_samples: int, batch_size: int) -> list[bytes]:
    """Return 4 epochs of one view a sample of copies of one image."""
    raw, view = noise(48, 48), View(extent=(0.08, 1.0), flip=True, distort=0.5, grey=0.2)
    seen = []
    for epoch in range(4):
        keys = [rng.sample_key(0, epoch, i) for i in range(num_samples)]
        for start in range(0, num_samples, batch_size):
            part = keys[start : start + batch_size]
            cuts = torch.stack([IMAGES.cut(raw, view, rng.generator(k)) for k in part], dim=1)
            views = IMAGES.distort(cuts, view, torch.tensor(part))[0]
            seen += [v.numpy().tobytes() for v in views]
    return seen


def test_no_view_is_ever_repeated():
    seen = views_of_epochs(64, 64)
    assert len(set(seen)) == 256
    assert views_of_epochs(64, 8) == seen


# ------------------------------------------------------------------------------ what is inside


def test_patches_are_in_the_order_of_mae():
    x = batch(2, 8)
    patches = IMAGES.raw(x, 4)  # (B, N, P)
    assert patches.shape == (2, 4, 48)
    expected = x[1, :, 4:8, 0:4].permute(1, 2, 0).reshape(-1)  # third patch: second row, left
    torch.testing.assert_close(patches[1, 2], expected)
    assert torch.equal(IMAGES.raw(x), x.flatten(2).transpose(1, 2))


def test_plain_features_tell_colours_and_directions():
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[::4] = stripes[1::4] = 255
    red = np.zeros((30, 50, 3), np.uint8)
    red[..., 0] = 255
    raws = [stripes, np.ascontiguousarray(stripes.transpose(1, 0, 2)), red]
    features = IMAGES.plain_features(raws)
    assert {k: v.shape[0] for k, v in features.items()} == {"pixels": 3, "colour_gradient": 3}
    assert all(v.dtype == np.float32 for v in features.values())
    histogram, gradients = np.split(features["colour_gradient"], [64], axis=1)
    np.testing.assert_allclose((histogram**2).sum(1), 1, rtol=1e-5)
    assert histogram[2].argmax() == 3  # full red, no green, no blue
    across, along = gradients[0].reshape(16, 9).sum(0), gradients[1].reshape(16, 9).sum(0)
    assert along.argmax() in (0, 8)  # vertical stripes: the gradient is horizontal
    assert across.argmax() in (4, 5)
    assert not gradients[2].any()
    norms = np.linalg.norm(gradients[:2], axis=1)
    assert all(math.isclose(norm, 1, rel_tol=0.01) for norm in norms)
