"""From an encoded clip to its frames: PyAV for containers of video, Pillow and numpy for the rest.

Only containers and codecs that people film with are opened, each by its first bytes: FFmpeg would
otherwise also open play lists, which name files and addresses. A clip costs no more work than its
limits allow; what is cut off is refused by the sizes that its container states.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.errors import DataError, MissingExtraError
from unlabeled.modalities import containers

CODECS = frozenset(
    {"h264", "hevc", "av1", "libdav1d", "vp8", "vp9", "libvpx", "libvpx-vp9", "mpeg4", "mjpeg"}
    | {"mpeg1video", "mpeg2video", "h263", "theora", "prores", "ffv1", "huffyuv", "ffvhuff", "png"}
    | {"rawvideo", "dvvideo", "msmpeg4v2", "msmpeg4", "wmv1", "wmv2", "qtrle", "utvideo"}
)
"""Codecs whose decoders are used."""

_MOST_PIXELS, _SILENT, _MISSING = 1 << 35, 2000, 0.05


@dataclass(frozen=True)
class Limits:
    """What is kept of a clip, and what is refused.

    Args:
        channels: 1 grey, 3 colour.
        edge: the shorter edge that larger frames are reduced to; 0 keeps them.
        keep: frames above which every second one is left out, again and again; 0 keeps all.
        max_pixels: of a frame.
        max_frames: of a clip.
    """

    channels: int = 3
    edge: int = 0
    keep: int = 0
    max_pixels: int = 50_000_000
    max_frames: int = 3000

    def target(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width that a frame is kept at.

        Raises:
            DataError: it is too large, or has no pixels.
        """
        if height * width > self.max_pixels:
            raise DataError(
                f"its frames have {width:,} x {height:,} pixels; modality.max_pixels is "
                f"{self.max_pixels:,}"
            )
        if min(height, width) < 1:
            raise DataError("its frames have no pixels")
        share = self.edge / min(height, width) if self.edge else 1.0
        if share >= 1:
            return height, width
        return max(1, round(height * share)), max(1, round(width * share))


@dataclass
class Reel:
    """Frames as they are decoded; when there are too many, every second one is let go.

    Args:
        limits: what is kept and what refused.
    """

    limits: Limits
    frames: list[NDArray[np.uint8]] = field(default_factory=list)
    seen: int = 0
    step: int = 1

    def wants(self) -> bool:
        """Count the next frame, and say whether it is kept.

        Raises:
            DataError: there are more frames than are allowed.
        """
        number, self.seen = self.seen, self.seen + 1
        if self.seen > self.limits.max_frames:
            raise DataError(
                f"it has more than {self.limits.max_frames:,} frames; raise modality.max_frames, "
                "or cut it into clips"
            )
        if self.limits.keep and len(self.frames) >= 2 * self.limits.keep:
            self.frames, self.step = self.frames[::2], 2 * self.step
        return number % self.step == 0

    def add(self, frame: NDArray[Any]) -> None:
        """Keep a frame, (H, W) or (H, W, C)."""
        frame = frame if frame.ndim == 3 else frame[:, :, None]
        if self.frames and frame.shape != self.frames[0].shape:
            raise DataError(
                f"its frames differ in size: {self.frames[0].shape[:2]} and {frame.shape[:2]}"
            )
        self.frames.append(np.ascontiguousarray(frame, np.uint8))


@dataclass(frozen=True)
class Film:
    """A decoded clip.

    Args:
        frames: (T, H, W, C) uint8.
        count: frames of the file.
        rate: frames a second, 0 where the file does not say.
        height: of the file's frames, upright.
        width: of the same.
        codec: what they were encoded by.
    """

    frames: NDArray[np.uint8]
    count: int
    rate: float
    height: int
    width: int
    codec: str


@dataclass(frozen=True)
class Cutting:
    """A piece of a video that is too long to be held at once.

    Args:
        path: the file.
        start: where the piece begins, in seconds.
        seconds: how long it is.
    """

    path: bytes
    start: float
    seconds: float

    def __len__(self) -> int:
        """Return about how many bytes it is encoded in."""
        return int(self.seconds * 100_000)

    def __bytes__(self) -> bytes:
        """Return what tells it from other pieces, wherever the file lies."""
        with open(self.path, "rb") as file:
            head = hashlib.blake2b(file.read(1 << 20)).digest()
        return head + f"@{self.start}+{self.seconds}".encode()


