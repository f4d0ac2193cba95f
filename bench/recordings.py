"""Recordings that a package of the registry ships, as folders of logs with labels.

    pip download --no-deps aeon
    python bench/recordings.py aeon-1.6.0-py3-none-any.whl JapaneseVowels vowels
    unlabeled pretrain vowels/train --method ts2vec --time 5m --out RUN data.held_out=0
    unlabeled evaluate RUN --labels vowels/train --test vowels/test

aeon (BSD-3) carries small sets of the UEA and UCR archives: speech coefficients of nine speakers
(JapaneseVowels, 270 and 370 utterances), motions of a smart watch (BasicMotions, 40 and 40). The
wheel is a zip file: nothing is installed and nothing of it runs. Each recording becomes a csv file
in a folder named after its class; `train` and `test` are those of the archive, and pre-training
sees `train` alone.

    python bench/recordings.py minirocket vowels --counts 1,2,5,10,20 --draws 5

says what MiniRocket (Dempster, Schmidt and Webb, 2021, arXiv:2012.08791) scores with its authors'
10,000 kernels and ridge regression, as aeon has it, on balanced draws of so many labels a class.
For that aeon is installed, in an environment of its own: its numba wants an older numpy. Shorter
recordings are continued with their last values, as kernels want one length.
"""

from __future__ import annotations

import argparse
import csv
import sys
import zipfile
from pathlib import Path

import numpy as np

STEM = "aeon/datasets/data/{name}/{name}_{part}.ts"


def recordings(text: str) -> list[tuple[str, list[list[str]]]]:
    """Return class and channels of every recording of a .ts file: one a line, ``a,b:c,d:class``."""
    lines = text.partition("@data")[2].splitlines()
    found = []
    for line in (line.strip() for line in lines):
        if line and not line.startswith("#"):
            *channels, label = line.split(":")
            found.append((label, [channel.split(",") for channel in channels]))
    return found


def write(text: str, folder: Path) -> int:
    """Write recordings as csv files by class, and return how many there were."""
    found = recordings(text)
    for number, (label, channels) in enumerate(found):
        place = folder / label
        place.mkdir(parents=True, exist_ok=True)
        with (place / f"{number:04d}.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow([f"channel_{i}" for i in range(len(channels))])
            table.writerows(zip(*channels, strict=True))
    return len(found)


def read(folder: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Return recordings (C, T) of a folder that `write` wrote, and their classes."""
    found, labels = [], []
    for path in sorted(folder.glob("*/*.csv")):
        found.append(np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2).T)
        labels.append(path.parent.name)
    return found, np.array(labels)


def alike(recordings: list[np.ndarray], length: int) -> np.ndarray:
    """Return recordings of one length, (N, C, T); the last value is held."""
    pads = [((0, 0), (0, max(0, length - x.shape[1]))) for x in recordings]
    rows = zip(recordings, pads, strict=True)
    return np.stack([np.pad(x, pad, mode="edge")[:, :length] for x, pad in rows])


def minirocket(folder: Path, counts: list[int], draws: int) -> None:
    """Print accuracies on the test part, mean over draws and their least and largest."""
    from aeon.classification.convolution_based import MiniRocketClassifier

    (train, y), (test, wanted) = read(folder / "train"), read(folder / "test")
    length = max(x.shape[1] for x in train)
    known, asked = alike(train, length), alike(test, length)
    fewest = min(int((y == label).sum()) for label in np.unique(y))
    for count in (count for count in counts if count <= fewest):
        scores = []
        for draw in range(draws):
            rng = np.random.default_rng(draw)
            orders = [rng.permutation(np.flatnonzero(y == label)) for label in np.unique(y)]
            rows = np.concatenate([order[:count] for order in orders])
            model = MiniRocketClassifier(random_state=draw, n_jobs=1).fit(known[rows], y[rows])
            scores.append(float((model.predict(asked) == wanted).mean()))
        spread = f"{min(scores):.3f} to {max(scores):.3f}"
        print(f"{count:3} a class: {np.mean(scores):.3f} ({spread})", flush=True)


def main() -> None:
    """Read the command line."""
    if sys.argv[1:2] == ["minirocket"]:
        words = argparse.ArgumentParser(prog="recordings.py minirocket")
        words.add_argument("folder", type=Path)
        words.add_argument("--counts", default="1,2,5,10,20")
        words.add_argument("--draws", type=int, default=5)
        asked = words.parse_args(sys.argv[2:])
        minirocket(asked.folder, [int(n) for n in asked.counts.split(",")], asked.draws)
        return
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("wheel", type=Path)
    words.add_argument("name")
    words.add_argument("out", type=Path)
    asked = words.parse_args()
    with zipfile.ZipFile(asked.wheel) as archive:
        for part in ("TRAIN", "TEST"):
            name = STEM.format(name=asked.name, part=part)
            text = archive.read(name).decode("utf-8", "replace")
            count = write(text, asked.out / part.lower())
            print(f"{asked.out / part.lower()}: {count} recordings")


if __name__ == "__main__":
    main()
