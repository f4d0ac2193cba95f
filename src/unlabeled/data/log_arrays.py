"""Logs in npz and HDF5 files: named arrays, read a stretch at a time, never unpickled."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.folder import MAX_BYTES, open_regular
from unlabeled.data.log_columns import Array, Columns
from unlabeled.data.log_shelf import LARGE
from unlabeled.errors import DataError
from unlabeled.modalities.stretch import Values


class Arrays(Columns):
    """Arrays of equal length as the columns of a log.

    (T,) and (T, W) are columns; (E, T) and (E, T, W) beside another array (E, T, W) are E episodes
    of T steps. Arrays of any other length say something of the whole, and are left out.

    Args:
        arrays: name -> shape and type.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        for name, array in arrays.items():
            if array.dtype.hasobject:
                raise DataError(
                    f"its array '{name}' holds Python objects, which are not read because they can "
                    "run code; save numbers, with NaN where one is missing"
                )
        self.batch = next((a.shape[:2] for a in arrays.values() if len(a.shape) == 3), None)
        blocks, words, count = columns_of(arrays, self.batch)
        super().__init__(blocks, count, words)

    def episodes(self) -> list[tuple[str, int, int]]:
        """Return the episodes; those of an array (E, T, W) are E."""
        if self.batch is None:
            return super().episodes()
        count, steps = self.batch
        return [(str(i), i * steps, (i + 1) * steps) for i in range(count)]

    def block(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return a column of some rows."""
        if self.batch is None:
            return self.part(name, start, stop)
        steps = self.batch[1]
        first, last = start // steps, -(-stop // steps)
        found = self.part(name, first, last)
        rows = found.reshape(-1, *found.shape[2:])
        return rows[start - first * steps : stop - first * steps]

    def part(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return a part of an array along its first axis."""
        raise NotImplementedError


def columns_of(
    arrays: Mapping[str, Array], batch: tuple[int, ...] | None = None, one_more: bool = False
) -> tuple[dict[str, int], list[str], int]:
    """Return columns of numbers with their widths, columns of words, and the number of rows.

    Args:
        arrays: by name.
        batch: (E, T) where arrays are stacked episodes.
        one_more: whether arrays may have a row more than the log: the state after the last step.

    Raises:
        DataError: there is no array of numbers.
    """
    numbers = {n: a for n, a in arrays.items() if a.shape and a.dtype.kind in "fiub"}
    depth = 1 if batch is None else 2
    long = Counter(a.shape[:depth] for a in numbers.values() for _ in range(_weight(a)))
    if not long:
        raise DataError("it holds no array of numbers")
    length = batch or long.most_common(1)[0][0]
    fitting = {length}
    if one_more and (length[0] - 1,) in long:
        length = (length[0] - 1,)
        fitting.add(length)
    elif one_more:
        fitting.add((length[0] + 1,))
    blocks = {
        name: (array.shape[depth] if len(array.shape) > depth else 0)
        for name, array in numbers.items()
        if array.shape[:depth] in fitting and len(array.shape) <= depth + 1
    }
    words = [n for n, a in arrays.items() if n not in numbers and a.shape[:depth] == length]
    return blocks, words, int(np.prod(length))


def _weight(array: Array) -> int:
    """Count a matrix of steps more than a column beside it."""
    return 1 if len(array.shape) == 1 else 2


class NpzLog(Arrays):
    """An npz file; arrays that are not compressed are mapped, others are unpacked when needed.

    Where that is much, they are unpacked once (`log_shelf`).

    Raises:
        DataError: it is no npz file, or holds objects.
    """

    def __init__(self, path: bytes) -> None:
        self.path = path
        self._kept: tuple[str, NDArray[Any]] | None = None
        self._mapped: dict[str, int] = {}
        found: dict[str, Array] = {}
        unpacked = 0
        try:
            with open_regular(path, follow=True) as file, zipfile.ZipFile(file) as archive:
                about = os.fstat(file.fileno())
                self.stamp = path, about.st_size, about.st_mtime_ns
                for info in archive.infolist():
                    name = info.filename.removesuffix(".npy")
                    with archive.open(info) as member:
                        shape, fortran, dtype = _header(member)
                        header = member.tell()
                    found[name] = Array(shape, dtype)
                    if info.compress_type == zipfile.ZIP_STORED and not fortran:
                        self._mapped[name] = _data_offset(file, info) + header
                    elif info.file_size > MAX_BYTES:
                        raise DataError(
                            f"its array '{name}' has {info.file_size:,} compressed bytes; above "
                            f"{MAX_BYTES:,} save with np.savez, which does not compress"
                        )
                    else:
                        unpacked += info.file_size
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
            raise DataError(f"it is no npz file ({error})") from None
        self._found = found
        self.large = unpacked > LARGE
        super().__init__(found)

    def __getstate__(self) -> dict[str, Any]:
        """Leave what is unpacked behind."""
        return {**self.__dict__, "_kept": None}

    def part(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return a part of an array along its first axis."""
        shape, dtype, _ = self._found[name]
        if name in self._mapped and np.prod(shape):
            try:
                whole: NDArray[Any] = np.memmap(
                    os.fsdecode(self.path), dtype, "r", self._mapped[name], shape
                )
                return np.array(whole[start:stop])
            except (OSError, ValueError) as error:
                raise DataError(f"its array '{name}' is cut off ({error})") from None
        if self._kept is None or self._kept[0] != name:
            self._kept = (name, self._unpack(name))
        return self._kept[1][start:stop]

    def pieces(self, name: str) -> Iterator[Values]:
        """Yield a column of numbers; one that is compressed is unpacked a piece at a time."""
        if name in self._mapped or self.batch is not None:
            yield from super().pieces(name)
            return
        try:
            with (
                zipfile.ZipFile(os.fsdecode(self.path)) as archive,
                archive.open(f"{name}.npy") as member,
            ):
                shape, fortran, dtype = _header(member)
                row = int(np.prod(shape[1:])) * dtype.itemsize
                while not fortran and (data := member.read(self.step * row)):
                    yield self._narrowed(np.frombuffer(data, dtype).reshape(-1, *shape[1:]))
        except Exception as error:  # zlib.error and its like, whose bases say nothing
            raise DataError(f"its array '{name}' is damaged ({error})") from None
        if fortran:
            yield from super().pieces(name)

    def _unpack(self, name: str) -> NDArray[Any]:
        try:
            with np.load(os.fsdecode(self.path), allow_pickle=False) as archive:
                return np.asarray(archive[name])
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"its array '{name}' cannot be read ({error})") from None
        except Exception as error:  # zlib.error and its like, whose bases say nothing
            raise DataError(f"its array '{name}' is damaged ({error})") from None


def _header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    from numpy.lib import format as npy

    version = npy.read_magic(member)
    if version == (1, 0):
        return npy.read_array_header_1_0(member)
    return npy.read_array_header_2_0(member)


def _data_offset(file: Any, info: zipfile.ZipInfo) -> int:
    """Return where a member's bytes begin: after its local header, whose lengths may differ."""
    place = file.tell()
    file.seek(info.header_offset + 26)
    name, extra = np.frombuffer(file.read(4), "<u2")
    file.seek(place)
    return info.header_offset + 30 + int(name) + int(extra)