def library() -> Any:
    """Return PyAV.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import av
    except ImportError:
        raise MissingExtraError(
            'Video is decoded with PyAV, which is missing: pip install "unlabeled[video]". '
            "GIF, WebP, .npy stacks and folders of numbered pictures are read without it."
        ) from None
    av.logging.set_level(None)
    return av


@contextmanager
def said() -> Iterator[Any]:
    """Turn what PyAV raises on damaged data into sentences."""
    av = library()
    try:
        yield av
    except DataError:
        raise
    except (av.FFmpegError, OSError, ValueError, IndexError, LookupError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"it is damaged ({reason})") from None


def read(payload: bytes | Cutting, limits: Limits) -> Film:
    """Decode a clip in a container of video.

    Args:
        payload: the encoded file, or a piece of one.
        limits: what is kept and what refused.

    Raises:
        DataError: damaged, cut off, too large or too long, or of a format that is not read.
        MissingExtraError: PyAV is not installed.
    """
    piece = payload if isinstance(payload, Cutting) else None
    with said() as av, opened(av, payload) as container:
        stream = _stream(container)
        reel, first, scaler = Reel(limits), None, _scaler()
        limits.target(stream.codec_context.height, stream.codec_context.width)
        for frame in _frames(container, stream, piece):
            if frame.is_corrupt:
                raise DataError(f"frame {reel.seen} is damaged")
            limits.target(frame.height, frame.width)
            if frame.height * frame.width * (reel.seen + 1) > _MOST_PIXELS:
                raise DataError(f"it has more than {_MOST_PIXELS:,} pixels in all: cut it")
            first = first or frame
            if reel.wants():
                reel.add(_upright(frame, first, limits, scaler))
        if first is None:
            raise DataError("it has no frames")
        if piece is None:
            _check_count(container, stream, reel.seen)
        height, width = (first.height, first.width)[:: -1 if first.rotation % 180 else 1]
        rate = float(stream.average_rate or 0)
        name = str(stream.codec_context.codec.canonical_name)
        return Film(np.stack(reel.frames), reel.seen, rate, height, width, name)


def seconds(path: bytes) -> float:
    """Return how long a video is by its header, 0 where it cannot be read."""
    try:
        with said() as av, opened(av, Cutting(path, 0, 0)) as container:
            return float((container.duration or 0) / av.time_base)
    except (DataError, MissingExtraError):
        return 0.0


@contextmanager
def opened(av: Any, payload: bytes | Cutting) -> Iterator[Any]:
    """Open a container whose form is known from its first bytes.

    Raises:
        DataError: it is of another form, or cut off.
    """
    if isinstance(payload, Cutting):
        path = os.fsdecode(payload.path)
        with open(path, "rb") as file:
            form = containers.form(file.read(64))
            size = file.seek(0, os.SEEK_END)
            containers.check_whole(form, file, size)
        source: Any = path
    else:
        form, source = containers.form(payload[:64]), io.BytesIO(payload)
        containers.check_whole(form, source, len(payload))
        source.seek(0)
    with av.open(source, format=containers.DEMUXERS[form], metadata_errors="replace") as container:
        yield container


def _stream(container: Any) -> Any:
    """Return the stream of pictures, to be decoded on one thread.

    Raises:
        DataError: there is none, or its codec is not read.
    """
    found = [s for s in container.streams.video if not s.disposition & _ATTACHED]
    if not found:
        raise DataError("it holds no video")
    stream = found[0]
    name = stream.codec_context.name if stream.codec_context is not None else "unknown"
    if name not in CODECS:
        raise DataError(f"its codec {name} is not read")
    stream.codec_context.thread_count = 1
    return stream


_ATTACHED = 0x0400
"""FFmpeg's mark of a cover picture, which is no film."""


def _frames(container: Any, stream: Any, piece: Cutting | None) -> Iterator[Any]:
    """Yield decoded frames, of a piece only those that begin in it.

    Raises:
        DataError: nothing comes out of the decoder.
    """
    if piece is not None and piece.start > 0:
        container.seek(int(piece.start / stream.time_base), stream=stream)
    silent = 0
    for packet in container.demux(stream):
        decoded = packet.decode()
        silent = 0 if decoded else silent + 1
        if silent > _SILENT:
            raise DataError(f"{_SILENT:,} packets in a row hold no frame")
        for frame in decoded:
            if piece is None:
                yield frame
            elif frame.time is not None and frame.time >= piece.start + piece.seconds:
                return
            elif frame.time is not None and frame.time >= piece.start:
                yield frame


def _scaler() -> Any:
    """Return what scales frames; one a clip, for it prepares tables at the first frame.

    A frame's own `reformat` prepares them, and starts a thread for every core, at each frame.
    """
    from av.video.reformatter import VideoReformatter

    return VideoReformatter()


def _upright(frame: Any, first: Any, limits: Limits, scaler: Any) -> NDArray[np.uint8]:
    """Return the pixels of a frame at the size of the first, turned as it is to be shown."""
    height, width = limits.target(first.height, first.width)
    form = "gray" if limits.channels == 1 else "rgb24"
    small = scaler.reformat(frame, width, height, form, interpolation="AREA", threads=1)
    pixels: NDArray[np.uint8] = small.to_ndarray()
    return np.rot90(pixels, round(frame.rotation / 90)) if frame.rotation else pixels


def _check_count(container: Any, stream: Any, count: int) -> None:
    """Refuse a clip of which clearly less is there than its header says.

    Raises:
        DataError: it is cut off.
    """
    stated = stream.frames
    alone = len(container.streams) == 1 and container.duration and stream.average_rate
    if not stated and alone:
        stated = int(container.duration / 1_000_000 * float(stream.average_rate))
    if count < stated * (1 - _MISSING) - 2:
        raise DataError(f"it is cut off: {count:,} of about {stated:,} frames are there")
