"""Clips: a few frames of each, cut and distorted alike, so that only what moves changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlabeled.config import ImageConfig, RunConfig, VideoConfig
from unlabeled.errors import DataError
from unlabeled.kinds import VIDEO
from unlabeled.modalities import containers, film, flipbook, video_features
from unlabeled.modalities.base import Modality
from unlabeled.modalities.film import Cutting, Film, Limits
from unlabeled.modalities.flipbook import Stills
from unlabeled.modalities.image import Image, crop_box, planes, resize
from unlabeled.types import PLAIN, View

Payload = bytes | Cutting | Stills

_MARGIN, _SPARE = 1.5, 8
"""How much larger than the encoder's input frames are kept, and how many more of them."""


class Video(Modality):
    """Clips; an encoder sees (T, C, H, W).

    Args:
        config: how clips are read.
        patch: patch edge of the encoder; see `image.Image`.
    """

    name: ClassVar[str] = "video"
    suffixes: ClassVar[frozenset[str]] = VIDEO

    def __init__(self, config: VideoConfig, patch: int = 8) -> None:
        self.config = config
        jitter = "colour" if config.channels == 3 else "values"
        self.still = Image(
            ImageConfig(
                size=config.size, channels=config.channels, mean=config.mean, std=config.std,
                blur=config.blur, jitter=jitter,
            ),
            patch,
        )  # fmt: skip

    @classmethod
    def of_run(cls, config: RunConfig, folder: Path) -> Video:
        """Return the modality of a run."""
        assert isinstance(config.modality, VideoConfig)
        return cls(config.modality, config.encoder.patch or 8)

    @classmethod
    def of_folder(cls, settings: Mapping[str, Any], folder: Path) -> Video:
        """Return the modality of a saved encoder."""
        return cls(VideoConfig(**settings))

    def limits(self) -> Limits:
        """Return what is kept of a clip and what is refused."""
        c = self.config
        keep = 0 if c.stride else _SPARE * c.frames
        return Limits(c.channels, round(_MARGIN * c.size), keep, c.max_pixels, c.max_frames)

    def read(self, payload: Payload) -> NDArray[np.uint8]:
        """Decode a clip to (T, H, W, C), of frames not much larger than the encoder's input.

        Raises:
            DataError: damaged, cut off, too short, too long, too large or of an unread format.
            MissingExtraError: it needs PyAV, which is not installed.
        """
        found = decode(payload, self.limits())
        if found.count < self.config.shortest:
            raise DataError(
                f"it has {found.count} frame(s); modality.shortest is {self.config.shortest}"
            )
        return found.frames

    def edge(self, view: View) -> int:
        """Return the edge in pixels of a view."""
        return self.still.edge(view)

    def places(self, count: int, whole: bool, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return which of `count` frames are seen, (T,), rising; the last is held if they end.

        Spread over the clip (stride 0): one of each of T equal parts, all at the same share of
        their part. At a stride: from a random frame on. Of a whole sample: the middle.
        """
        number, stride = self.config.frames, self.config.stride
        if not stride:
            share = 0.5 if whole else rng.random()
            found = ((np.arange(number) + share) * (count / number)).astype(np.int64)
        else:
            room = max(0, count - (number - 1) * stride - 1)
            start = room // 2 if whole else int(rng.integers(0, room + 1))
            found = start + stride * np.arange(number)
        return np.minimum(found, count - 1)

    def cut(self, raw: NDArray[np.uint8], view: View, rng: np.random.Generator) -> Tensor:
        """Choose frames, crop and resize all alike, perhaps mirror them.

        Returns:
            (count, T, C, edge, edge) uint8.
        """
        _, height, width, channels = raw.shape
        edge, whole = self.edge(view), view.extent == (1.0, 1.0)
        cuts = np.empty((view.count, self.config.frames, channels, edge, edge), np.uint8)
        for cut in cuts:
            places = self.places(len(raw), whole, rng)
            box = crop_box(height, width, view.extent, rng)
            mirrored = view.flip and self.config.flip and rng.random() < 0.5
            for frame, place in zip(cut, places.tolist(), strict=True):
                pixels = resize(planes(raw[place]), box, edge)
                frame[:] = (pixels[:, ::-1] if mirrored else pixels).transpose(2, 0, 1)
        return torch.from_numpy(cuts)

    def distort(self, cuts: Tensor, view: View, keys: Tensor) -> Tensor:
        """Distort and normalise, (V, B, T, C, H, W) uint8 -> float32; a clip's frames alike.

        As for images: every draw comes from the key, and the frames of a clip share one.
        """
        _, B, T = cuts.shape[:3]  # noqa: N806
        found = self.still.distort(cuts.flatten(1, 2), view, keys.repeat_interleave(T))
        return found.reshape(len(found), B, T, *found.shape[2:])

    def raw(self, x: Tensor) -> Tensor:
        """Return what each frame contains, (B, T, C, H, W) -> (B, T, C H W)."""
        return x.flatten(2)

    def plain_features(self, raws: Sequence[NDArray[np.uint8]]) -> dict[str, NDArray[np.float32]]:
        """Return moments of pixels, the middle frame's histograms, and statistics of motion."""
        small = self.config.model_copy(update={"size": min(32, self.config.size)})
        rng = np.random.default_rng(0)  # the whole clip is cut: nothing is drawn
        reader = Video(small)
        cuts = np.stack([reader.cut(raw, PLAIN, rng)[0].numpy() for raw in raws])
        return video_features.describe(cuts)

    def describe(self) -> dict[str, Any]:
        """Return what is needed to rebuild this modality."""
        return {"kind": self.name, **self.config.model_dump()}


def decode(payload: Payload, limits: Limits) -> Film:
    """Decode a clip by what it is.

    Raises:
        DataError: it cannot be read.
        MissingExtraError: it needs PyAV, which is not installed.
    """
    if isinstance(payload, Cutting):
        return film.read(payload, limits)
    if isinstance(payload, Stills):
        return flipbook.read(payload, limits)
    if containers.form(payload[:64]) in containers.DEMUXERS:
        return film.read(payload, limits)
    return flipbook.read(payload, limits)
