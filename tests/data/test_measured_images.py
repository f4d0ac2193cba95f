"""Images as measured: deep values, many channels, arrays, TIFF of any layout, very large ones."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
import torch

from unlabeled import rng
from unlabeled.choices import Request
from unlabeled.config import ImageConfig, build
from unlabeled.data.find import find
from unlabeled.errors import ConfigError, DataError
from unlabeled.modalities import gains, stored
from unlabeled.modalities.headers import Tile
from unlabeled.modalities.image import Image
from unlabeled.plan import plan
from unlabeled.types import PLAIN, View


def values(height: int = 150, width: int = 130, channels: int = 13) -> np.ndarray:
    draws = np.random.default_rng(0)
    return draws.integers(0, 4096, (height, width, channels)).astype(np.uint16)


def tiff(array: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, photometric="minisblack", **options)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


LAYOUTS = [
    {},
    {"tile": (64, 48)},
    {"rowsperstrip": 7},
    {"rowsperstrip": 7, "compression": "zlib"},
    {"tile": (64, 48), "compression": "zlib", "predictor": True},
    {"bigtiff": True, "byteorder": ">"},
    {"planarconfig": "separate", "tile": (64, 64)},
    {"planarconfig": "separate"},
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_a_tiff_of_any_layout_is_read_whole_and_in_parts(layout, tmp_path):
    given = values()
    array = given.transpose(2, 0, 1) if "planarconfig" in layout else given
    payload = tiff(array, **{"planarconfig": "contig", **layout})
    np.testing.assert_array_equal(stored.read(payload, 13), given)
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(payload)), array)  # the oracle
    (tmp_path / "a.tif").write_bytes(payload)
    for box in [(0, 0, 150, 130), (20, 31, 99, 130), (149, 129, 150, 130), (63, 47, 65, 49)]:
        part = stored.read(Tile(bytes(tmp_path / "a.tif"), box), 13)
        np.testing.assert_array_equal(part, given[box[0] : box[2], box[1] : box[3]])


def test_pages_are_channels_or_the_first_is_read():
    given = values(30, 40, 5)
    payload = tiff(given.transpose(2, 0, 1))
    assert str(stored.facts(payload)) == "5 pages of 1 channel uint16"
    np.testing.assert_array_equal(stored.read(payload, 5, "channels"), given)
    np.testing.assert_array_equal(stored.read(payload, 1)[..., 0], given[..., 0])


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "float32", "float64", "int32"])
@pytest.mark.parametrize("first", [False, True])
def test_arrays_keep_their_values_with_channels_first_or_last(kind, first):
    given = values(20, 24, 4).astype(kind)
    array = given.transpose(2, 0, 1) if first else given
    for order in (array, np.asfortranarray(array)):
        np.testing.assert_array_equal(stored.read(npy(order), 4), given)
    assert stored.facts(npy(array)).planes == 4
    grey = stored.read(npy(array[0] if first else array[..., 0]), 1)
    np.testing.assert_array_equal(grey[..., 0], given[..., 0])


def test_the_channels_wanted_decide_which_axis_they_are():
    array = np.zeros((4, 9, 6), np.float32)
    assert stored.read(npy(array), 4).shape == (9, 6, 4)
    assert stored.read(npy(array), 6).shape == (4, 9, 6)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (npy(np.array([[object()]], object)), "numbers are wanted"),
        (npy(np.zeros((2, 3, 4, 5))), r"an array \(2, 3, 4, 5\)"),
        (npy(np.zeros((8, 8)))[:-9], "cut off"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "damaged"),
        (npy(np.array([[0, np.nan], [1, 2]])), r"not finite \(25.0% of them\)"),
        (npy(np.zeros((8, 8, 3))), "it has 3 channels; modality.channels=1"),
        (tiff(values(40, 40, 1)[..., 0], compression="zlib")[:-900], "damaged"),
        (b"II*\x00" + b"\xff" * 60, "damaged|no plain image|known format"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*<tifffile")
def test_what_is_damaged_is_refused_with_its_reason(payload, said):
    reader = Image(ImageConfig(channels=1, low=(0.0,), high=(1.0,)))
    with pytest.raises(DataError, match=said):
        reader.read(payload)


def test_flipped_bits_in_a_tiff_and_an_array_neither_kill_nor_hang():
    draws = np.random.default_rng(1)
    reader = Image(ImageConfig(channels=4, low=(0.0,), high=(9.0,), max_pixels=10_000))
    for payload in (tiff(values(32, 32, 4), planarconfig="contig"), npy(values(32, 32, 4))):
        for _ in range(60):
            data = bytearray(payload)
            data[draws.integers(len(data) if draws.random() < 0.2 else 200)] ^= 1 << draws.integers(
                8
            )
            try:
                assert reader.read(bytes(data)).ndim == 3
            except DataError:
                continue


def test_deep_values_reach_the_encoder_unclipped_and_without_loss():
    settings = ImageConfig(size=16, channels=1, low=(100.0,), high=(3100.0,))
    raw = np.full((16, 16, 1), 100, np.uint16)
    raw[3, 5], raw[7, 7], raw[8, 8] = 101, 60000, 0
    cut = Image(settings).cut(raw, PLAIN, rng.generator(0))
    assert cut.dtype == torch.float32
    expected = (raw.astype(np.float64)[..., 0] - 100) / 3000
    np.testing.assert_allclose(cut[0, 0].numpy(), expected, rtol=1e-5, atol=1e-7)
    out = Image(settings).distort(cut[:, None], PLAIN, torch.tensor([1]))
    torch.testing.assert_close(out[:, 0], (cut - 0.5) / 0.5)


def test_a_deep_crop_is_pillows_resize_of_the_stored_values():
    raw = values(50, 70, 2)
    settings = ImageConfig(size=32, channels=2, low=(0.0, 10.0), high=(4000.0, 4010.0))
    cut = Image(settings).cut(raw, PLAIN, rng.generator(0))[0].numpy()
    for channel, low in enumerate((0.0, 10.0)):
        plane = PIL.Image.fromarray(raw[:, 10:60, channel].astype(np.float32))
        small = np.asarray(plane.resize((32, 32), PIL.Image.Resampling.BICUBIC))
        np.testing.assert_allclose(cut[channel], (small - low) / 4000, rtol=1e-5, atol=1e-6)


def test_turning_shows_all_eight_sides_only_where_it_is_asked_for():
    raw = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    seen = [
        len({
            Image(ImageConfig(size=8, turn=turn)).cut(raw, View(flip=flip), rng.generator(key))
            .numpy().tobytes()
            for key in range(80)
        })
        for turn, flip in [(True, True), (False, True), (True, False)]
    ]  # fmt: skip
    assert seen == [8, 2, 1]


def test_gains_have_their_ranges_and_leave_the_picture():
    x = torch.rand(4000, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 5 - 1
    keys = torch.arange(4000)
    draws = torch.cat([torch.zeros(4000, 16), gains.draw(keys, 3, 7)], dim=1)
    out = gains.jitter(x, 0.5, draws)
    still = (out == x).flatten(1).all(1)
    assert abs(float(still.float().mean()) - 0.2) < 0.03
    mean, moved = x.mean((2, 3)), out.mean((2, 3))
    gain = (moved / mean)[~still]  # (M, 3): gain times the channel's own
    assert float(gain.min()) >= 0.6 * 0.9 - 1e-3
    assert float(gain.max()) <= 1.4 * 1.1 + 1e-3
    spread = (x - mean[..., None, None])[~still] * gain[..., None, None]
    contrast = (out - moved[..., None, None])[~still] / spread
    assert float(contrast.flatten(1).std(1).max()) < 1e-2  # one factor an image
    assert float(contrast.median(dim=1)[0].min()) > 0.59
    one = gains.jitter(x[:, :1], 0.5, draws[:, :20])
    assert torch.isfinite(one).all()


def test_measured_images_are_neither_greyed_nor_solarised():
    settings = ImageConfig(size=8, channels=3, jitter="values", mean=(0.0,), std=(1.0,))
    cuts = torch.from_numpy(values(8, 8, 3).astype(np.uint8)).permute(2, 0, 1)[None, None]
    view = View(grey=1.0, solarize=(1.0,))
    out = Image(settings).distort(cuts, view, torch.tensor([5]))
    torch.testing.assert_close(out, cuts / 255)


# ------------------------------------------------------------------------------- what is chosen


def chosen(folder: Path, **overrides) -> dict:
    request = Request(data=str(folder), steps=1, overrides={"modality": overrides})
    return {c.name: (c.value, c.reason) for c in plan(request).choices}


def test_twelve_bits_in_sixteen_are_found_and_kept(tmp_path):
    for number in range(8):
        image = (values(40, 60, 1)[..., 0] + number).astype(np.uint16)
        image[0, 0] = 65535  # a hot pixel
        (tmp_path / f"{number}.tif").write_bytes(tiff(image))
    found = chosen(tmp_path)
    assert found["modality.channels"] == (1, "every sampled image has 1 channel uint16")
    assert found["modality.high"][0][0] < 4200
    assert "largest 65535" in found["modality.high"][1]
    assert found["modality.jitter"][0] == "values"
    assert 0.4 < found["modality.mean"][0][0] < 0.6


def test_pages_of_a_tiff_and_axes_of_an_array_become_channels(tmp_path):
    (tmp_path / "stack").mkdir()
    (tmp_path / "arrays").mkdir()
    for number in range(4):
        stack = values(20, 24, 5).transpose(2, 0, 1) + np.uint16(number)
        (tmp_path / "stack" / f"{number}.tif").write_bytes(tiff(stack))
        (tmp_path / "arrays" / f"{number}.npy").write_bytes(npy(values(20, 24, 13) / 4096.0))
    found = chosen(tmp_path / "stack")
    assert (found["modality.channels"][0], found["modality.pages"][0]) == (5, "channels")
    assert len(found["modality.low"][0]) == len(found["modality.mean"][0]) == 5
    found = chosen(tmp_path / "arrays")
    assert found["modality.channels"][0] == len(found["modality.std"][0]) == 13


def test_pictures_keep_their_road(tmp_path):
    for number, mode in enumerate(["RGB", "RGBA", "P", "LA"]):
        picture = PIL.Image.effect_noise((30, 20), 90).convert("RGB").convert(mode)
        picture.save(tmp_path / f"{number}.png")
    found = chosen(tmp_path)
    assert found["modality.channels"][0] in (1, 3)
    assert "modality.low" not in found
    assert found["modality.jitter"][0] == (
        "colour" if found["modality.channels"][0] == 3 else "values"
    )


@pytest.mark.parametrize("high", [(1.0,), (0.0, 9.0), (2.0, 3.0, 4.0)])
def test_the_ends_of_the_scale_are_checked(high):
    tree = {
        "data": {"path": "x", "kind": "image"}, "encoder": {"name": "timm:resnet18"},
        "method": {"name": "simclr"},
        "modality": {"channels": 2, "low": [1.0, 1.0], "high": high},
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"modality.high=.* each above"):
        build(tree)


# ------------------------------------------------------------------------------------ very large


@pytest.mark.parametrize("form", ["tiles", "plain", "npy"])
def test_a_very_large_image_is_many_samples_and_never_read_whole(tmp_path, form):
    edge = 4608  # 42 MB
    path = tmp_path / ("a.npy" if form == "npy" else "a.tif")
    data = np.zeros((edge, edge), np.uint16)
    data[:256, :512] = values(256, 512, 1)[..., 0] // 8
    data[1000:1010, 3000:3010] = 777
    if form == "npy":
        np.save(path, data)
    else:
        tiled = {"tile": (256, 256), "compression": "zlib"} if form == "tiles" else {}
        tifffile.imwrite(path, data, photometric="minisblack", **tiled)
    del data
    reader = Image(ImageConfig(channels=1, low=(0.0,), high=(1000.0,), max_pixels=10**6))
    reader.read(find(str(tmp_path)).payload(0))  # imports are no part of what is measured
    tracemalloc.start()
    source = find(str(tmp_path))
    assert len(source) == 81
    assert source.name(0) == f"{path.name}@0,0"
    found = [i for i in range(len(source)) if reader.read(source.payload(i)).max() == 777]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [source.name(i) for i in found] == [f"{path.name}@2560,512"]
    assert peak < 8e6


def test_images_that_move_are_told(tmp_path):
    frames = [PIL.Image.new("L", (16, 16), shade) for shade in (0, 255)]
    for number in range(3):
        path = tmp_path / f"{number}.gif"
        frames[0].save(path, save_all=number > 0, append_images=frames[1:] if number else [])
    told = plan(Request(str(tmp_path), steps=1)).choices[0].reason
    assert "2 of 3 move, of which the first frame is read: --kind video reads all" in told
