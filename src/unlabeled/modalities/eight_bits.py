"""What Pillow decodes, as eight bits of grey or colour."""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from unlabeled.errors import DataError

UPRIGHT = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
"""What turns an image upright, by its EXIF orientation."""


def check_png(payload: bytes) -> None:
    """Check the length and the checksum of every chunk up to IEND, which Pillow does not.

    Raises:
        DataError: a chunk is damaged or the end is missing.
    """
    position = 8
    while position + 12 <= len(payload):
        length, kind = struct.unpack_from(">I4s", payload, position)
        stop = position + 8 + length
        if stop + 4 > len(payload):
            break
        expected = struct.unpack_from(">I", payload, stop)[0]
        if zlib.crc32(memoryview(payload)[position + 4 : stop]) != expected:
            raise DataError(f"it is damaged (wrong checksum of chunk {kind!r})")
        if kind == b"IEND":
            return
        position = stop + 4
    raise DataError("it is damaged (cut off)")


def orientation(image: PIL.Image.Image) -> int:
    """Return the EXIF orientation; unreadable EXIF means upright. Pillow turns TIFF itself."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:
        return 1


def scaled(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale values of more than 8 bits to 0..255 by the range that their type suggests."""
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError("it holds values that are not finite")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 65535:
        values, top = values - low, max(high - low, 1e-30)
    else:
        top = 65535.0
    return np.rint(values * 255 / top).astype(np.uint8)


def scaled_float(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale float values: [0, 1] and [0, 255] are taken as such."""
    high = float(values.max()) if np.isfinite(values).all() and values.min() >= 0 else math.inf
    if high <= 255:
        return np.rint(values.astype(np.float64) * (255 if high <= 1 else 1)).astype(np.uint8)
    return scaled(values)


def _flat(image: PIL.Image.Image) -> PIL.Image.Image:
    """Scale deep images to 8 bits and lay transparent ones on white."""
    if image.mode.startswith("I"):
        return PIL.Image.fromarray(scaled(np.asarray(image)))
    if image.mode == "F":
        return PIL.Image.fromarray(scaled_float(np.asarray(image)))
    if image.has_transparency_data:
        front = image.convert("RGBA")
        white = PIL.Image.new("RGBA", front.size, (255, 255, 255, 255))
        return PIL.Image.alpha_composite(white, front).convert("RGB")
    return image


def to_channels(image: PIL.Image.Image, channels: int) -> NDArray[np.uint8]:
    """Return the pixels with the channels asked for, (H, W) or (H, W, C) uint8.

    Raises:
        DataError: neither grey nor colour is asked for, and the image has other channels.
    """
    if channels in (1, 3):
        return np.asarray(_flat(image).convert("L" if channels == 1 else "RGB"))
    if len(image.getbands()) != channels:
        raise DataError(f"it has {len(image.getbands())} channels; modality.channels={channels}")
    return np.asarray(image)
