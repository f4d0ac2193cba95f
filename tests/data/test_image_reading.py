"""Decoding: hostile bytes, every mode of pixels, orientation, size limits."""

from __future__ import annotations

import io
import os
import pickle
import socket
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from unlabeled.config import ImageConfig
from unlabeled.data.folder import open_regular, read_regular
from unlabeled.errors import DataError
from unlabeled.modalities.headers import FORMATS
from unlabeled.modalities.image import Image

READER = Image(ImageConfig())
GREY = Image(ImageConfig(channels=1, mean=(0.5,), std=(0.5,)))


def picture(height: int = 24, width: int = 20, seed: int = 0) -> PIL.Image.Image:
    """Return a smooth colour picture without symmetry."""
    rng = np.random.default_rng(seed)
    small = PIL.Image.fromarray(rng.integers(0, 256, (5, 4, 3), dtype=np.uint8))
    return small.resize((width, height), PIL.Image.Resampling.BICUBIC)


def encode(image: PIL.Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format", FORMATS)
def test_good_pixels_are_those_of_pillow(format):
    data = encode(picture(), format)
    expected = np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(READER.read(data), expected)
    assert GREY.read(data).shape == (24, 20, 1)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_truncated_files_are_refused(format, share):
    data = encode(picture(64, 64), format)
    with pytest.raises(DataError):
        READER.read(data[: int(len(data) * share)])


@pytest.mark.parametrize("data", [b"", b"some text", b"<html><img></html>", b"\x00" * 999])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(DataError, match=r"is empty|not an image of a known format"):
        READER.read(data)


def test_other_formats_are_refused():
    with pytest.raises(DataError, match="known format"):
        READER.read(encode(picture(), "PPM"))


def test_the_content_decides_not_the_ending(tmp_path):
    (tmp_path / "wrong.jpg").write_bytes(encode(picture(), "PNG"))
    assert READER.read(read_regular(str(tmp_path / "wrong.jpg"))).shape == (24, 20, 3)


def test_a_wrong_checksum_is_found():
    data = bytearray(encode(picture(), "PNG"))
    place = data.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", data, place)
    data[place + 8 + length] ^= 1
    with pytest.raises(DataError, match="checksum"):
        READER.read(bytes(data))


def test_another_librarys_leniency_is_undone(monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", True)
    data = encode(picture(64, 64), "JPEG")
    with pytest.raises(DataError):
        READER.read(data[: len(data) // 2])


_FUZZ = """
import sys, time
import numpy as np
from unlabeled.config import ImageConfig
from unlabeled.errors import DataError
from unlabeled.modalities.image import Image
reader, slowest, bad = Image(ImageConfig()), 0.0, 0
data = sys.stdin.buffer.read()
rng = np.random.default_rng(len(data))
for _ in range({count}):
    mutant = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        mutant[rng.integers(len(mutant))] ^= 1 << rng.integers(8)
    start = time.perf_counter()
    try:
        raw = reader.read(bytes(mutant))
        assert raw.dtype == np.uint8 and raw.ndim == 3 and raw.shape[2] == 3
    except DataError:
        bad += 1
    slowest = max(slowest, time.perf_counter() - start)
print(bad, slowest)
"""


@pytest.mark.parametrize("format", FORMATS)
def test_flipped_bits_neither_kill_nor_hang(format):
    data = encode(picture(48, 48), format)
    code = _FUZZ.format(count=200)
    out = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=False)
    assert out.returncode == 0, out.stderr.decode()
    bad, slowest = map(float, out.stdout.split())
    assert slowest < 2
    if format == "PNG":
        assert bad == 200  # every chunk has a checksum


def bomb(width: int, height: int) -> bytes:
    """Return a PNG header that claims a size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\x00" * 100)), (b"IEND", b"")]
    out = b"\x89PNG\r\n\x1a\n"
    for kind, content in chunks:
        out += struct.pack(">I", len(content)) + kind + content
        out += struct.pack(">I", zlib.crc32(kind + content))
    return out


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (20_000, 20_000), (8000, 7000)])
def test_bombs_are_refused_by_their_header(width, height):
    READER.read(encode(picture(), "PNG"))
    data = bomb(width, height)
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(DataError, match=r"pixels; modality.max_pixels is 50,000,000"):
        READER.read(data)
    seconds = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 0.5  # 50 ms on a quiet machine
    assert peak < 50e6


def test_the_pixel_limit_can_be_set():
    data = encode(picture(), "PNG")
    with pytest.raises(DataError, match="20 x 24 pixels"):
        Image(ImageConfig(max_pixels=479)).read(data)
    assert Image(ImageConfig(max_pixels=480)).read(data).shape == (24, 20, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_extreme_shapes(size):
    data = encode(PIL.Image.new("RGB", size, (9, 8, 7)), "PNG")
    raw = READER.read(data)
    assert raw.shape == (size[1], size[0], 3)
    assert (raw == (9, 8, 7)).all()


def pixel(mode: str, value, format: str = "PNG", **options) -> list[int]:
    image = PIL.Image.new(mode, (3, 2), value)
    if "palette" in options:
        image.putpalette(options.pop("palette"))
    return READER.read(encode(image, format, **options))[1, 1].tolist()


def test_modes_become_colour_in_a_defined_way():
    assert pixel("L", 77) == [77, 77, 77]
    assert pixel("1", 1) == [255, 255, 255]
    assert pixel("LA", (100, 255)) == [100, 100, 100]
    assert pixel("LA", (100, 0)) == [255, 255, 255]
    assert pixel("RGBA", (200, 0, 100, 0)) == [255, 255, 255]
    assert pixel("RGBA", (0, 0, 0, 51)) == [204, 204, 204]
    assert pixel("P", 1, palette=[0, 0, 0, 10, 20, 30]) == [10, 20, 30]
    assert pixel("P", 1, palette=[0, 0, 0, 10, 20, 30], transparency=1) == [255, 255, 255]
    assert pixel("RGB", (1, 2, 3), transparency=(1, 2, 3)) == [255, 255, 255]
    assert pixel("CMYK", (0, 0, 0, 0), "TIFF") == [255, 255, 255]
    assert pixel("CMYK", (255, 0, 0, 0), "TIFF") == [0, 255, 255]


def test_deep_pixels_are_scaled_not_clipped():
    ramp = np.array([[0, 257, 32896, 65535]], np.uint16)
    for format in ("PNG", "TIFF"):
        raw = READER.read(encode(PIL.Image.fromarray(ramp), format))
        assert raw[0, :, 0].tolist() == [0, 1, 128, 255]
    for values, expected in [
        ([0.0, 0.2, 1.0], [0, 51, 255]),
        ([0.0, 51.0, 200.0], [0, 51, 200]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, 1e6, 2e6], [0, 128, 255]),
    ]:
        data = encode(PIL.Image.fromarray(np.array([values], np.float32)), "TIFF")
        assert READER.read(data)[0, :, 0].tolist() == expected
    signed = PIL.Image.fromarray(np.array([[-100, 0, 100]], np.int32))
    assert READER.read(encode(signed, "TIFF"))[0, :, 0].tolist() == [0, 128, 255]
    with pytest.raises(DataError, match="not finite"):
        READER.read(encode(PIL.Image.fromarray(np.array([[0, np.nan]], np.float32)), "TIFF"))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_is_read(format):
    first, second = picture(seed=1), picture(seed=2)
    options = {"lossless": True} if format == "WEBP" else {}
    data = encode(first, format, save_all=True, append_images=[second], **options)
    image = PIL.Image.open(io.BytesIO(data))
    assert image.n_frames == 2
    np.testing.assert_array_equal(READER.read(data), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_images_are_upright(format, orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100} if format == "JPEG" else {}
    data = encode(picture(), format, exif=exif, **options)
    expected = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(data))).convert("RGB")
    np.testing.assert_array_equal(READER.read(data), np.asarray(expected))
    assert READER.read(data).shape[:2] == ((20, 24) if orientation > 4 else (24, 20))


def test_broken_exif_is_no_reason_to_drop_an_image():
    data = encode(picture(), "JPEG", exif=b"Exif\x00\x00nonsense" + b"\xff" * 20)
    assert READER.read(data).shape == (24, 20, 3)


def test_large_jpegs_are_decoded_reduced():
    data = encode(picture(1200, 1600), "JPEG")
    raw = READER.read(data)
    assert min(raw.shape[:2]) >= 4 * 32
    assert raw.shape[0] < 1200
    assert Image(ImageConfig(size=256)).read(data).shape[:2] == (1200, 1600)


def test_unusual_numbers_of_channels():
    reader = Image(ImageConfig(channels=4, mean=(0.5,), std=(0.5,)))
    data = encode(PIL.Image.new("RGBA", (4, 4), (1, 2, 3, 4)), "PNG")
    assert reader.read(data)[0, 0].tolist() == [1, 2, 3, 4]
    with pytest.raises(DataError, match=r"3 channels; modality.channels=4"):
        reader.read(encode(picture(), "PNG"))


def test_special_files_are_never_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "real.jpg").write_bytes(b"x")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "real.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    places = [tmp_path / f"{name}.jpg" for name in ("fifo", "folder", "link", "loop", "gone")]
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind(os.path.relpath(tmp_path / "s"))
        for path in [*places, tmp_path / "s", "/dev/zero"]:
            with pytest.raises(DataError):
                open_regular(str(path))
    assert read_regular(str(tmp_path / "link.jpg"), follow=True) == b"x"


def test_a_file_above_the_limit_is_not_read(tmp_path):
    with open(tmp_path / "sparse.jpg", "wb") as file:
        file.truncate(1 << 34)
    with pytest.raises(DataError, match="17,179,869,184 bytes; the limit is"):
        read_regular(str(tmp_path / "sparse.jpg"))


def test_a_modality_travels_to_workers():
    copy = pickle.loads(pickle.dumps(READER))
    assert (
        copy.describe() == READER.describe() == {"name": "image", "patch": 8} | dict(READER.config)
    )
