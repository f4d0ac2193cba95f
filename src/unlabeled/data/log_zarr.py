"""Logs in zarr stores, version 2 and 3: arrays in folders, read with zarr a stretch at a time.

As the data sets of diffusion policies lie: arrays ``data/action``, ``data/state``, ... of equal
length, and ``meta/episode_ends`` with the row after the last of each episode. A store without it is
one log, cut by its flags. Arrays of more than two axes, such as images, are left out.

A store says itself how its chunks are packed, and some ways run code that lies in them. So only
those that are known not to are read.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.folder import read_regular
from unlabeled.data.log_arrays import columns_of
from unlabeled.data.log_columns import Array, Columns
from unlabeled.errors import DataError, MissingExtraError

ENDS = ("meta/episode_ends", "episode_ends")
_GROUPS, _ARRAYS = (b".zgroup", b"zarr.json"), (b".zarray", b"zarr.json")
_PACKED = frozenset(
    {"blosc", "zstd", "zlib", "gzip", "lz4", "bz2", "lzma", "shuffle", "delta", "bytes", "crc32",
     "crc32c", "transpose", "sharding_indexed", "fixedscaleoffset"}
)  # fmt: skip
_DEPTH, _CHUNK, _ROWS = 4, 1 << 28, 1 << 31


def is_store(path: bytes) -> bool:
    """Say whether a folder is a zarr store."""
    return any(os.path.isfile(os.path.join(path, name)) for name in (*_GROUPS, *_ARRAYS))


def stores(root: bytes) -> tuple[bytes, list[bytes], Counter[str]]:
    """Return the stores of a folder: itself, or those in it; and what lies beside them.

    Returns:
        The folder that names are relative to, the names, and what is left out.
    """
    if is_store(root):
        folder, name = os.path.split(root)
        return folder, [name], Counter()
    try:
        names = sorted(name for name in os.listdir(root) if not name.startswith(b"."))
    except OSError:
        return root, [], Counter()
    named = [name for name in names if name.endswith(b".zarr")]
    found = [name for name in named if is_store(os.path.join(root, name))]
    others = len(names) - len(found)
    return root, found, Counter({"files beside the stores": others} if found and others else {})


class ZarrLog(Columns):
    """A zarr store of arrays with a row a step.

    Raises:
        MissingExtraError: zarr is not installed.
        DataError: it is damaged, holds no numbers, or is packed in a way that is not read.
    """

    def __init__(self, path: bytes) -> None:
        self.path = path
        self._opened: Any = None
        found = dict(_arrays(path))
        if not found:
            raise DataError("it holds no array of numbers")
        self._open()
        ends = next((name for name in ENDS if name in found), None)
        self.ends = None if ends is None else self._whole_ends(ends)
        flat = {name: about for name, about in found.items() if name not in ENDS}
        if self.ends is not None and len(self.ends):
            count = int(self.ends[-1])
            flat = {n: a for n, a in flat.items() if a.shape[:1] == (count,)}
        blocks, words, count = columns_of({n: a for n, a in flat.items() if len(a.shape) < 3})
        if count > _ROWS:
            raise DataError(f"it says to have {count:,} rows; at most {_ROWS:,} are read")
        self._places_of = {_called(name): name for name in (*blocks, *words)}
        self.packed([found[name] for name in blocks])
        widths = {_called(name): width for name, width in blocks.items()}
        super().__init__(widths, count, [_called(name) for name in words])

    def __getstate__(self) -> dict[str, Any]:
        """Leave what is open behind."""
        return {**self.__dict__, "_opened": None}

    def _open(self) -> Any:
        try:
            import zarr
        except ImportError:
            raise MissingExtraError(
                'zarr stores are read with zarr, which is missing: pip install "unlabeled[robots]"'
            ) from None
        if self._opened is None:
            try:
                self._opened = zarr.open(os.fsdecode(self.path), mode="r")
            except Exception as error:  # it raises whatever damaged facts lead it to
                raise DataError(f"it cannot be opened as a zarr store ({_first(error)})") from None
        return self._opened

    def _read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        store = self._open()
        try:
            return np.asarray((store[name] if name else store)[start:stop])
        except Exception as error:
            raise DataError(f"its array '{name}' cannot be read ({_first(error)})") from None

    def _whole_ends(self, name: str) -> NDArray[np.int64]:
        """Return where episodes end.

        Raises:
            DataError: ends do not rise.
        """
        ends = self._read(name, 0, _ROWS).astype(np.int64).reshape(-1)
        if not len(ends) or (np.diff(ends, prepend=0) <= 0).any():
            raise DataError(f"its {name} do not rise")
        return ends

    def episodes(self) -> list[tuple[str, int, int]]:
        """Return the episodes that end where the store says, or where flags do."""
        if self.ends is None:
            return super().episodes()
        edges = [0, *self.ends.tolist()]
        return [(str(i), a, b) for i, (a, b) in enumerate(pairwise(edges))]

    def block(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return a column of some rows."""
        return self._read(self._places_of[name], start, stop)


