"""From an encoded recording to one channel of samples at one rate: soundfile and soxr.

Neither needs a library of the system. What libsndfile reads without a word though it is broken
(cut off files, sizes that lie, values that are not numbers, silence) is refused here.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unlabeled.errors import DataError, MissingExtraError

FORMATS = ("WAV", "WAVEX", "FLAC", "OGG", "MP3", "AIFF", "CAF", "RF64", "W64", "AU")
"""Formats whose decoders are used; every other one is refused by its content."""

SOFT_ENDS = 35.0
"""Decibels below the loudest at which the ends of short recordings are cut off."""

MOST_CHANNELS, RATES = 64, (1_000, 768_000)
MOST_SAMPLES = 1 << 28
_QUIET = 1e-5
_LOUD = 0.999
_BLOCK = 1 << 16
_STREAMED = (0, 0xFFFFFFFF, 0x7FFFFFFF)


@dataclass(frozen=True)
class Clip:
    """A piece of a recording that is too long to be held at once.

    Args:
        path: the file.
        start: where the piece begins, in seconds.
        seconds: how long it is.
    """

    path: bytes
    start: float
    seconds: float

    def __len__(self) -> int:
        """Return about how many bytes it decodes to."""
        return int(self.seconds * 32_000)

    def __bytes__(self) -> bytes:
        """Return what tells it from other pieces."""
        return self.path + f"@{self.start}+{self.seconds}".encode()


def libraries() -> tuple[Any, Any]:
    """Return soundfile and soxr.

    Raises:
        MissingExtraError: one is not installed.
    """
    try:
        import soundfile
        import soxr
    except ImportError as error:
        raise MissingExtraError(
            f"Recordings are read with soundfile and soxr, and {error.name} is missing: "
            'pip install "unlabeled[audio]"'
        ) from None
    return soundfile, soxr


def seconds(stream: BinaryIO) -> float:
    """Return how long a recording is by its header, 0 where it cannot be read."""
    try:
        soundfile, _ = libraries()
        with soundfile.SoundFile(stream) as file:
            return float(file.frames / file.samplerate) if file.seekable() else 0.0
    except (MissingExtraError, RuntimeError, ValueError, TypeError, ZeroDivisionError):
        return 0.0


@dataclass(frozen=True)
class Sound:
    """A decoded recording.

    Args:
        samples: (T,) float32 in [-1, 1].
        rate: of `samples`, in hertz.
        own_rate: of the file.
        channels: of the file.
        clipped: share of samples at full scale.
        format: of the file.
    """

    samples: NDArray[np.float32]
    rate: int
    own_rate: int
    channels: int
    clipped: float
    format: str


def read(payload: bytes | Clip, rate: int | None = None, channel: int | None = None) -> Sound:
    """Decode a recording to one channel.

    Args:
        payload: the encoded file, or a piece of one.
        rate: what to resample to; its own rate if absent.
        channel: which channel is heard, from 0; all are mixed if absent.

    Raises:
        DataError: damaged, cut off, silent, or of a format that is not read.
        MissingExtraError: a library is not installed.
    """
    soundfile, soxr = libraries()
    if isinstance(payload, bytes):
        if not payload:
            raise DataError("it is empty")
        check_riff(payload)
    try:
        file: Any = io.BytesIO(payload) if isinstance(payload, bytes) else payload.path
        with soundfile.SoundFile(file) as stream:
            _check_header(stream)
            piece = payload if isinstance(payload, Clip) else None
            values = _one_channel(stream, channel, piece)
            own, channels, name = stream.samplerate, stream.channels, stream.format
    except (soundfile.SoundFileError, RuntimeError, OSError, ValueError, TypeError) as error:
        raise DataError(f"it cannot be decoded ({_reason(error)})") from None
    clipped = _check_values(values)
    if rate is not None and rate != own:
        values = soxr.resample(values, own, rate, quality="HQ").astype(np.float32)
    return Sound(np.clip(values, -1, 1), rate or own, own, channels, clipped, name)


def trimmed(samples: NDArray[np.float32], rate: int, below: float) -> NDArray[np.float32]:
    """Cut off both ends while they are softer than the loudest by more than `below` dB.

    Loudness is that of 10 ms pieces; what lies between the first and the last loud one stays.

    Args:
        samples: (T,).
        rate: samples a second.
        below: dB, > 0.
    """
    step = max(1, rate // 100)
    count = -(-len(samples) // step)
    padded = np.pad(samples, (0, count * step - len(samples))).reshape(count, step)
    power = np.square(padded, dtype=np.float64).mean(axis=1)
    loud = np.flatnonzero(power > power.max(initial=0.0) * 10 ** (-below / 10))
    if not len(loud):
        return samples
    return samples[loud[0] * step : (loud[-1] + 1) * step]


def _reason(error: Exception) -> str:
    return str(error).removeprefix("Error opening <_io.BytesIO object").split(": ")[-1].strip(" .")


def _check_header(stream: Any) -> None:
    """Refuse what a header cannot mean.

    Raises:
        DataError: with the reason.
    """
    if stream.format not in FORMATS:
        raise DataError(f"its format {stream.format} is not read ({', '.join(FORMATS)} are)")
    if not RATES[0] <= stream.samplerate <= RATES[1]:
        raise DataError(f"it claims {stream.samplerate:,} samples a second")
    if stream.channels > MOST_CHANNELS:
        raise DataError(f"it claims {stream.channels:,} channels")
    if stream.frames < 1:
        raise DataError("it holds no samples")


def _one_channel(stream: Any, channel: int | None, piece: Clip | None) -> NDArray[np.float32]:
    """Read a stream block by block and keep one channel.

    Raises:
        DataError: it ends before its header says, or is too long.
    """
    if channel is not None and channel >= stream.channels:
        raise DataError(
            f"it has {stream.channels} channels; modality.channel={channel} does not exist"
        )
    wanted = stream.frames
    if piece is not None:
        stream.seek(min(stream.frames, int(piece.start * stream.samplerate)))
        wanted = min(stream.frames - stream.tell(), int(piece.seconds * stream.samplerate))
    if wanted > MOST_SAMPLES:
        raise DataError(f"it claims {wanted:,} samples; the limit is {MOST_SAMPLES:,}")
    parts = list(_blocks(stream, channel, wanted))
    values = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if len(values) < wanted:
        raise DataError(f"it is cut off: it has {len(values):,} of {wanted:,} samples")
    return values


def _blocks(stream: Any, channel: int | None, wanted: int) -> Iterator[NDArray[np.float32]]:
    while wanted > 0:
        block = stream.read(min(_BLOCK, wanted), dtype="float32", always_2d=True)
        if not len(block):
            return
        wanted -= len(block)
        yield block.mean(axis=1) if channel is None else block[:, channel]


def _check_values(values: NDArray[np.float32]) -> float:
    """Bring values into [-1, 1] in place and return the share at full scale.

    Raises:
        DataError: not numbers, or silence.
    """
    if not np.isfinite(values).all():
        raise DataError("it holds values that are not finite")
    peak = float(np.abs(values).max(initial=0.0))
    if peak > 1:  # floating-point files may; those of integers cannot
        values /= peak
    if float(np.ptp(values)) < _QUIET:
        raise DataError("it is silent")
    return float((np.abs(values) >= _LOUD).mean()) if peak >= _LOUD else 0.0


def check_riff(payload: bytes) -> None:
    """Refuse a WAV whose data are shorter than its header says, which libsndfile does not.

    Raises:
        DataError: it is cut off.
    """
    if payload[:4] != b"RIFF" or payload[8:12] != b"WAVE":
        return
    position = 12
    while position + 8 <= len(payload):
        name, size = struct.unpack_from("<4sI", payload, position)
        if name == b"data":
            there = len(payload) - position - 8
            if size > there and size not in _STREAMED:
                raise DataError(f"it is cut off: {there:,} of {size:,} bytes of sound are there")
            return
        position += 8 + size + size % 2
    raise DataError("it holds no sound")
