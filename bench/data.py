"""What data costs: indexing many files, decoding, cutting and distorting images.

    python bench/data.py [--files 1000000] [--images PARQUET_OR_FOLDER] [--repeats 3]

Prints one table; figures are medians of the repeats on one thread.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import torch

from unlabeled import rng
from unlabeled.config import ImageConfig
from unlabeled.data.find import find
from unlabeled.modalities.image import Image
from unlabeled.types import View

SIMCLR = View(count=2, extent=(0.08, 1.0), flip=True, distort=0.5, grey=0.2)
BYOL = View(
    count=2, extent=(0.08, 1.0), flip=True, distort=1.0, grey=0.2, blur=(1.0, 0.1),
    solarize=(0.0, 0.2),
)  # fmt: skip
_CHILD = """
import re, sys, time
from unlabeled.data.find import find

def peak():  # of this process alone; getrusage's would include that of the parent
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

before = peak()
start = time.perf_counter()
count = len(find(sys.argv[1]))
print(count, time.perf_counter() - start, peak() - before)
"""


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def make_files(folder: Path, count: int) -> None:
    for number in range(count):
        if number % 10_000 == 0:
            place = folder / f"{number // 10_000:04d}"
            place.mkdir()
        os.close(os.open(place / f"image-{number:08d}.jpg", os.O_CREAT | os.O_WRONLY))


def walk(folder: Path) -> float:
    """Return the seconds that listing and stat alone take: the disk's share."""
    start = time.perf_counter()
    for root, _, names in os.walk(folder):
        for name in names:
            os.stat(os.path.join(root, name))
    return time.perf_counter() - start


def index(count: int, repeats: int) -> list[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder), count)
        floor = statistics.median(walk(Path(folder)) for _ in range(repeats))
        runs = []
        for _ in range(repeats):
            command = [sys.executable, "-c", _CHILD, folder]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found, seconds, megabytes = out.split()
            assert int(found) == count
            runs.append((float(seconds), float(megabytes)))
    seconds, megabytes = (statistics.median(column) for column in zip(*runs, strict=True))
    return [
        (f"index {count:,} files", f"{seconds:.1f} s, {megabytes:.0f} MB"),
        ("  os.walk and stat of the same", f"{floor:.1f} s"),
    ]


def made_up(count: int, height: int, width: int) -> list[bytes]:
    """Return JPEGs of smooth random pictures."""
    generator = np.random.default_rng(0)
    payloads = []
    for _ in range(count):
        small = generator.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        PIL.Image.fromarray(small).resize((width, height)).save(buffer, "JPEG", quality=90)
        payloads.append(buffer.getvalue())
    return payloads


def roads(name: str, payloads: list[bytes], size: int, repeats: int) -> list[tuple[str, str]]:
    """Measure decode, cut and distort of the same images."""
    images = Image(ImageConfig(size=size))
    raws = [images.read(payload) for payload in payloads]
    count, rows = len(payloads), []

    def rate(what: str, work: Callable[[], object]) -> None:
        seconds = median_seconds(work, repeats)
        rows.append(
            (f"{name}: {what}", f"{count / seconds:,.0f} images/s, {seconds / count * 1e6:.0f} us")
        )

    def cut(view: View) -> torch.Tensor:
        generators = (rng.generator(key) for key in range(count))
        pairs = zip(raws, generators, strict=True)
        return torch.stack([images.cut(raw, view, draws) for raw, draws in pairs], dim=1)

    keys = torch.arange(count)
    rate("decode", lambda: [images.read(payload) for payload in payloads])
    rate("cut, 2 views", lambda: cut(SIMCLR))
    cuts = cut(SIMCLR)
    rate("distort, 2 views, SimCLR", lambda: images.distort(cuts, SIMCLR, keys))
    rate("distort, 2 views, BYOL", lambda: images.distort(cuts, BYOL, keys))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--images", help="images of about 32 px; made up when absent")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.images:
        source = find(given.images, "image")
        small = [source.payload(i) for i in range(min(512, len(source)))]
    else:
        small = made_up(512, 32, 32)
    rows = roads("32 px", small, 32, given.repeats)
    rows += roads("375 x 500 px to 96", made_up(64, 375, 500), 96, given.repeats)
    rows += roads("3000 x 4000 px to 96", made_up(4, 3000, 4000), 96, given.repeats)
    if given.files:
        rows += index(given.files, given.repeats)
    width = max(len(what) for what, _ in rows)
    for what, figure in rows:
        print(f"{what:<{width}}  {figure}")


if __name__ == "__main__":
    main()
