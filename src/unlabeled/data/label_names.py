"""Which samples a word in a table of labels means."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Protocol


class Named(Protocol):
    """Things that have names: samples, or what is made of them."""

    def __len__(self) -> int:
        """Return how many there are."""

    def name(self, index: int) -> str:
        """Return the printable name of one."""


class Names:
    """Finds samples by path: as named, relative to the folder, or by a unique file name.

    A log that was cut into several samples is named by its file, or by its episode; then all of
    its parts are meant.

    Args:
        source: the samples.
        folder: the file or folder that they were found in, if known.
    """

    def __init__(self, source: Named, folder: str | Path | None) -> None:
        self.full: dict[str, list[int]] = {}
        episode = getattr(source, "episode", None)
        for i in range(len(source)):
            names = {source.name(i)}
            if episode is not None:
                names |= {episode(i), episode(i).partition("#")[0]}
            for name in names:
                self.full.setdefault(name, []).append(i)
        self.last: dict[str, list[int]] = {}
        for name, indices in self.full.items():
            last = PurePosixPath(name).name
            self.last[last] = [] if last in self.last else indices
        root = None if folder is None else Path(folder).expanduser().resolve()
        self.root = root if root is not None and root.is_dir() else None

    def find(self, word: str, beside: Path) -> list[int]:
        """Return the indices of the samples that `word` names, none if it names none."""
        if word in self.full:
            return self.full[word]
        if self.root is not None:
            for base in (Path(), beside):
                place = (base / word).resolve()
                if place.is_relative_to(self.root):
                    name = place.relative_to(self.root).as_posix()
                    if name in self.full:
                        return self.full[name]
        return self.last.get(PurePosixPath(word.replace("\\", "/")).name, [])
