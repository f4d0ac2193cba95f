"""Items that are files: a folder, a list of paths, or one file.

Names are kept as one block of bytes with offsets, so that a million of them cost tens of
megabytes, cost nothing in a forked worker, and need not be valid UTF-8.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.compressed import is_packed, suffix_of, unpacked
from unlabeled.errors import DataError, UsageError
from unlabeled.kinds import KINDS, TABLE, strings
from unlabeled.modalities.decode import decode, stream

MAX_BYTES = 1 << 28
"""An encoded image or a document above 256 MB is refused instead of read into memory."""


def printable(name: bytes) -> str:
    r"""Return a file name that can be logged: control characters and broken UTF-8 are escaped.

    >>> printable(b"a\nb\xff.jpg")
    'a\\nb\\xff.jpg'
    """
    text = name.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Names:
    """An immutable sequence of byte strings in two arrays."""

    def __init__(self, names: Iterable[bytes] = ()):
        blob = bytearray()
        ends = [0]
        for name in names:
            blob += name
            ends.append(len(blob))
        self._blob: NDArray[np.uint8] = np.frombuffer(bytes(blob), np.uint8)
        self._ends: NDArray[np.int64] = np.asarray(ends, np.int64)

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> bytes:
        """Return one name."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._blob[self._ends[index] : self._ends[index + 1]].tobytes()

    def digest(self) -> bytes:
        """Return a hash of all names."""
        return hashlib.sha256(self._ends.tobytes() + self._blob.tobytes()).digest()


def open_regular(path: bytes | str, follow: bool = False) -> BinaryIO:
    """Open a regular file; a pipe, device, socket, folder or link is refused, never waited for.

    Raises:
        DataError: with the reason.
    """
    flags = os.O_RDONLY
    for extra in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC") + (() if follow else ("O_NOFOLLOW",)):
        flags |= getattr(os, extra, 0)
    try:
        # Opening a device can already act on it, hence the look before; the file may have been
        # exchanged in between, hence the look after.
        if not stat.S_ISREG(os.stat(path, follow_symlinks=follow).st_mode):
            raise DataError("it is not a regular file")
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"it cannot be opened ({reason})") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError("it is not a regular file")
    return os.fdopen(descriptor, "rb")


