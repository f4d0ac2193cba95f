"""Images as their files store them: any depth, any number of channels, any part of a large one.

Pillow reads what people look at: eight bits, grey or colour. Measured images are read here without
loss: sixteen bits and floats, TIFF of many pages or bands, and arrays (``.npy``). Of a TIFF or an
array only what a box needs is read and decoded, so that memory does not grow with the image.
"""

from __future__ import annotations

import io
import os
import warnings
from typing import Any, BinaryIO, Literal

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from unlabeled.errors import DataError
from unlabeled.modalities import tiff
from unlabeled.modalities.headers import FORMATS, MAX_CHANNELS, Box, Facts, Pages, Tile

_NPY = b"\x93NUMPY"
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_SIMPLE = {"RGB", "RGBA", "L", "LA", "I;16", "I", "F"}


def is_array(start: bytes) -> bool:
    """Return whether a file that begins so is a numpy array."""
    return start.startswith(_NPY)


def is_tiff(start: bytes) -> bool:
    """Return whether a file that begins so is a TIFF."""
    return start[:4] in _TIFF


def facts(payload: bytes | Tile | BinaryIO) -> Facts:
    """Read the header of an image.

    Raises:
        DataError: it is none that can be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _facts(payload)
    except DataError:
        raise
    except Exception as error:  # Pillow raises some ten classes on what is damaged
        raise DataError(f"its header cannot be read ({error or type(error).__name__})") from None


def _facts(payload: bytes | Tile | BinaryIO) -> Facts:
    with _opened(payload) as file:
        start = file.read(8)
        file.seek(0)
        if is_array(start):
            return _Array(file).facts
        if is_tiff(start) and tiff.library() is not None:
            return tiff.facts(file)
        with PIL.Image.open(file, formats=FORMATS) as image:
            array = np.asarray(PIL.Image.new(_mode(image), (1, 1)))
            channels = array.shape[2] if array.ndim == 3 else 1
            pages = getattr(image, "n_frames", 1) if is_tiff(start) else 1
            return Facts(
                image.height, image.width, channels, pages, str(array.dtype),
                alpha=image.has_transparency_data,
                moves=not is_tiff(start) and getattr(image, "is_animated", False),
            )  # fmt: skip


def read(payload: bytes | Tile, channels: int, pages: Pages = "first") -> NDArray[Any]:
    """Return values as stored, (H, W, C) of uint8, uint16, int16 or float32.

    Args:
        payload: an encoded image, or a part of a large one.
        channels: C that is wanted.
        pages: whether the pages of a TIFF are its channels, or only the first is read.

    Raises:
        DataError: damaged, of other channels, or with values that are not finite.
    """
    box = payload.box if isinstance(payload, Tile) else None
    with _opened(payload) as file:
        start = file.read(8)
        file.seek(0)
        if is_array(start):
            values = _Array(file, channels).read(box)
        elif is_tiff(start) and tiff.library() is not None:
            values = tiff.read(file, box, pages)
        else:
            values = _read_with_pillow(file, pages, is_tiff(start))
    if values.shape[2] != channels:
        raise DataError(f"it has {values.shape[2]} channels; modality.channels={channels}")
    return _tame(values)


def _opened(payload: bytes | Tile | BinaryIO) -> BinaryIO:
    if isinstance(payload, bytes):
        return io.BytesIO(payload)
    return open(os.fsdecode(payload.path), "rb") if isinstance(payload, Tile) else payload


def _tame(values: NDArray[Any]) -> NDArray[Any]:
    """Return values in one of four types, refusing those that are not finite."""
    kind, width = values.dtype.kind, values.dtype.itemsize
    if kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if kind in "ui" and width <= 2:
        narrow = {"u1": np.uint8, "u2": np.uint16}.get(f"{kind}{width}", np.int16)
        return np.ascontiguousarray(values, narrow)
    if kind not in "uif":
        raise DataError(f"its values are of the type {values.dtype}, which is no brightness")
    found = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(found).all():
        share = 1 - np.isfinite(found).mean()
        raise DataError(f"it holds values that are not finite ({share:.1%} of them)")
    return found


class _Array:
    """A ``.npy`` file of (H, W), (H, W, C) or (C, H, W), of which parts can be read.

    Of a first and a last axis that both could be the channels the shorter one is taken, unless
    only one of them has the length that is wanted.
    """

    def __init__(self, file: BinaryIO, channels: int | None = None) -> None:
        try:
            version = np.lib.format.read_magic(file)
            header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if header is None:
                raise DataError(f"it is an array of version {version}, which is not read")
            self.shape, self.fortran, self.type = header(file)
        except (ValueError, EOFError) as error:
            raise DataError(f"it is damaged ({error})") from None
        if self.type.hasobject or self.type.kind not in "buif":
            raise DataError(f"it is an array of {self.type}; numbers are wanted")
        if len(self.shape) not in (2, 3) or min(self.shape) < 1:
            raise DataError(f"it is an array {self.shape}; (H, W), (H, W, C) or (C, H, W) is read")
        self.file, self.start = file, file.tell()
        first = len(self.shape) == 3 and self._first_is_channels(channels)
        self.axis = None if len(self.shape) == 2 else 0 if first else 2

    def _first_is_channels(self, channels: int | None) -> bool:
        first, last = self.shape[0], self.shape[2]
        if channels is not None and (first == channels) != (last == channels):
            return bool(first == channels)
        return bool(first < last)

    @property
    def facts(self) -> Facts:
        rest = [n for axis, n in enumerate(self.shape) if axis != self.axis]
        channels = 1 if self.axis is None else self.shape[self.axis]
        return Facts(rest[0], rest[1], channels, 1, self.type.name, cheap=True)

    def read(self, box: Box | None) -> NDArray[Any]:
        order: Literal["F", "C"] = "F" if self.fortran else "C"
        wanted = self.type.itemsize * int(np.prod(self.shape, dtype=np.int64))
        held = self.file.seek(0, os.SEEK_END) - self.start
        if held < wanted:
            raise DataError(f"it is damaged (cut off: {held:,} bytes of {wanted:,})")
        self.file.seek(self.start)
        if isinstance(self.file, io.BytesIO):
            buffer = self.file.getbuffer()[self.start : self.start + wanted]
            values = np.frombuffer(buffer, self.type).reshape(self.shape, order=order)
        else:
            values = np.memmap(self.file, self.type, "r", self.start, self.shape, order)
        values = values[:, :, None] if self.axis is None else np.moveaxis(values, self.axis, 2)
        if box is not None:
            values = values[box[0] : box[2], box[1] : box[3]]
        return np.array(values, order="C")


# ------------------------------------------------------------------------------------- Pillow


def _mode(image: PIL.Image.Image) -> str:
    """Return the mode that an image is read in without loss."""
    if image.mode.startswith("I;16"):
        return "I;16"
    if image.mode in _SIMPLE:
        return image.mode
    if image.mode == "1":
        return "L"
    return "RGBA" if image.has_transparency_data else "RGB"


def _read_with_pillow(file: BinaryIO, pages: Pages, paged: bool) -> NDArray[Any]:
    """Return what Pillow decodes, (H, W, C)."""
    planes = []
    with PIL.Image.open(file, formats=FORMATS) as image:
        count = getattr(image, "n_frames", 1) if paged and pages == "channels" else 1
        for number in range(min(count, MAX_CHANNELS)):
            image.seek(number)
            mode = _mode(image)
            values = np.asarray(image if image.mode.startswith("I;16") else image.convert(mode))
            planes.append(values if values.ndim == 3 else values[:, :, None])
    if any(plane.shape != planes[0].shape for plane in planes):
        raise DataError("its pages differ in size, so they are no channels")
    return np.concatenate(planes, axis=2)
