"""Images: decoded by Pillow from a short list of formats, cropped there, distorted as a batch.

The crop is that of torchvision's `RandomResizedCrop`, the distortions those of its v2
functionals, with every draw taken from the sample's key.
"""

from __future__ import annotations

import io
import math
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import PIL.Image
import PIL.ImageFile
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlabeled.config import ImageConfig, RunConfig
from unlabeled.errors import DataError
from unlabeled.kinds import IMAGE
from unlabeled.modalities import (
    colour,
    eight_bits,
    gains,
    picture_features,
    stored,
    strokes,
)
from unlabeled.modalities.base import Modality
from unlabeled.modalities.headers import FORMATS, Tile
from unlabeled.types import View

_ASPECT = (3 / 4, 4 / 3)
_TRIES = 10
_DRAFT = 4


class Image(Modality):
    """Still images.

    Args:
        config: size, channels, normalisation and limits.
        patch: patch edge of the encoder; the edge of a view smaller than the encoder's input is
            rounded to a multiple of it, of at least 8 pixels.
    """

    name: ClassVar[str] = "image"
    suffixes: ClassVar[frozenset[str]] = IMAGE

    def __init__(self, config: ImageConfig, patch: int = 8):
        self.config, self.patch = config, patch

    @classmethod
    def of_run(cls, config: RunConfig, folder: Path) -> Image:
        """Return the modality of a run."""
        assert isinstance(config.modality, ImageConfig)
        return cls(config.modality, config.encoder.patch or 8)

    @classmethod
    def of_folder(cls, settings: Mapping[str, Any], folder: Path) -> Image:
        """Return the modality of a saved encoder."""
        return cls(ImageConfig(**settings))

    def read(self, payload: bytes | Tile) -> NDArray[Any]:
        """Decode an encoded image, or a part of a large one, to (H, W, C).

        Eight bits: the first frame, upright by its EXIF orientation; 16-bit and float values are
        scaled, never clipped; transparent pixels are laid on white. A JPEG much larger than the
        encoder's input is decoded at a half, a quarter or an eighth of its size. Where
        ``modality.low`` is given, and for arrays and TIFF of several channels: as stored.

        Raises:
            DataError: damaged, too large, or of a format that is not read.
        """
        if not len(payload):
            raise DataError("it is empty")
        # The decoders of Pillow raise some ten classes of exceptions on damaged input.
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if isinstance(payload, Tile) or self._wants_stored(payload):
                    return self._read_stored(payload)
                return self._decode(payload)
        except DataError:
            raise
        except PIL.UnidentifiedImageError:
            raise DataError(
                f"it is not an image of a known format ({', '.join(FORMATS)})"
            ) from None
        except PIL.Image.DecompressionBombError:
            raise DataError(self._too_large()) from None
        except Exception as error:
            raise DataError(f"it is damaged ({error or type(error).__name__})") from None

    def _too_large(self, width: int = 0, height: int = 0) -> str:
        size = f"{width:,} x {height:,} pixels" if width else "too many pixels"
        return f"it has {size}; modality.max_pixels is {self.config.max_pixels:,}"

    def _wants_stored(self, payload: bytes) -> bool:
        """Tell whether values are taken as stored."""
        c, start = self.config, payload[:8]
        several = stored.is_tiff(start) and (c.pages == "channels" or c.channels not in (1, 3))
        return bool(c.low) or stored.is_array(start) or several

    def _read_stored(self, payload: bytes | Tile) -> NDArray[Any]:
        found, wanted = stored.facts(payload), self.config.channels
        if not isinstance(payload, Tile) and found.height * found.width > self.config.max_pixels:
            raise DataError(self._too_large(found.width, found.height))
        if self.config.low:
            return stored.read(payload, wanted, self.config.pages)
        grey_or_colour = self.config.pages == "first" and {found.channels, wanted} == {1, 3}
        given = found.channels if grey_or_colour else wanted
        raw = stored.read(payload, given, self.config.pages)
        if raw.dtype != np.uint8:
            scale = eight_bits.scaled_float if raw.dtype == np.float32 else eight_bits.scaled
            raw = scale(raw)
        if not grey_or_colour:
            return raw
        image = PIL.Image.fromarray(raw[:, :, 0] if given == 1 else raw)
        return np.atleast_3d(np.asarray(image.convert("L" if wanted == 1 else "RGB")))

    def _decode(self, payload: bytes) -> NDArray[np.uint8]:
        PIL.ImageFile.LOAD_TRUNCATED_IMAGES = False  # other libraries set it for the process
        if PIL.Image.MAX_IMAGE_PIXELS is not None:
            PIL.Image.MAX_IMAGE_PIXELS = max(PIL.Image.MAX_IMAGE_PIXELS, self.config.max_pixels)
        with PIL.Image.open(io.BytesIO(payload), formats=FORMATS) as image:
            width, height = image.size
            if width * height > self.config.max_pixels:
                raise DataError(self._too_large(width, height))
            if min(width, height) < 1:
                raise DataError("it has no pixels")
            if image.format == "PNG":
                eight_bits.check_png(payload)
            if image.format == "JPEG" and min(width, height) >= 2 * _DRAFT * self.config.size:
                image.draft(None, (_DRAFT * self.config.size,) * 2)
            image.load()
            orientation = eight_bits.orientation(image)
            still = eight_bits.to_channels(image, self.config.channels)
        method = eight_bits.UPRIGHT.get(orientation)
        if method is not None:
            still = np.asarray(PIL.Image.fromarray(still).transpose(method))
        return still if still.ndim == 3 else still[:, :, None]

    def edge(self, view: View) -> int:
        """Return the edge in pixels of a view."""
        if view.size == 1.0:
            return self.config.size
        step = self.patch * math.ceil(8 / self.patch)
        return max(1, round(self.config.size * view.size / step)) * step

    def cut(self, raw: NDArray[Any], view: View, rng: np.random.Generator) -> Tensor:
        """Crop and resize (bicubic, antialiased), perhaps mirror and turn.

        Returns:
            (count, C, edge, edge): uint8, or float32 from `modality.low` (0) to `high` (1).
        """
        height, width, channels = raw.shape
        edge, deep = self.edge(view), raw.dtype != np.uint8
        low, high = (max(share, self.config.least) for share in view.extent)
        parts = [] if deep else planes(raw)
        cuts = np.empty((view.count, channels, edge, edge), np.float32 if deep else np.uint8)
        for cut in cuts:
            box = crop_box(height, width, (low, high), rng)
            mirrored = view.flip and self.config.flip and rng.random() < 0.5
            turns = int(rng.integers(4)) if view.flip and self.config.turn else 0
            pixels = self._resize_deep(raw, box, edge) if deep else resize(parts, box, edge)
            pixels = np.rot90(pixels[:, ::-1] if mirrored else pixels, turns)
            cut[:] = pixels.transpose(2, 0, 1)
        return torch.from_numpy(cuts)

    def _resize_deep(
        self, raw: NDArray[Any], box: tuple[int, int, int, int], edge: int
    ) -> NDArray[Any]:
        """Resize a box of stored values and bring them to [0, 1], (edge, edge, C)."""
        left, top, right, bottom = box
        part = raw[top:bottom, left:right].astype(np.float32)
        planes = [PIL.Image.fromarray(np.ascontiguousarray(x)) for x in np.moveaxis(part, 2, 0)]
        pixels = resize(planes, (0, 0, right - left, bottom - top), edge)
        low, high = (np.asarray(x, np.float32) for x in (self.config.low, self.config.high))
        return pixels if not len(low) else (pixels - low) / (high - low)

    def distort(self, cuts: Tensor, view: View, keys: Tensor) -> Tensor:
        """Distort and normalise, (V, B, C, H, W) uint8 -> float32.

        Colour jitter of strength (0.8, 0.8, 0.8, 0.2) x ``view.distort`` with probability 0.8,
        then grey, blur, solarise, as in SimCLR (arXiv:2002.05709, appendix A), BYOL and DINO.
        Where `modality.jitter` is ``values``, gains (`gains.jitter`) and blur alone, where it is
        ``none``, blur alone. Before all that, in views that are distorted, what `modality.bend`
        and `widen` ask for (`strokes`).
        """
        view_salt = zlib.crc32(repr(view).encode())  # two kinds must not share their draws
        out = torch.empty(cuts.shape, dtype=torch.float32, device=cuts.device)
        for copy, (cut, target) in enumerate(zip(cuts, out, strict=True)):
            salt = (view_salt << 8) + copy
            draws = colour.draw(keys, salt)
            if self.config.jitter == "values":
                draws = torch.cat([draws, gains.draw(keys, cut.shape[1], salt)], dim=1)
            pen = strokes.draw(keys, salt)
            for start in range(0, len(keys), colour.CHUNK):
                rows = slice(start, start + colour.CHUNK)
                x = cut[rows].to(torch.float32)
                x = x / 255 if cut.dtype == torch.uint8 else x
                x = self._redraw(x, pen[rows]) if view.distort > 0 else x
                target[rows] = self._distort_copy(x, view, copy, draws[rows])
        return self.normalise_(out)

    def _redraw(self, x: Tensor, draws: Tensor) -> Tensor:
        """Draw with another hand and another pen; x (B, C, H, W) in [0, 1]."""
        if self.config.bend > 0:
            x = strokes.bend(x, self.config.bend, draws)
        return strokes.widen(x, self.config.widen, draws) if self.config.widen > 0 else x

    def _distort_copy(self, x: Tensor, view: View, copy: int, draws: Tensor) -> Tensor:
        blur = view.blur[min(copy, len(view.blur) - 1)] if self.config.blur else 0.0
        if self.config.jitter != "colour":
            gain = view.distort if self.config.jitter == "values" else 0.0
            x = gains.jitter(x, gain, draws) if gain > 0 else x
            return colour.blur(x, blur, draws) if blur > 0 else x
        solarize = view.solarize[min(copy, len(view.solarize) - 1)]
        if view.distort > 0:
            x = colour.jitter(x, view.distort, draws)
        if view.grey > 0:
            x = colour.remove_colour(x, view.grey, draws)
        if blur > 0:
            x = colour.blur(x, blur, draws)
        return colour.solarize(x, solarize, draws) if solarize > 0 else x

    def normalise_(self, x: Tensor) -> Tensor:
        """Subtract the mean and divide by the deviation in place; x (..., C, H, W)."""
        mean = torch.tensor(self.config.mean, device=x.device)[:, None, None]
        std = torch.tensor(self.config.std, device=x.device)[:, None, None]
        return x.sub_(mean).div_(std)

    def raw(self, x: Tensor, patch: int = 1) -> Tensor:
        """Return the values of each patch, (B, C, H, W) -> (B, N, patch * patch * C).

        Rows of patches first; inside a patch rows, columns, then channels, as in MAE
        (arXiv:2111.06377).
        """
        B, C, H, W = x.shape  # noqa: N806
        tiles = x.reshape(B, C, H // patch, patch, W // patch, patch)
        return tiles.permute(0, 2, 4, 3, 5, 1).reshape(B, -1, patch * patch * C)

    def plain_features(self, raws: Sequence[NDArray[np.uint8]]) -> dict[str, NDArray[np.float32]]:
        """Return ``pixels`` and ``colour_gradient`` of raw images, each (N, D)."""
        edge = min(32, self.config.size)
        rng = np.random.default_rng(0)  # the whole image is cut: nothing is drawn
        view = View(size=1.0)
        small = Image(self.config.model_copy(update={"size": edge}))
        cuts = np.stack([small.cut(raw, view, rng)[0].numpy() for raw in raws])
        pixels = cuts.astype(np.float32) / np.float32(255 if cuts.dtype == np.uint8 else 1)
        if cuts.dtype != np.uint8:
            cuts = np.rint(pixels.clip(0, 1) * 255).astype(np.uint8)
        return {
            "pixels": pixels.reshape(len(cuts), -1),
            "colour_gradient": picture_features.colour_gradient(cuts),
        }

    def describe(self) -> dict[str, Any]:
        """Return what is needed to rebuild this modality."""
        return {"name": self.name, "patch": self.patch, **self.config.model_dump()}


def crop_box(
    height: int, width: int, extent: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw the box (left, top, right, bottom) of torchvision's `RandomResizedCrop`.

    The whole sample, extent (1, 1), is the largest centred square.
    """
    if extent == (1.0, 1.0):
        edge = min(height, width)
        return _centred(height, width, edge, edge)
    for _ in range(_TRIES):
        area = height * width * rng.uniform(*extent)
        aspect = math.exp(rng.uniform(math.log(_ASPECT[0]), math.log(_ASPECT[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top = int(rng.integers(0, height - h + 1))
            left = int(rng.integers(0, width - w + 1))
            return left, top, left + w, top + h
    aspect = min(max(width / height, _ASPECT[0]), _ASPECT[1])
    if width / height < aspect:
        return _centred(height, width, max(1, round(width / aspect)), width)
    return _centred(height, width, height, max(1, round(height * aspect)))


def _centred(height: int, width: int, h: int, w: int) -> tuple[int, int, int, int]:
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def planes(raw: NDArray[np.uint8]) -> list[PIL.Image.Image]:
    """Return Pillow images that together hold the channels: one of RGB, else one a channel."""
    raw = np.ascontiguousarray(raw)
    if raw.shape[2] == 3:
        return [PIL.Image.fromarray(raw)]
    return [PIL.Image.fromarray(np.ascontiguousarray(raw[:, :, c])) for c in range(raw.shape[2])]


def resize(
    planes: list[PIL.Image.Image], box: tuple[int, int, int, int], edge: int
) -> NDArray[np.uint8]:
    """Resize a box of each plane to a square, (edge, edge, C).

    Cropped first, as torchvision does: `resize(box=...)` would look beyond the box's border.
    """
    bicubic = PIL.Image.Resampling.BICUBIC
    parts = [np.asarray(plane.crop(box).resize((edge, edge), bicubic)) for plane in planes]
    return parts[0] if parts[0].ndim == 3 else np.stack(parts, axis=2)