def _called(name: str) -> str:
    """Return what an array is called as a column: ``data/action`` is an action."""
    return name.removeprefix("data/").replace("/", ".") or "value"


def _arrays(root: bytes, inner: str = "", depth: int = 0) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of numbers of a store by their paths, as the facts beside them say."""
    folder = os.path.join(root, os.fsencode(inner))
    facts = _facts(folder)
    if facts is not None:
        about = _about(inner, facts)
        if about is not None:
            yield inner, about
        return
    if depth >= _DEPTH:
        return
    with os.scandir(folder) as entries:
        names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
    for name in names:
        place = f"{inner}/{os.fsdecode(name)}".lstrip("/")
        yield from _arrays(root, place, depth + 1)


def _facts(folder: bytes) -> dict[str, Any] | None:
    """Return what a folder says of its array; None for a group.

    Raises:
        DataError: it is damaged.
    """
    for name in _ARRAYS:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            try:
                found = json.loads(read_regular(path))
            except (ValueError, RecursionError) as error:
                raise DataError(f"its {os.fsdecode(name)} is damaged ({error})") from None
            if not isinstance(found, dict):
                raise DataError(f"its {os.fsdecode(name)} is damaged")
            return found if found.get("node_type", "array") == "array" else None
    return None


def _about(name: str, facts: Mapping[str, Any]) -> Array | None:
    """Return shape and type of an array of numbers, None for another.

    Raises:
        DataError: facts are damaged, or chunks are packed in a way that is not read.
    """
    try:
        shape = tuple(int(size) for size in facts["shape"])
        kind = np.dtype(facts.get("dtype") or facts["data_type"])
        chunk = facts.get("chunks") or facts["chunk_grid"]["configuration"]["chunk_shape"]
        weight = int(np.prod([int(size) for size in chunk], dtype=np.float64)) * kind.itemsize
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"what it says of its array '{name}' is damaged ({error})") from None
    if kind.kind not in "fiub" or not shape:
        return None
    unknown = set(_ways(facts)) - _PACKED
    if unknown:
        raise DataError(
            f"its array '{name}' is packed by {', '.join(sorted(unknown))}, which is not read: "
            f"such ways can run code. Known are {', '.join(sorted(_PACKED))}"
        )
    if weight > _CHUNK:
        raise DataError(f"chunks of its array '{name}' have {weight:,} bytes; at most {_CHUNK:,}")
    return Array(shape, kind, tuple(int(size) for size in chunk))


def _ways(facts: Any) -> Iterator[str]:
    """Yield by which ways chunks are packed, those inside others too."""
    parts: Sequence[Any] = [
        *(facts.get("filters") or []), *(facts.get("codecs") or []),
        *(facts.get("index_codecs") or []),
        *([facts["compressor"]] if facts.get("compressor") else []),
    ]  # fmt: skip
    for part in parts:
        yield str(part.get("id") or part.get("name"))
        inner = part.get("configuration")
        if isinstance(inner, Mapping):
            yield from _ways(inner)


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__
