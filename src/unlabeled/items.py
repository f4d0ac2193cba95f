"""From what a person hands over (a path, arrays, texts) to what a modality reads."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.errors import DataError, UsageError
from unlabeled.kinds import ENCODED, KINDS, rows, strings

if TYPE_CHECKING:
    from unlabeled.data.find import Source

Items = str | Path | Sequence[Any] | NDArray[Any]
CHUNK = 256


def is_path(data: object) -> bool:
    """Say whether `data` names a folder or file, rather than being the samples themselves."""
    return isinstance(data, str | os.PathLike)


def named_payloads(source: Source) -> Iterator[tuple[str, Any | DataError]]:
    """Yield every sample's name with its payload, or with the reason why it has none."""
    for index in range(len(source)):
        try:
            yield source.name(index), source.payload(index)
        except DataError as error:
            yield source.name(index), error


def payload(item: Any, kind: str) -> Any:
    """Turn one item into what a modality reads.

    Args:
        item: for text a string; for logs an array (steps, channels) or the path of one log; for
            images encoded bytes, a path, a Pillow image, or a uint8
            array (H, W) or (H, W, C); for clips bytes, a path, or a uint8 array (T, H, W, C).
        kind: one of `kinds.KINDS`.

    Raises:
        UsageError: the item is none of these.
    """
    if strings(kind):
        if not isinstance(item, str):
            raise UsageError(f"Texts are strings; this is a {type(item).__name__}.")
        return item
    if rows(kind):
        return _log(item, kind)
    if isinstance(item, bytes):
        return item
    if is_path(item):
        path = Path(item)
        if not path.is_file():
            raise UsageError(f"{item} is no file.")
        return path.read_bytes()
    return encode_image(item)


def _log(item: Any, kind: str) -> Any:
    if not is_path(item):
        return np.asarray(item)
    from unlabeled.data.find import find

    source = find(str(item), kind)
    if len(source) != 1:
        raise UsageError(f"{item} holds {len(source):,} samples; hand it over by itself.")
    return source.payload(0)


def chunks(data: Items, kind: str, size: int = CHUNK) -> Iterator[tuple[list[str], list[Any]]]:
    """Yield names and payloads of a path's samples or of the samples themselves.

    Raises:
        DataError: a sample of a path cannot be read; the sentence names it.
    """
    if isinstance(data, str | os.PathLike):
        from unlabeled.data.find import find

        pairs = named_payloads(find(str(data), kind))
    else:
        pairs = ((f"sample {i}", payload(item, kind)) for i, item in enumerate(data))
    for group in batched(pairs, size):
        for name, found in group:
            if isinstance(found, DataError):
                raise DataError(f"{name} cannot be read: {found}")
        yield [name for name, _ in group], [found for _, found in group]


def batched(pairs: Iterable[tuple[str, Any]], size: int) -> Iterator[list[tuple[str, Any]]]:
    """Yield lists of at most `size` pairs."""
    rest = iter(pairs)
    while group := list(islice(rest, size)):
        yield group


def encode_image(item: Any) -> bytes:
    """Return a Pillow image or a uint8 array as PNG, other arrays as ``.npy``.

    Raises:
        UsageError: an array of another type or shape.
    """
    from PIL import Image

    if not isinstance(item, Image.Image):
        array = np.asarray(item)
        if array.ndim == 4 and array.dtype == "uint8":  # a clip
            return _as_array(array)
        if array.ndim not in (2, 3) or array.dtype.kind not in "buif" or array.size == 0:
            raise UsageError(
                f"An image is a uint8 array or one of deeper numbers, (H, W) or (H, W, C); this is "
                f"{array.dtype} {array.shape}."
            )
        if array.ndim == 3 and array.shape[-1] == 1:
            array = array[..., 0]
        plain = array.ndim == 2 or array.shape[-1] in (3, 4)
        if array.dtype != np.uint8 or not plain:
            return _as_array(array)
        item = Image.fromarray(array)
    buffer = io.BytesIO()
    item.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _as_array(array: NDArray[Any]) -> bytes:
    """Return an array of deep values or many channels as the bytes of an ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def kind_of(items: Sequence[Any] | NDArray[Any]) -> str:
    """Return the kind of files by their ending, ``text`` for strings, else ``image``.

    Raises:
        UsageError: there is no item.
    """
    if len(items) == 0:
        raise UsageError("There are no samples.")
    first = items[0]
    ending = Path(first).suffix.lower() if is_path(first) else ""
    for kind in ENCODED:
        if ending in KINDS[kind].suffixes:
            return kind
    if getattr(first, "ndim", 0) == 4:
        return "video"
    return "text" if isinstance(first, str) else "image"


def write_samples(items: Sequence[Any] | NDArray[Any], folder: Path) -> Path:
    """Write samples that live in memory as one file that a run can read.

    Args:
        items: texts, or images as `payload` takes them; paths become a list, not a copy.
        folder: where to write.
    """
    kind = kind_of(items)
    if not strings(kind) and all(is_path(item) for item in items):
        path = folder / "samples.list"
        path.write_text("".join(f"{Path(item).absolute()}\n" for item in items), "utf-8")
        return path
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "samples.parquet"
    found = [payload(item, kind) for item in items]
    if not strings(kind):
        ending = ".png" if kind == "image" else min(KINDS[kind].suffixes)
        column: list[Any] = [{"bytes": b, "path": f"{i}{ending}"} for i, b in enumerate(found)]
    else:
        column = found
    pq.write_table(pa.table({kind: column}), path)
    return path
