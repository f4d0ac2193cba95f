"""A map of samples: where their features lie, who is near whom, and what each one looks like."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from unlabeled import rng
from unlabeled.errors import DataError
from unlabeled.report import grid, nearest
from unlabeled.transfer.features import Readable, Reader, of_inputs, parts_of
from unlabeled.transfer.nearest_others import nearest_others, unit

MOST = 20_000
NUM_NEAR = 8
MOST_LAID_OUT = 4_000
"""Samples that t-SNE lays out; it takes about a minute of one core. The others go beside them."""
_ROWS, _EXCERPT = 1024, 400


@dataclass(frozen=True)
class Atlas:
    """What the map shows.

    Args:
        indices: (N,) which samples of the source.
        names: (N,) printable names.
        features: (N, D) fp32.
        places: (N, 2), each coordinate in [0, 1].
        near: (N, K) rows of the nearest others, nearest first.
        cosines: (N, K) their cosines after removing the mean feature.
        pictures: (N,) JPEG bytes; empty where samples are texts or cannot be drawn.
        texts: (N,) the beginning of each text; empty for other kinds.
        bad: names and reasons of samples that could not be read.
    """

    indices: NDArray[np.int64]
    names: list[str]
    features: NDArray[np.float32]
    places: NDArray[np.float32]
    near: NDArray[np.int64]
    cosines: NDArray[np.float32]
    pictures: list[bytes]
    texts: list[str]
    bad: list[tuple[str, str]]


def chart(
    reader: Reader,
    source: Readable,
    most: int = MOST,
    edge: int = 32,
    seed: int = 0,
) -> Atlas:
    """Read samples, and find places and neighbours for them.

    Args:
        reader: the encoder.
        source: the samples.
        most: how many are drawn where there are more, evenly at random.
        edge: of a sample's picture in pixels.
        seed: of that draw and of the layout.

    Raises:
        DataError: fewer than two samples can be read.
    """
    chosen = np.arange(len(source))
    if len(source) > most:
        order = rng.generator(rng.mix(seed, 0xA71)).permutation(len(source))
        chosen = np.sort(order[:most])
    parts: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    pictures: list[bytes] = []
    texts: list[str] = []
    bad: list[tuple[str, str]] = []
    for inputs in parts_of(reader, source, chosen):
        bad += inputs.bad
        if len(inputs):
            parts.append((inputs.indices, of_inputs(reader.network, inputs)))
            texts += [text[:_EXCERPT] for text in inputs.texts]
            pictures += [] if inputs.texts else thumbnails(inputs.cuts, edge)
    if sum(len(indices) for indices, _ in parts) < 2:
        reason = f" First: {bad[0][0]}: {bad[0][1]}" if bad else ""
        raise DataError(f"A map needs two samples that can be read.{reason}")
    indices, features = (np.concatenate(column) for column in zip(*parts, strict=True))
    near, cosines = nearest_others(features, NUM_NEAR)
    return Atlas(
        indices, [source.name(int(i)) for i in indices], features,
        lay_out(features, seed), near, cosines, pictures, texts, bad,
    )  # fmt: skip


def nearest_to(
    vector: NDArray[np.float32], reader: Reader, source: Readable, count: int
) -> tuple[list[int], list[float], list[str], list[tuple[str, str]]]:
    """Find the samples nearest to a feature, (1, D).

    Returns:
        Rows and cosines, nearest first; names of all rows; names and reasons of unreadable ones.

    Raises:
        DataError: no sample can be read.
    """
    parts, names, bad = [], [], []
    for inputs in parts_of(reader, source, np.arange(len(source))):
        bad += inputs.bad
        if len(inputs):
            parts.append(of_inputs(reader.network, inputs, precision="fp32"))
            names += [source.name(int(i)) for i in inputs.indices]
    if not parts:
        raise DataError(
            f"None of {len(bad):,} samples can be read. First: {bad[0][0]}: {bad[0][1]}"
        )
    directions = unit(np.concatenate([vector, *parts]))
    top = (directions[1:] @ directions[0]).topk(min(count, len(names)))
    return top.indices.tolist(), top.values.tolist(), names, bad


def lay_out(features: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return places in the unit square: t-SNE of some, the others between their nearest of those.

    Args:
        features: (N, D).
        seed: of the draw and of t-SNE.
    """
    order = rng.generator(rng.mix(seed, 0x1A7)).permutation(len(features))
    some, rest = order[:MOST_LAID_OUT], order[MOST_LAID_OUT:]
    places = np.zeros((len(features), 2), np.float32)
    places[some] = nearest.plane(features[some], seed)
    directions = unit(features)
    for part in np.array_split(rest, max(1, len(rest) // _ROWS)):
        top = (directions[part] @ directions[some].T).topk(5, dim=1)  # (b, 5)
        weights = top.values.sub(top.values[:, -1:]).add(1e-3)
        weights /= weights.sum(1, keepdim=True)
        there = torch.from_numpy(places[some])[top.indices]  # (b, 5, 2)
        places[part] = (weights[..., None] * there).sum(1).numpy()
    low, high = places.min(0), places.max(0)
    return np.asarray((places - low) / np.maximum(high - low, 1e-9), np.float32)


def thumbnails(cuts: Tensor, edge: int) -> list[bytes]:
    """Return small JPEGs of undistorted samples, none for kinds that are not maps.

    Args:
        cuts: (N, C, H, W): images in bytes, or values of any range, such as spectrograms.
        edge: of the longer side.
    """
    if cuts.ndim != 4:
        return []
    return [_jpeg(cut, edge) for cut in cuts]


def _jpeg(cut: Tensor, edge: int) -> bytes:
    pixels = cut.movedim(0, -1)
    if pixels.dtype != torch.uint8:
        wide = pixels.float()
        low, high = wide.amin(), wide.amax()
        pixels = ((wide - low) / (high - low).clamp(min=1e-9) * 255).to(torch.uint8)
    image = Image.fromarray(grid.colour(pixels.numpy()))
    image.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (edge, edge), (128, 128, 128))
    square.paste(image, ((edge - image.width) // 2, (edge - image.height) // 2))
    data = io.BytesIO()
    square.save(data, "JPEG", quality=80)
    return data.getvalue()


def sheets(pictures: Sequence[bytes], edge: int, across: int = 32) -> list[bytes]:
    """Lay pictures out on square sheets, `across` in a row; returns JPEGs."""
    found = []
    each = across * across
    for start in range(0, len(pictures), each):
        part = pictures[start : start + each]
        high = -(-len(part) // across)
        sheet = Image.new("RGB", (across * edge, high * edge))
        for place, data in enumerate(part):
            where = (place % across * edge, place // across * edge)
            sheet.paste(Image.open(io.BytesIO(data), formats=["JPEG"]), where)
        draft = io.BytesIO()
        sheet.save(draft, "JPEG", quality=80)
        found.append(draft.getvalue())
    return found
