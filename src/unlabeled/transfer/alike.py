"""Does an augmentation make different classes alike? Measured on a few labelled images.

A method that compares views learns to ignore what an augmentation changes. Where that is what
tells classes apart (the side an arrow points to, the colour of a pill), the features lose it. Here
each augmentation is applied alone, and simple features say whether the nearest copies of other
images are still of the same class.

Crops are not judged: simple features depend on the place of things, which a crop moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unlabeled import rng
from unlabeled.data.find import Source
from unlabeled.data.labels import Labels
from unlabeled.errors import DataError
from unlabeled.modalities import picture_features
from unlabeled.modalities.image import Image
from unlabeled.types import View

LIMIT, NEIGHBOURS, DRAWS = 400, 5, 3
LEAST_DROP, LEAST_SHARE, SURE = 0.1, 0.25, 3.0
"""A warning needs this drop of agreement, this share of what was above chance, so many errors."""

_REMEDY = {
    "mirroring": "modality.flip=false",
    "turning": "modality.turn=false",
    "changing colours": "method.distort=0",
    "changing gains": "method.distort=0",
    "removing colour": "method.grey=0",
    "blurring": "modality.blur=false",
    "solarising": "modality.jitter=values",
}


@dataclass(frozen=True)
class Agreement:
    """How far neighbours agree in class under an augmentation.

    Args:
        name: of the augmentation.
        plain: share of the nearest neighbours of the same class, without it.
        augmented: the same among copies.
        error: standard error of the difference.
        chance: what drawing neighbours at random would give.
        pair: the classes that are confused most.
        count: labelled images.
    """

    name: str
    plain: float
    augmented: float
    error: float
    chance: float
    pair: tuple[str, str]
    count: int

    @property
    def harmful(self) -> bool:
        """Return whether classes become alike beyond doubt."""
        drop, above = self.plain - self.augmented, self.plain - self.chance
        return drop > max(LEAST_DROP, LEAST_SHARE * above, SURE * self.error) and above > LEAST_DROP

    def __str__(self) -> str:
        found = (
            f"{self.name}: neighbours agree in class for {self.augmented:.2f} of copies, "
            f"{self.plain:.2f} of plain images ({self.count} labels)"
        )
        if not self.harmful:
            return found
        return (
            f"{found}. It makes different classes alike, {self.pair[0]} and {self.pair[1]} most. "
            f"If they matter, set {_REMEDY[self.name]}."
        )


def alike(
    source: Source, labels: Labels, modality: Image, views: Mapping[str, View], seed: int = 0
) -> list[Agreement]:
    """Measure every augmentation that the views of a method use.

    Raises:
        DataError: fewer than two classes have two readable images.
    """
    raws, y = _read(source, labels, modality, seed)
    small = Image(modality.config.model_copy(update={"size": min(32, modality.config.size)}))
    plain = small_features(small, raws, View(), 0)
    kept, before = max(
        ((name, _agree(x, y)) for name, x in plain.items()), key=lambda pair: pair[1].mean()
    )
    chance = float(sum((np.bincount(y) / len(y)) ** 2))
    found = []
    for name, (view, reader) in _augmentations(small, views).items():
        draws = [small_features(reader, raws, view, seed + i + 1)[kept] for i in range(DRAWS)]
        after = np.mean([_agree(x, y) for x in draws], axis=0)
        drop = before - after
        pair = _most_confused(draws[0], y, labels.classes)
        error = float(drop.std() / np.sqrt(len(y)))
        found.append(
            Agreement(name, before.mean(), after.mean(), error, chance, pair, len(y))
        )  # fmt: skip
    return found


def _read(
    source: Source, labels: Labels, modality: Image, seed: int
) -> tuple[list[NDArray[Any]], NDArray[np.int64]]:
    """Return up to `LIMIT` labelled images of classes that have at least two."""
    rows = rng.generator(rng.mix(seed, 0xA11)).permutation(len(labels))[:LIMIT]
    raws, y = [], []
    for row in rows:
        try:
            raws.append(modality.read(source.payload(int(labels.indices[row]))))
        except DataError:
            continue
        y.append(int(labels.y[row]))
    counts = Counter(y)
    keep = [i for i, label in enumerate(y) if counts[label] > 1]
    if len({y[i] for i in keep}) < 2:
        raise DataError(
            "Fewer than two classes have two readable labelled images; whether an augmentation "
            "makes classes alike cannot be measured."
        )
    return [raws[i] for i in keep], np.array([y[i] for i in keep], np.int64)


def _augmentations(images: Image, views: Mapping[str, View]) -> dict[str, tuple[View, Image]]:
    """Return each augmentation in use alone, as what is cut and by whom."""
    config, used = images.config, list(views.values())
    colour = config.jitter == "colour" and config.channels == 3
    found: dict[str, tuple[View, Image]] = {}
    if config.flip and any(v.flip for v in used):
        still = Image(config.model_copy(update={"turn": False}))
        found["mirroring"] = View(flip=True), still
    if config.turn and any(v.flip for v in used):
        found["turning"] = View(flip=True), Image(config.model_copy(update={"flip": False}))
    strength = max(v.distort for v in used)
    if strength:
        found["changing colours" if colour else "changing gains"] = View(distort=strength), images
    if colour and any(v.grey for v in used):
        found["removing colour"] = View(grey=1.0), images
    if config.blur and any(max(v.blur) for v in used):
        found["blurring"] = View(blur=(1.0,)), images
    if config.jitter == "colour" and any(max(v.solarize) for v in used):
        found["solarising"] = View(solarize=(1.0,)), images
    return found


def small_features(
    images: Image, raws: Sequence[NDArray[Any]], view: View, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Return two kinds of simple features of one view of each image, (N, D)."""
    keys = [rng.sample_key(seed, 0, number) for number in range(len(raws))]
    cuts = [images.cut(raw, view, rng.generator(key)) for raw, key in zip(raws, keys, strict=True)]
    x = images.distort(torch.stack(cuts, dim=1), view, torch.tensor(keys))[0]  # (N, C, H, W)
    mean, std = (torch.tensor(v)[:, None, None] for v in (images.config.mean, images.config.std))
    values = (x * std + mean).numpy()
    bytes_ = np.rint(values.clip(0, 1) * 255).astype(np.uint8)
    pixels = values.reshape(len(values), -1)
    return {"pixels": pixels, "colour_gradient": picture_features.colour_gradient(bytes_)}


def _neighbours(x: NDArray[np.float32], y: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the classes of the nearest other rows, (N, k)."""
    square = (x.astype(np.float64) ** 2).sum(1)
    distance = square[:, None] + square[None] - 2 * (x @ x.T).astype(np.float64)
    np.fill_diagonal(distance, np.inf)
    k = min(NEIGHBOURS, int(np.bincount(y)[np.unique(y)].min()) - 1)
    near: NDArray[np.int64] = y[np.argsort(distance, axis=1, kind="stable")[:, :k]]
    return near


def _agree(x: NDArray[np.float32], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share of each row's neighbours that have its class, (N,)."""
    share: NDArray[np.float64] = (_neighbours(x, y) == y[:, None]).mean(axis=1)
    return share


def _most_confused(
    x: NDArray[np.float32], y: NDArray[np.int64], classes: Sequence[str]
) -> tuple[str, str]:
    near = _neighbours(x, y)
    wrong: Counter[tuple[int, int]] = Counter()
    for own, others in zip(y.tolist(), near.tolist(), strict=True):
        wrong.update((min(own, o), max(own, o)) for o in others if o != own)
    a, b = wrong.most_common(1)[0][0] if wrong else (int(y.min()), int(y.max()))
    return classes[a], classes[b]
