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
"""

from __future__ import annotations

import argparse
import csv
import zipfile
from pathlib import Path

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


def main() -> None:
    """Read the command line."""
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
