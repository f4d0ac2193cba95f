"""Clips of moving handwritten digits, labelled by the digit and by how it moves.

    python -c "from unlabeled.data.samples import *; fetch('digits', Path('samples'))"
    python bench/moving_digits.py samples/digits CLIPS --clips 3000
    python bench/moving_digits.py samples/digits TEST --clips 1000 --test

One digit of MNIST, drawn 20 pixels high on 32 x 32 black ones, moves for 16 frames: to one of four
sides, or around a circle in one of two senses; with a random speed, from a random place. Where it
would leave the frame it comes in again on the other side, so that neither a frame nor the place
says how it moves. Lossless Matroska files (FFV1) lie in a folder named after the motion (a class
folder); ``digits.csv`` beside the folders has the columns path and label, the digit. Clips of the
test show digits that no other clip shows. Needs `pip install "unlabeled[video]"`.
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path

import av
import numpy as np
from PIL import Image

EDGE, FRAMES, DIGIT = 32, 16, 20
WAYS = ("right", "left", "down", "up", "clockwise", "anticlockwise")


def route(way: str, rng: np.random.Generator) -> np.ndarray:
    """Return where the digit is at each time, (T, 2) pixels to the right and down."""
    speed, time = rng.uniform(0.8, 2.4), np.arange(FRAMES)
    if way in WAYS[:4]:
        step = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}[way]
        path = speed * time[:, None] * np.array(step)
    else:
        radius, sense = rng.uniform(4, 9), 1 if way == "clockwise" else -1  # rows go down
        angle = rng.uniform(0, 2 * math.pi) + sense * speed / radius * time
        path = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return path + rng.uniform(0, EDGE, 2)


def draw(digit: np.ndarray, way: str, rng: np.random.Generator) -> np.ndarray:
    """Return a clip, (T, EDGE, EDGE) uint8; parts of pixels are moved by interpolation."""
    small = Image.fromarray(digit).resize((DIGIT, DIGIT), Image.Resampling.BICUBIC)
    page = np.zeros((EDGE, EDGE))
    page[:DIGIT, :DIGIT] = np.asarray(small)
    frames = []
    for place in route(way, rng):
        moved = page
        for axis, amount in ((1, place[0]), (0, place[1])):
            whole, part = math.floor(amount), amount - math.floor(amount)
            moved = (1 - part) * np.roll(moved, whole, axis) + part * np.roll(
                moved, whole + 1, axis
            )
        frames.append(moved)
    return np.rint(frames).astype(np.uint8)


def write(path: Path, clip: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=16)
        stream.height = stream.width = EDGE
        stream.pix_fmt = "gray"
        for frame in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        container.mux(stream.encode())


def digits(folder: Path, test: bool) -> list[tuple[Path, str]]:
    """Return pictures of the set `digits` with their classes."""
    if test:
        return [(p, p.parent.name) for p in sorted((folder / "test").glob("*/*.png"))]
    with (folder / "labels.csv").open(encoding="utf-8") as stream:
        return [(folder / row["path"], row["label"]) for row in csv.DictReader(stream)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("digits", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test", action="store_true")
    given = parser.parse_args()
    known = digits(given.digits, given.test)
    rows = []
    for number in range(given.clips):
        rng = np.random.default_rng([given.seed, given.test, number])
        way = WAYS[number % len(WAYS)]
        path, digit = known[int(rng.integers(len(known)))]
        (given.out / way).mkdir(parents=True, exist_ok=True)
        name = f"{way}/{number:05d}.mkv"
        picture = np.asarray(Image.open(path).convert("L"))
        write(given.out / name, draw(picture, way, rng))
        rows.append((name, digit))
    with (given.out / "digits.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("path", "label"), *rows])


if __name__ == "__main__":
    main()
