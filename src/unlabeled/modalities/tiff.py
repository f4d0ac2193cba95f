"""TIFF of any layout: only the tiles or strips that a box touches are read and decoded."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unlabeled.errors import DataError
from unlabeled.modalities.headers import MAX_CHANNELS, Box, Facts, Pages

_MAX_SEGMENT = 1 << 30
"""Bytes of a tile or strip above which it is not decoded."""


def library() -> Any:
    """Return tifffile, None where it is not installed."""
    try:
        import tifffile
    except ImportError:
        return None
    # What it would log of a damaged file becomes the reason why that is set aside.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    return tifffile


def _pages(tiff: Any) -> list[Any]:
    """Return the pages of the size, depth and channels of the first; smaller copies are none."""
    try:
        first = tiff.pages[0]
        pages = [tiff.pages[number] for number in range(min(len(tiff.pages), MAX_CHANNELS + 1))]
        same = [p for p in pages if p.shape == first.shape and p.dtype == first.dtype]
    except Exception as error:  # what tifffile raises on damaged files is not documented
        raise DataError(f"it is damaged ({error or type(error).__name__})") from None
    if first.dtype is None or first.dtype.kind not in "buif" or first.imagedepth != 1:
        raise DataError("it holds no plain image")
    return same


def _describe(pages: list[Any]) -> Facts:
    first = pages[0]
    return Facts(
        first.imagelength, first.imagewidth, first.samplesperpixel, len(pages),
        first.dtype.name, cheap=len(first.dataoffsets) > 1 or first.is_memmappable,
        alpha=any(int(kind) in (1, 2) for kind in first.extrasamples),
    )  # fmt: skip


def read(file: BinaryIO, box: Box | None, which: Pages) -> NDArray[Any]:
    """Decode the segments of a TIFF that a box touches, (h, w, C)."""
    try:
        with library().TiffFile(file, name="image") as opened:
            pages = _pages(opened)
            found = _describe(pages)
            box = box or (0, 0, found.height, found.width)
            used = pages if which == "channels" else pages[:1]
            if found.channels * len(used) > MAX_CHANNELS:
                raise DataError(f"it has {found.channels * len(used)} channels")
            return np.concatenate([_part(file, page, box) for page in used], axis=2)
    except DataError:
        raise
    except Exception as error:
        if "imagecodecs" in str(error):
            name = str(pages[0].compression.name)
            raise DataError(
                f"it is compressed as {name}; `pip install imagecodecs` reads that, or write it "
                "again with deflate"
            ) from None
        raise DataError(f"it is damaged ({error or type(error).__name__})") from None


def _part(file: BinaryIO, page: Any, box: Box) -> NDArray[Any]:
    """Return a box of a page, (h, w, S)."""
    top, left, bottom, right = box
    if page.is_memmappable and not isinstance(file, io.BytesIO):
        return _mapped(file, page)[top:bottom, left:right]
    out = np.zeros((bottom - top, right - left, page.samplesperpixel), page.dtype)
    for index in _touched(page, box):
        count = page.databytecounts[index]
        if not count:
            continue  # a segment that was never written is zero by the format
        file.seek(page.dataoffsets[index])
        data, place, _ = page.decode(file.read(count), index, jpegtables=page.jpegtables)
        if data is None:
            continue
        plane, _, y, x, _ = place
        data = data[0, : page.imagelength - y, : page.imagewidth - x]  # (h, w, S) or (h, w, 1)
        last = data.shape[2] if page.planarconfig == 1 else 1
        rows = slice(max(top, y), min(bottom, y + data.shape[0]))
        columns = slice(max(left, x), min(right, x + data.shape[1]))
        out[
            rows.start - top : rows.stop - top,
            columns.start - left : columns.stop - left,
            plane : plane + last,
        ] = data[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    return out


def _mapped(file: BinaryIO, page: Any) -> NDArray[Any]:
    """Return a page that lies uncompressed in one piece, (H, W, S), without reading it."""
    size = (page.imagelength, page.imagewidth)
    planes = page.planarconfig != 1
    shape = (page.samplesperpixel, *size) if planes else (*size, page.samplesperpixel)
    kind = page.dtype.newbyteorder(page.parent.byteorder)
    values = np.memmap(file, kind, "r", page.dataoffsets[0], shape)
    return np.moveaxis(values, 0, 2) if planes else values


def _touched(page: Any, box: Box) -> Iterator[int]:
    """Yield the numbers of the tiles or strips that hold a part of a box."""
    high = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
    wide = page.tilewidth if page.is_tiled else page.imagewidth
    if high * wide * page.samplesperpixel * page.dtype.itemsize > _MAX_SEGMENT:
        raise DataError("its tiles or strips are too large to be decoded one by one")
    down, across = -(-page.imagelength // high), -(-page.imagewidth // wide)
    planes = page.samplesperpixel if page.planarconfig != 1 else 1
    for plane in range(planes):
        for row in range(box[0] // high, -(-box[2] // high)):
            for column in range(box[1] // wide, -(-box[3] // wide)):
                index = (plane * down + row) * across + column
                if index < len(page.dataoffsets):
                    yield index


def facts(file: BinaryIO) -> Facts:
    """Read the header of a TIFF.

    Raises:
        DataError: it holds no plain image.
    """
    with library().TiffFile(file, name="image") as opened:
        return _describe(_pages(opened))
