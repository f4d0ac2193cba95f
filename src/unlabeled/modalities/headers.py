"""What the header of an image says, and a part of one that is too large to be held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Box = tuple[int, int, int, int]
"""Top, left, bottom, right."""

Pages = Literal["first", "channels"]

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
"""Formats whose decoders are used; every other one is refused by its content."""

MAX_CHANNELS = 64


@dataclass(frozen=True)
class Tile:
    """A part of an image that is too large to be held at once.

    Args:
        path: the file.
        box: the part, in pixels.
    """

    path: bytes
    box: Box

    def __len__(self) -> int:
        """Return about how many bytes it decodes to."""
        top, left, bottom, right = self.box
        return (bottom - top) * (right - left)

    def __bytes__(self) -> bytes:
        """Return what tells it from other tiles."""
        return self.path + f"@{self.box}".encode()


@dataclass(frozen=True)
class Facts:
    """What the header of a file says.

    Args:
        height: of the image in pixels.
        width: of the same.
        channels: of a page.
        pages: of one size and depth; 1 but for TIFF.
        type: of a stored value, as numpy names it.
        cheap: whether a part can be read without the rest.
        alpha: whether a channel says how transparent a pixel is.
        moves: whether there are further frames, of which an image is the first.
    """

    height: int
    width: int
    channels: int
    pages: int
    type: str
    cheap: bool = False
    alpha: bool = False
    moves: bool = False

    @property
    def deep(self) -> bool:
        """Return whether a value has more than eight bits."""
        return self.type not in ("uint8", "bool")

    @property
    def planes(self) -> int:
        """Return the channels of all pages together."""
        return self.channels * self.pages

    def __str__(self) -> str:
        pages = f"{self.pages} pages of " if self.pages > 1 else ""
        plural = "s" if self.channels > 1 else ""
        return f"{pages}{self.channels} channel{plural} {self.type}"
