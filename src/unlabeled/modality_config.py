"""How each kind of data is read: the section ``modality`` of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator


class Frozen(BaseModel):
    """Options that do not change once they are read; unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageConfig(Frozen):
    """How images are read."""

    size: int = Field(32, ge=8, le=1024, description="edge of the encoder's input in pixels")
    channels: int = Field(3, ge=1, le=64, description="1 grey, 3 colour")
    mean: tuple[float, ...] = Field((0.5,), description="per channel, values in [0, 1]")
    std: tuple[float, ...] = Field((0.5,), description="per channel, > 0")
    max_pixels: int = Field(50_000_000, ge=1, description="larger images are refused")
    low: tuple[float, ...] = Field(
        (), description="stored value that becomes 0, one or one a channel; none for 8-bit images"
    )
    high: tuple[float, ...] = Field(
        (), description="stored value that becomes 1; what lies above is not clipped"
    )
    pages: Literal["first", "channels"] = Field("first", description="of a TIFF: which are read")
    jitter: Literal["colour", "values", "none"] = Field(
        "colour",
        description="brightness, contrast, saturation, hue; or gains where there is no colour",
    )
    flip: bool = Field(True, description="whether mirrored images mean the same")
    turn: bool = Field(False, description="whether images turned by quarters mean the same")
    blur: bool = Field(True, description="whether blurring is used (off for small images)")
    bend: float = Field(
        0.0, ge=0, le=2, description="strength of turning, shearing and bending; for what is drawn"
    )
    widen: float = Field(
        0.0, ge=0, le=1, description="strength of widening and narrowing strokes; for what is drawn"
    )
    least: float = Field(
        0.0, ge=0, le=1, description="crops cover at least this share, whatever the method asks for"
    )

    @field_validator("high")
    @classmethod
    def _above(cls, high: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        low, channels = info.data.get("low", ()), info.data.get("channels", 3)
        fits = len(high) == len(low) and len(high) in (0, 1, channels)
        if not fits or any(a >= b for a, b in zip(low, high, strict=True)):
            raise ValueError(
                "as many values as modality.low: none, one or one a channel, each above it"
            )
        return high


class TextConfig(Frozen):
    """How text is read."""

    tokenizer: str = Field(
        "bpe", description="bpe, wordpiece, unigram, char, byte, or a folder with a tokenizer"
    )
    vocab_size: int = Field(8192, ge=2, le=1_000_000, description="entries, special ones included")
    length: int = Field(128, ge=8, le=65536, description="tokens in a row")
    split: Literal["document", "tail"] = Field(
        "document", description="hold out whole documents, or the tail of the text"
    )
    edge: Literal["before", "after", "both"] = Field(
        "before", description="where a trained bpe, char or byte tokenizer marks a document"
    )
    sentinels: int = Field(
        0, ge=0, le=1000, description="special tokens <extra_id_0>, ... for hidden spans (t5)"
    )
    infill: bool = Field(False, description="special tokens for filling in the middle (gpt)")
    digits: int = Field(
        0, ge=0, le=9, description="most digits in a token of a trained tokenizer; 0 is any number"
    )
    extend: int = Field(
        0, ge=0, le=100_000, description="entries that a tokenizer given by a folder learns anew"
    )
    windows: int = Field(
        16, ge=1, le=4096, description="rows of a document that its feature is the mean over"
    )


class AudioConfig(Frozen):
    """How recordings are read."""

    form: Literal["frames", "spectrogram", "wave"] = Field(
        "frames", description="log-mel frames, a square log-mel image, or samples"
    )
    rate: int = Field(16000, ge=1000, le=192_000, description="samples a second, resampled to")
    channel: int | None = Field(None, ge=0, description="which is heard; all are mixed if absent")
    seconds: float = Field(1.0, gt=0, le=120, description="length of what an encoder sees")
    shortest: float = Field(0.05, ge=0, description="shorter recordings are refused, in seconds")
    trim: float = Field(
        0.0, ge=0, le=120, description="dB below the loudest at which the ends are cut off; 0 never"
    )
    mels: int = Field(80, ge=8, le=256, description="bands of a log-mel frame")
    scale: Literal["kaldi", "slaney"] = Field("kaldi", description="Kaldi's bands or librosa's")
    mean: float = Field(-4.27, ge=-50, le=50, description="of log-mel values over all recordings")
    std: float = Field(4.57, gt=0, description="of the same; values are divided by twice of it")


class SeriesConfig(Frozen):
    """How logs are read."""

    observations: tuple[str, ...] = Field((), description="columns of what was measured")
    actions: tuple[str, ...] = Field((), description="columns of what was done")
    mean: tuple[float, ...] = Field((), description="of each column, observations first")
    std: tuple[float, ...] = Field(
        (), description="of each column, > 0; 1 for one that is constant"
    )
    change: tuple[float, ...] = Field(
        (), description="deviation of each column's change from step to step, > 0"
    )
    length: int = Field(256, ge=4, le=65536, description="steps that an encoder sees")
    shortest: int = Field(8, ge=2, description="shorter samples are refused, in steps")
    missing: float = Field(
        0.5, ge=0, lt=1, description="share of missing numbers above which a sample is refused"
    )


class VideoConfig(Frozen):
    """How clips are read."""

    size: int = Field(64, ge=8, le=1024, description="edge of the encoder's input in pixels")
    channels: Literal[1, 3] = Field(3, description="1 grey, 3 colour")
    frames: int = Field(16, ge=2, le=512, description="frames that an encoder sees")
    stride: int = Field(
        0, ge=0, le=256, description="frames of a clip to the next one seen; 0 spreads over all"
    )
    mean: tuple[float, ...] = Field((0.5,), description="per channel, values in [0, 1]")
    std: tuple[float, ...] = Field((0.5,), description="per channel, > 0")
    max_pixels: int = Field(50_000_000, ge=1, description="larger frames are refused")
    max_frames: int = Field(3000, ge=2, le=1_000_000, description="longer clips are refused")
    shortest: int = Field(2, ge=2, description="shorter clips are refused, in frames")
    flip: bool = Field(False, description="whether mirrored clips mean the same")
    blur: bool = Field(False, description="whether blurring is used (off for small frames)")


MODALITIES: Mapping[str, type[BaseModel]] = {
    "image": ImageConfig,
    "text": TextConfig,
    "audio": AudioConfig,
    "series": SeriesConfig,
    "video": VideoConfig,
}
"""Options of the section ``modality``, by kind of data."""