def read_regular(path: bytes | str, follow: bool = False, limit: int = MAX_BYTES) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises:
        DataError: with the reason.
    """
    with open_regular(path, follow) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise DataError(f"it has {size:,} bytes; the limit is {limit:,}")
        try:
            return file.read()
        except OSError as error:
            raise DataError(f"it cannot be read ({error.strerror})") from None


@dataclass(frozen=True, eq=False)
class Files:
    """A source whose items are files.

    Args:
        kind: one of `kinds.KINDS`.
        root: folder that names are relative to.
        names: relative names, or absolute ones in a list.
        fingerprint: hash of names and sizes.
        follow: whether links are followed (only where a person named each file).
        skipped: what was left out and why, for `inspect`.
    """

    kind: str
    root: bytes
    names: Names
    fingerprint: str
    follow: bool = False
    skipped: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.names)

    def name(self, index: int) -> str:
        """Return the printable name."""
        return printable(self.names[index])

    def path(self, index: int) -> bytes:
        """Return the path to open."""
        return os.path.join(self.root, self.names[index])

    def payload(self, index: int, epoch: int = 0) -> bytes | str:
        """Return the encoded bytes of a sample, or the text of a document.

        Raises:
            DataError: with the reason.
        """
        if is_packed(self.names[index]):
            return "".join(self.pieces(index))
        data = read_regular(self.path(index), self.follow)
        return decode(data) if strings(self.kind) else data

    def stream(self, index: int) -> BinaryIO:
        """Open a document of any size, to be read piece by piece.

        Raises:
            DataError: with the reason.
        """
        path = self.path(index)
        return unpacked(open_regular(path, self.follow), path)

    def pieces(self, index: int) -> Iterator[str]:
        """Yield the text of a document of any size in pieces.

        Raises:
            DataError: with the reason.
        """
        with self.stream(index) as file:
            try:
                yield from stream(file)
            except OSError as error:
                raise DataError(f"it cannot be read ({error.strerror})") from None


@dataclass(slots=True)
class Scan:
    """What a folder holds, by kind."""

    names: dict[str, list[bytes]]
    sizes: dict[str, list[int]]
    suffixes: Counter[str]
    skipped: Counter[str]


def _suffix(name: bytes) -> str:
    """Return the ending; of text and tables that are packed, that of what is in them."""
    inner = suffix_of(name)
    if is_packed(name) and _KIND_OF.get(inner) not in ("text", "table"):
        return os.path.splitext(name)[1].lower().decode("utf-8", "replace")
    return inner


_KIND_OF = {
    **{suffix: name for name, row in KINDS.items() for suffix in row.suffixes},
    **dict.fromkeys(TABLE, "table"),
}


_SAMPLES = {suffix: k for suffix, k in _KIND_OF.items() if k in KINDS and not strings(k)}


def _list_folder(path: bytes, skipped: Counter[str]) -> tuple[list[tuple[bytes, int]], list[bytes]]:
    """Return the regular files (name, size) and the folders of one folder, sorted."""
    files: list[tuple[bytes, int]] = []
    folders: list[bytes] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    skipped["hidden"] += 1
                elif entry.is_file(follow_symlinks=False):
                    files.append((entry.name, entry.stat(follow_symlinks=False).st_size))
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                else:
                    skipped["links" if entry.is_symlink() else "special files"] += 1
    except OSError:
        skipped["unreadable folders"] += 1
    files.sort()
    folders.sort()
    return files, folders


def scan(root: bytes, asked: str | None = None) -> Scan:
    """Walk a folder: regular files only, in a fixed order; links are counted, not followed.

    Args:
        root: the folder.
        asked: the kind that was asked for, which may also read files of others.
    """
    also = KINDS[asked].also if asked is not None else ()
    kinds = {**_KIND_OF, **dict.fromkeys(also, asked)}
    found = Scan(
        {kind: [] for kind in (*KINDS, "table")},
        {kind: [] for kind in (*KINDS, "table")},
        Counter(),
        Counter(),
    )
    stack = [b""]
    while stack:
        folder = stack.pop()
        files, folders = _list_folder(os.path.join(root, folder), found.skipped)
        for name, size in files:
            suffix = _suffix(name)
            found.suffixes[suffix] += 1
            kind = kinds.get(suffix)
            if kind is not None:
                found.names[kind].append(os.path.join(folder, name))
                found.sizes[kind].append(size)
        stack.extend(os.path.join(folder, name) for name in reversed(folders))
    return found


def files_of(found: Scan, kind: str, root: bytes) -> Files:
    """Return the files of one kind that a scan found."""
    names = Names(found.names[kind])
    sizes = np.asarray(found.sizes[kind], np.int64)
    fingerprint = hashlib.sha256(names.digest() + sizes.tobytes()).hexdigest()
    skipped = Counter(found.skipped)
    others = sum(found.suffixes.values()) - len(names)
    if others:
        skipped["other files"] = others
    return Files(kind, root, names, fingerprint, skipped=skipped)


def one_file(path: bytes, kind: str) -> Files:
    """Return a source of a single file that a person named."""
    root, name = os.path.split(path)
    size = os.stat(path).st_size
    names = Names([name])
    fingerprint = hashlib.sha256(names.digest() + str(size).encode()).hexdigest()
    return Files(kind, root, names, fingerprint, follow=True)


def listed(path: bytes, kind: str | None) -> Files | None:
    """Read a text file as a list of paths, one a line, relative to its folder.

    Returns:
        None unless every line ends like a file of one kind and the first one exists
        (a missing one among them is quarantined later, as any damaged item).

    Raises:
        UsageError: all lines look like paths of samples but none exists.
    """
    root = os.path.dirname(path)
    lines: list[bytes] = []
    with open_regular(path, follow=True) as raw:
        for line in iter(lambda: _line(raw), None):
            if line and kind is None:  # the first line decides; text is not guessed to be a list
                kind = _SAMPLES.get(_suffix(line))
            if line and (
                kind is None or _suffix(line) not in KINDS[kind].suffixes | KINDS[kind].also
            ):
                return None
            if line:
                lines.append(line)
    if not lines or kind is None:
        return None
    sizes = np.fromiter((_size(os.path.join(root, line)) for line in lines), np.int64, len(lines))
    if not (sizes >= 0).any():
        if strings(kind):
            return None
        raise UsageError(
            f"{printable(path)} lists {len(lines):,} {KINDS[kind].plural}, but none of them exists "
            f"(first: {printable(lines[0])}). Paths are relative to the list's folder."
        )
    names = Names(lines)
    fingerprint = hashlib.sha256(names.digest() + sizes.tobytes()).hexdigest()
    return Files(kind, root, names, fingerprint, follow=True)


def _size(path: bytes) -> int:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return -1


def _line(file: BinaryIO) -> bytes | None:
    """Return the next line without its end; a line too long for a path is returned cut."""
    line = file.readline(1 << 16)
    return line.strip(b"\r\n") if line else None
