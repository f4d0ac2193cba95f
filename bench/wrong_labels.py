"""Does `inspect --encoder` find what is planted? Wrong labels, cuts of the same picture, strangers.

    python bench/wrong_labels.py RUN DATA --labels FILE --strangers FOLDER

Of DATA's labels 5 % are made wrong, each by another class at random; what is named is compared
with them, beside as many drawn at random and beside the same search on plain features (principal
components of pixels). Then cuts and brighter copies of 2 % of the images are planted, and eight
strangers. For images. Labels of the data themselves may be wrong, so precision is a lower bound.
One to five minutes on one core.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unlabeled import Encoder
from unlabeled.data.find import Source, find
from unlabeled.data.labels import read_labelled
from unlabeled.transfer import wrong_labels
from unlabeled.transfer.features import of_inputs, parts_of
from unlabeled.transfer.findings import examine

SHARE = 0.02


def looks(encoder: Encoder, source: Source, rows: NDArray[np.int64]) -> dict[str, NDArray]:
    """Return features of samples by the encoder and as 64 principal components of pixels."""
    from sklearn.decomposition import PCA

    parts = list(parts_of(encoder, source, rows))
    learnt = np.concatenate([of_inputs(encoder.network, part) for part in parts])
    raw = np.concatenate([part.cuts.flatten(1).numpy() for part in parts]).astype(np.float32)
    plain = PCA(min(64, *raw.shape), random_state=0).fit_transform(raw)
    return {"encoder": learnt, "PCA of pixels": plain.astype(np.float32)}


def planted_labels(x: NDArray, y: NDArray[np.int64], classes: int, seed: int) -> tuple[float, ...]:
    """Return precision, recall, and what chance would have of both."""
    spoilt, wrong = wrong_labels.plant(y, classes, 0.05, 1000 + seed)
    found = wrong_labels.find(x, spoilt, classes, np.arange(len(y)), seed).rows
    hits = wrong[found].sum()
    return hits / max(1, len(found)), hits / wrong.sum(), wrong.mean(), len(found) / len(y)


def table(features: dict[str, NDArray], y: NDArray[np.int64], classes: int, seeds: int) -> None:
    """Print what is found of planted labels."""
    for name, x in features.items():
        found = np.array([planted_labels(x, y, classes, seed) for seed in range(seeds)])
        mean, spread = found.mean(axis=0), found.std(axis=0, ddof=1)
        print(
            f"{name}: precision {mean[0]:.3f} ±{spread[0]:.3f} (chance {mean[2]:.3f}), "
            f"recall {mean[1]:.3f} ±{spread[1]:.3f} (chance {mean[3]:.3f}); {seeds} draws"
        )


def cut(image: Image.Image) -> Image.Image:
    """Return nine tenths of each side, at the old size."""
    width, height = image.size
    part = image.crop((0, 0, round(0.9 * width), round(0.9 * height)))
    return part.resize(image.size, Image.Resampling.BILINEAR)


def brighter(image: Image.Image) -> Image.Image:
    """Return a copy with half of the contrast, half as bright again."""
    return image.point([round(64 + value / 2) for value in range(256)] * len(image.getbands()))


def planted_twins(encoder: Encoder, source: Source, strangers: Source | None, seed: int) -> None:
    """Print what is found of cuts, brighter copies and strangers."""
    rng = np.random.default_rng(seed)
    count, few = max(10, round(SHARE * len(source))), 8
    chosen = rng.permutation(len(source))[: 2 * count]
    with tempfile.TemporaryDirectory() as folder:
        made: dict[str, str] = {}
        for number, index in enumerate(range(len(source))):
            Path(folder, f"{number:06d}.png").write_bytes(source.payload(index))
        kinds: list[tuple[str, Callable]] = [("cut", cut), ("brighter", brighter)]
        for number, index in enumerate(chosen.tolist()):
            name, change = kinds[number % 2]
            image = Image.open(io.BytesIO(source.payload(index)))
            change(image).save(Path(folder, f"x{number:05d}.png"))
            made[f"x{number:05d}.png"] = name
        away = () if strangers is None else rng.permutation(len(strangers))[:few].tolist()
        for number, index in enumerate(away):
            Path(folder, f"z{number:05d}.png").write_bytes(strangers.payload(index))
            made[f"z{number:05d}.png"] = "stranger"
        found = examine(encoder, find(folder, "image"), most=10**9)
    for what in ("near_copy", "alike", "outlier"):
        named = [found.name(one.row) for one in found.of(what)]
        kinds_of = [made.get(name, "other") for name in named]
        print(f"{what}: {len(named)} named: " + ", ".join(
            f"{kinds_of.count(kind)} {kind}" for kind in sorted(set(kinds_of))
        ))  # fmt: skip
    print(f"planted: {count} cut, {count} brighter, {len(away)} strangers")


def main() -> None:
    """Print what is found beside chance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("data")
    parser.add_argument("--labels")
    parser.add_argument("--label-column")
    parser.add_argument("--strangers", help="other images, to be found as outliers")
    parser.add_argument("--most", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    encoder = Encoder.from_pretrained(given.run)
    source, labels = read_labelled(
        given.labels, find(given.data), table=given.data, label_column=given.label_column
    )
    rows = np.random.default_rng(0).permutation(len(labels))[: given.most]
    labels = labels.take(np.sort(rows))
    features = looks(encoder, source, labels.indices)
    table(features, labels.y, len(labels.classes), given.seeds)
    planted_twins(encoder, source, None if given.strangers is None else find(given.strangers), 0)


if __name__ == "__main__":
    main()
