"""Logs whose condition changes: pieces of logs of several classes, one after another.

    python bench/joined_logs.py LOGS OUT --count 120

LOGS has a folder of logs for each class, as `bench/cheetah.py` writes them. Each log of OUT joins
four pieces of 64 to 128 steps of logs of different classes, drawn without regard to where a piece
ends: at a seam all channels jump. A column `condition` says at each step which class it is of.

    unlabeled evaluate RUN --labels OUT --label-column condition --task tagging
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas

PIECES, SHORTEST, LONGEST = 4, 64, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("logs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    folders = {
        f.name: sorted(f.glob("*.parquet")) for f in sorted(given.logs.iterdir()) if f.is_dir()
    }
    unused = {name: list(rng.permutation(files)) for name, files in folders.items()}
    given.out.mkdir(parents=True, exist_ok=True)
    for number in range(given.count):
        rich = sorted(unused, key=lambda name: -len(unused[name]) + 0.5 * rng.random())[:PIECES]
        pieces = [piece(unused[name].pop(), name, rng) for name in rng.permutation(rich)]
        log = pandas.concat(pieces, ignore_index=True)
        log.to_parquet(given.out / f"{number:04d}.parquet", index=False)
    left = sum(map(len, unused.values()))
    print(f"{given.count} logs of {PIECES} conditions each; {left} logs were not used")


def piece(path: Path, name: str, rng: np.random.Generator) -> pandas.DataFrame:
    """Return a stretch of a log at a random place, with its class."""
    log = pandas.read_parquet(path)
    length = min(len(log), int(rng.integers(SHORTEST, LONGEST + 1)))
    first = int(rng.integers(0, len(log) - length + 1))
    return log.iloc[first : first + length].assign(condition=name)


if __name__ == "__main__":
    main()
