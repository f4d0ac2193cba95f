"""Clips without a container of video: animated pictures, arrays, and folders of numbered ones."""

from __future__ import annotations

import hashlib
import io
import math
import os
import warnings
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import PIL.Image
import PIL.ImageFile
from numpy.typing import NDArray

from unlabeled.errors import DataError
from unlabeled.modalities import containers, eight_bits
from unlabeled.modalities.film import Film, Limits, Reel
from unlabeled.modalities.headers import FORMATS

_MOST_BYTES = 1 << 31
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True)
class Stills:
    """Numbered pictures of a folder, which together are a clip.

    Args:
        paths: the files, in the order of time.
    """

    paths: tuple[bytes, ...]

    def __len__(self) -> int:
        """Return about how many bytes they have."""
        return 10_000 * len(self.paths)

    def __bytes__(self) -> bytes:
        """Return what tells them from others, wherever they lie.

        Raises:
            DataError: one cannot be read.
        """
        digest = hashlib.blake2b()
        try:
            for path in self.paths:
                with open(path, "rb") as file:
                    digest.update(hashlib.blake2b(file.read()).digest())
        except OSError as error:
            raise DataError(f"it cannot be opened ({error.strerror})") from None
        return digest.digest()


def read(payload: bytes | Stills, limits: Limits) -> Film:
    """Read an animated picture, an array or a folder of pictures.

    Raises:
        DataError: damaged, too large or too long, or not of frames.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if isinstance(payload, Stills):
                return _of_pictures(payload, limits)
            name = containers.form(payload[:64])
            if name == "npy":
                return _of_array(io.BytesIO(payload), len(payload), limits)
            return _of_zip(payload, limits) if name == "npz" else _animated(payload, name, limits)
    except DataError:
        raise
    except PIL.Image.DecompressionBombError:
        raise DataError(
            f"its frames have too many pixels; modality.max_pixels is {limits.max_pixels:,}"
        ) from None
    except Exception as error:  # Pillow and zipfile raise some ten classes on what is damaged
        raise DataError(f"it is damaged ({error or type(error).__name__})") from None


def _small(image: PIL.Image.Image, limits: Limits, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a picture as it is kept, (H, W) or (H, W, 3)."""
    pixels = eight_bits.to_channels(image, limits.channels)
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(PIL.Image.fromarray(pixels).resize(size[::-1], PIL.Image.Resampling.BOX))


def _film(reel: Reel, size: tuple[int, int], rate: float, codec: str) -> Film:
    if not reel.frames:
        raise DataError("it has no frames")
    return Film(np.stack(reel.frames), reel.seen, rate, *size, codec)


def _animated(payload: bytes, name: str, limits: Limits) -> Film:
    if name == "png":
        eight_bits.check_png(payload)
    elif name == "gif" and not payload.rstrip(b"\x00").endswith(b";"):
        raise DataError("it is cut off: its last byte is missing")
    containers.check_whole(name, io.BytesIO(payload), len(payload))
    PIL.ImageFile.LOAD_TRUNCATED_IMAGES = False  # other libraries set it for the process
    reel, waits = Reel(limits), []
    with PIL.Image.open(io.BytesIO(payload), formats=FORMATS) as image:
        own = image.height, image.width
        size = limits.target(*own)
        while True:
            try:
                image.seek(reel.seen)
            except EOFError:
                break
            if reel.wants():
                image.load()
                reel.add(_small(image, limits, size))
            waits.append(float(image.info.get("duration") or 0))
    wait = sum(waits) / len(waits)
    return _film(reel, own, 1000 / wait if wait else 0.0, name)


def _of_pictures(stills: Stills, limits: Limits) -> Film:
    reel, own = Reel(limits), (0, 0)
    for path in stills.paths:
        if not reel.wants():
            continue
        with PIL.Image.open(os.fsdecode(path), formats=FORMATS) as image:
            size = limits.target(image.height, image.width)
            own = own if reel.frames else (image.height, image.width)
            if (image.height, image.width) != own:
                raise DataError(
                    f"its pictures differ in size: {own[1]} x {own[0]} and "
                    f"{image.width} x {image.height} ({os.path.basename(os.fsdecode(path))})"
                )
            image.load()
            reel.add(_small(image, limits, size))
    return _film(reel, own, 0.0, "pictures")


def _of_array(file: BinaryIO, size: int, limits: Limits) -> Film:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise DataError(f"it is an array of version {version}, which is not read")
    shape, fortran, kind = _HEADERS[version](file)
    _check_shape(shape, kind)
    if fortran:
        raise DataError("it is an array in Fortran's order; save np.ascontiguousarray of it")
    wanted, start = math.prod(shape), file.tell()
    if size - start < wanted:
        raise DataError(f"it is cut off: {size - start:,} of {wanted:,} bytes are there")
    limits.target(*shape[1:3])
    frames = np.frombuffer(file.read(wanted), np.uint8).reshape(shape)
    return _of_frames(frames, limits)


def _check_shape(shape: tuple[int, ...], kind: np.dtype[Any]) -> None:
    fits = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4))
    if not fits or min(shape) < 1 or kind != np.uint8:
        raise DataError(
            f"it is an array {shape} of {kind}; frames are uint8, (T, H, W) or (T, H, W, C) with "
            "1, 3 or 4 channels"
        )


def _of_frames(frames: Iterable[NDArray[np.uint8]], limits: Limits) -> Film:
    reel, own = Reel(limits), (0, 0)
    for frame in frames:
        own = (frame.shape[0], frame.shape[1])
        if reel.wants():
            one = frame[..., 0] if frame.ndim == 3 and frame.shape[2] == 1 else frame
            reel.add(_small(PIL.Image.fromarray(one), limits, limits.target(*own)))
    return _film(reel, own, 0.0, "array")


def _of_zip(payload: bytes, limits: Limits) -> Film:
    """Read the first array of frames of an ``.npz`` file; nothing in it is unpickled."""
    reasons = []
    with zipfile.ZipFile(io.BytesIO(payload)) as bundle:
        for info in bundle.infolist():
            if not info.filename.endswith(".npy") or info.file_size > _MOST_BYTES:
                reasons.append(f"{info.filename} is no array of frames")
                continue
            with bundle.open(info) as member:
                head = io.BytesIO(member.read(info.file_size))
            try:
                return _of_array(head, info.file_size, limits)
            except DataError as error:
                reasons.append(f"{info.filename}: {error}")
    raise DataError(f"it holds no array of frames ({'; '.join(reasons[:3]) or 'it is empty'})")
