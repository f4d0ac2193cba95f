"""Chosen samples on one self-contained page: what each looks like, or the beginning of its text."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unlabeled.errors import DataError
from unlabeled.report.atlas import thumbnails
from unlabeled.report.html import filled, write
from unlabeled.report.pictures import short
from unlabeled.transfer.features import Readable, Reader, parts_of

_EDGE, _EXCERPT = 96, 300
_MOST_SOUND, _MOST_SOUNDS = 400_000, 60
_SOUNDS = ((b"RIFF", "wav"), (b"fLaC", "flac"), (b"OggS", "ogg"), (b"ID3", "mpeg"))


@dataclass(frozen=True)
class Shown:
    """One sample on the page.

    Args:
        name: its printable name.
        caption: what is said of it.
        picture: a small JPEG in base64, where it can be drawn.
        text: the beginning of a document.
        sound: a data address of a recording, where it is short.
    """

    name: str
    caption: str = ""
    picture: str = ""
    text: str = ""
    sound: str = ""


@dataclass(frozen=True)
class Section:
    """Samples under one heading."""

    title: str
    note: str
    items: Sequence[Shown]

    @property
    def wide(self) -> bool:
        """Return whether samples need room: texts and players."""
        return any(item.text or item.sound for item in self.items)


def shown(
    reader: Reader, source: Readable, indices: Sequence[int], captions: Sequence[str]
) -> list[Shown]:
    """Return samples as the page shows them, in the order given.

    Args:
        reader: how they are read.
        source: the samples.
        indices: which of them.
        captions: what is said of each.
    """
    chosen = np.array(indices, np.int64)
    looks: dict[int, tuple[str, str]] = {}
    for inputs in parts_of(reader, source, np.unique(chosen)):
        edge = 0 if inputs.texts else min(_EDGE, max(inputs.cuts.shape[-2:]))
        pictures = thumbnails(inputs.cuts, edge) if edge else []
        for place, index in enumerate(inputs.indices.tolist()):
            picture = base64.b64encode(pictures[place]).decode() if pictures else ""
            looks[index] = picture, inputs.texts[place] if inputs.texts else ""
    sounds = iter(range(_MOST_SOUNDS))
    found = []
    for index, caption in zip(chosen.tolist(), captions, strict=True):
        picture, text = looks.get(index, ("", ""))
        heard = _sound(reader, source, index) if next(sounds, None) is not None else ""
        found.append(Shown(source.name(index), caption, picture, short(text, _EXCERPT), heard))
    return found


def _sound(reader: Reader, source: Readable, index: int) -> str:
    """Return a recording as a data address, if a browser can play it and it is short."""
    if reader.modality.name != "audio":
        return ""
    try:
        data: Any = source.payload(index)
    except DataError:
        return ""
    if not isinstance(data, bytes) or len(data) > _MOST_SOUND:
        return ""
    form = next((form for start, form in _SOUNDS if data.startswith(start)), None)
    return f"data:audio/{form};base64,{base64.b64encode(data).decode()}" if form else ""


def page(title: str, lead: str, sections: Sequence[Section], out: Path) -> Path:
    """Write the page.

    Raises:
        WriteError: the page cannot be written.
    """
    styles = ["page.css", "samples.css"]
    return write(out, filled("samples.html", styles, title=title, lead=lead, sections=sections))
